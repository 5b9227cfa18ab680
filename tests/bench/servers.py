"""Server processes: started pinned on a free port, spoken to in RESP, looked at in /proc."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

START_SECONDS_MAX = 20
RELEASE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build", "release")


def binaries():
    """The server and the generator: as the environment says, else of the release build."""
    paths = os.environ.get("MOON_BIN") or os.path.join(RELEASE, "moon"), os.environ.get("MOONCTL_BIN") or os.path.join(RELEASE, "moonctl")
    for path in paths:
        if not os.access(path, os.X_OK):
            raise Failed(f"{path} is not there: run make, or set MOON_BIN and MOONCTL_BIN")
    return paths


class Failed(Exception):
    """A server did not start, or a command did not do what the measurement needs."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def encode(words):
    parts = [w.encode() if isinstance(w, str) else w for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Server:
    """side: "moon" or "reference". cpus: the set it may run on."""

    def __init__(self, side, binary, folder, cpus, arguments):
        self.side, self.binary, self.folder, self.cpus, self.arguments = side, binary, folder, cpus, arguments
        self.process, self.port = None, 0
        self.log_path = folder + ".log"  # not in the folder: it is the server's

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.port = free_port()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, self.cpus))
        self.wait_ready()
        return self

    def argv(self):
        return [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, *self.arguments]

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.command("PING").startswith(b"+PONG"):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        log = self.log_tail()
        self.stop()
        raise Failed(f"{self.binary} did not get ready: {log}")

    def log_tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return " | ".join(line.strip() for line in f.readlines()[-3:])

    def command(self, *words):
        """The first line of the reply is enough for what we send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as s:
            s.sendall(encode(words))
            reply = b""
            while b"\r\n" not in reply:
                piece = s.recv(4096)
                if not piece:
                    raise OSError("closed")
                reply += piece
            return reply

    def bulk(self, *words):
        """The text of one bulk string."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as s, s.makefile("rb") as replies:
            s.sendall(encode(words))
            head = replies.readline()
            if not head.startswith(b"$"):
                raise Failed(f"{self.side}: {' '.join(words)}: {head.decode().strip()}")
            return replies.read(int(head[1:]) + 2)[:-2]

    def must(self, *words):
        reply = self.command(*words)
        if reply.startswith(b"-"):
            raise Failed(f"{self.side}: {' '.join(words)}: {reply[1:].split(b'%c%c' % (13, 10))[0].decode()}")

    def empty(self):
        self.must("FLUSHALL")

    def cpu_us(self):
        """User and system time of all threads so far."""
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1000

    def spin_us(self):
        """What Moon's shards have spent waiting for each other's answers without sleeping."""
        return sum(int(us) for us in re.findall(r"spin_usec=(\d+)", self.bulk("INFO", "shards").decode()))

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


def find_reference(root):
    """MOON_REFERENCE_BIN, redis-server on the path, or Debian's redis-tools under its other name."""
    named = os.environ.get("MOON_REFERENCE_BIN") or shutil.which("redis-server")
    if named:
        return named
    link = os.path.join(root, "build", "tools", "redis-server")
    if os.path.exists(link):
        return link
    holder = shutil.which("redis-check-rdb")
    if holder is None:
        raise Failed("no redis-server to measure beside: install redis-tools, or set MOON_REFERENCE_BIN")
    os.makedirs(os.path.dirname(link), exist_ok=True)
    os.symlink(holder, link)
    return link


def version_of(binary):
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().split("\n")[0]
