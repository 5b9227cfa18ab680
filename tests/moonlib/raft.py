"""Clusters of control-log members, each a process (tests/proc/proc_raft.c), joined by the real bus.

    with RaftCluster(3, folder) as cluster:
        cluster.begin()
        cluster.put(cluster.leader(), "name", "value")
"""
import json
import os
import queue
import signal
import subprocess
import threading
import time

from moonlib.server import ROOT, die_with_parent, free_port

PROGRAM = os.path.join(ROOT, "build", "release", "tests", "proc", "proc_raft")
CLUSTER = "c1" * 16 + "0" * 8
SETTLE_SECONDS = 30


class Member:
    """One process; its answers come by tag, from a thread that reads them."""

    def __init__(self, number, folder, argv):
        self.number, self.folder, self.argv = number, folder, argv
        self.process, self.paused, self.lives = None, False, 0
        self.answers, self.tags, self.lock = {}, 0, threading.Lock()

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        self.lives += 1
        with open(os.path.join(self.folder, "stderr.log"), "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                            preexec_fn=die_with_parent)
        line = self.process.stdout.readline()
        if line != "ready\n":
            self.process.wait(10)
            raise AssertionError(f"member {self.number} does not start: {self.log_tail()}")
        threading.Thread(target=self.read, args=(self.process,), daemon=True).start()

    def log_tail(self):
        with open(os.path.join(self.folder, "stderr.log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-2000:]

    def read(self, process):
        for line in process.stdout:
            tag, _, rest = line.rstrip("\n").partition(" ")
            with self.lock:
                waiting = self.answers.pop(tag, None)
            if waiting is not None:
                waiting.put(rest)
        self.end_waiting()

    def end_waiting(self):
        with self.lock:
            gone, self.answers = self.answers, {}
        for waiting in gone.values():
            waiting.put(None)

    def ask(self, line):
        """A queue that gets the answer, or None if the process ends before."""
        waiting = queue.Queue()
        with self.lock:
            self.tags += 1
            tag = f"{self.lives}-{self.tags}"
            self.answers[tag] = waiting
        try:
            self.process.stdin.write(f"{tag} {line}\n")
            self.process.stdin.flush()
        except (OSError, ValueError):
            waiting.put(None)
        return waiting

    def call(self, line, seconds=5):
        try:
            return self.ask(line).get(timeout=seconds)
        except queue.Empty:
            return None

    def status(self, seconds=5):
        """None: it says nothing."""
        answer = self.call("status", seconds)
        return None if answer is None else json.loads(answer)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.paused = False

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def stop(self):
        if not self.alive():
            return
        if self.paused:
            self.resume()
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class RaftCluster:
    def __init__(self, count, folder, hosts=None, prefix=None, folders=None, args=(), certs=None):
        """hosts: an address per member; prefix: words before its command, per member; folders: its own place;
        certs: the bus speaks TLS."""
        hosts = hosts or ["127.0.0.1"] * count
        ports = [free_port() for _ in range(count)]
        nodes = [f"{n + 1:02x}" * 20 for n in range(count)]
        members = ",".join(f"{n + 1}={nodes[n]}@{hosts[n]}:{ports[n]}" for n in range(count))
        self.members = []
        for n in range(count):
            where = (folders or {}).get(n, os.path.join(folder, f"member-{n + 1}"))
            argv = [*(prefix[n] if prefix else ()), PROGRAM, "--dir", os.path.join(where, "raft"), "--cluster", CLUSTER, "--id", str(n + 1),
                    "--members", members, "--bind", hosts[n], "--port", str(ports[n]), *args]
            if certs is not None:
                argv += certs.args(certs.make(f"member-{n + 1}", f"DNS:{nodes[n]}"))
            self.members.append(Member(n + 1, where, argv))

    def __enter__(self):
        for m in self.members:
            m.start()
        return self

    def __exit__(self, *_):
        for m in self.members:
            if m.alive():
                m.kill()

    def leader(self, seconds=SETTLE_SECONDS, other_than=None):
        """A member that leads and has applied an entry of its term; and not in a life that has ended since."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = None
            for m in self.members:
                if m is other_than or m.paused or not m.alive():
                    continue
                status = m.status(1)
                if status is not None and status["ready"] and (found is None or status["term"] > found[0]):
                    found = (status["term"], m)
            if found is not None:
                return found[1]
            time.sleep(0.01)
        raise AssertionError(f"nobody leads after {seconds} s: {[m.status(1) for m in self.members if m.alive() and not m.paused]}")

    def begin(self):
        assert self.leader().call("init", 30).startswith("applied")

    def agreed(self, seconds=SETTLE_SECONDS):
        """All members have one state; returns it."""
        until = time.monotonic() + seconds
        while True:
            states = [m.status(2) for m in self.members]
            if None not in states and len({(s["version"], s["hash"]) for s in states}) == 1 and any(s["ready"] for s in states):
                return states[0]
            if time.monotonic() > until:
                raise AssertionError(f"no agreement after {seconds} s: {states}")
            time.sleep(0.05)


class Writers(threading.Thread):
    """Puts names that were never used, each at some member, and remembers which were called applied. A change
    whose member dies with it open is neither."""

    def __init__(self, cluster, rng, names):
        super().__init__(daemon=True)
        self.cluster, self.rng, self.prefix = cluster, rng, names
        self.tried, self.acknowledged, self.wrong, self.done = 0, set(), [], False
        self.latest_ms = []

    def run(self):
        while not self.done:
            member = self.rng.choice(self.cluster.members)
            if not member.alive() or member.paused:
                time.sleep(0.01)
                continue
            self.tried += 1
            name = f"{self.prefix}-{self.tried}"
            began = time.monotonic()
            answer = member.call(f"put {name} v", 5)
            if answer is None:
                continue
            if answer.startswith("applied"):
                self.acknowledged.add(name)
                self.latest_ms.append((time.monotonic() - began) * 1000)
            elif not answer.startswith("unknown"):
                self.wrong.append((name, answer))  # refused: it was applied twice

    def end(self):
        self.done = True
        self.join(30)
        assert not self.is_alive()
