"""Laps of load on one data directory, each lap's history judged, with kill -9, clean stops and other settings in between.

A lap begins with what is stored, and ends with what is stored: behind a crash, what the next start shows. So what one
recovery dropped must stay dropped: the next lap begins without it.
"""
import collections
import contextlib
import os
import random
import re
import shutil
import time

import driver
import graph
import linear
from linear import tell
from moonlib.server import ROOT, start_moon
from workload import BY_GRAPH, draw_kinds, make_groups

CHECKERS = 2  # processes
TOLD_MAX = 3  # groups
SETUPS = [(3, 3, 6), (3, 3, 6), (3, 3, 1), (2, 8, 2), (4, 1, 12)]  # processes, connections of each, pipeline at most
KILLED_AT_ONCE = 0.2  # of all starts
AT_WORK = ("kill", "stop at work")  # endings that clients notice
STARTS_MAX = 25  # on one folder: what there is to recover grows with each
FAILED_FOLDER = os.path.join(ROOT, "build", "history")

Lap = collections.namedtuple("Lap", "where groups initial histories")
Settings = collections.namedtuple("Settings", "shards io fsync")


class Violation(AssertionError):
    pass


def judge(task):
    """Text, or None."""
    kind, keys, initial, ops, final = task
    if kind in BY_GRAPH:
        return graph.check(kind, keys, initial, ops, final)
    return linear.check(keys, initial, ops, final)


def judge_lap(lap, final):
    tasks = [(group.kind, group.keys, initial, ops, stored)
             for group, initial, ops, stored in zip(lap.groups, lap.initial, lap.histories, final)]
    with driver.FORK.Pool(CHECKERS) as pool:
        found = [(group, ops, text) for group, ops, text in zip(lap.groups, lap.histories, pool.map(judge, tasks, 1)) if text]
    if found:
        more = f"\n\nand in {len(found) - TOLD_MAX} more groups" if len(found) > TOLD_MAX else ""
        raise Violation("\n\n".join(report(lap, *one) for one in found[:TOLD_MAX]) + more)


def report(lap, group, ops, text):
    os.makedirs(FAILED_FOLDER, exist_ok=True)
    path = os.path.join(FAILED_FOLDER, f"{re.sub(r'[^a-z0-9]+', '-', lap.where)}-{group.name}.txt")
    with open(path, "w", encoding="utf-8") as f:
        for op in sorted(ops, key=lambda op: op.sent):
            f.write(tell(op, 0) + "\n")
    return f"{lap.where}: group {group.name} on {group.place} shard(s): {text}\n(whole history: {os.path.relpath(path, ROOT)})"


def draw_settings(rng):
    return Settings(rng.choice([1, 2, 4, 8]), rng.choice(["uring", "epoll"]), rng.choice(["always", "everysec"]))


def start_drawn_moon(settings, folder):
    return start_moon(shards=settings.shards, io=settings.io, appendonly="yes", folder=folder,
                      args=["--appendfsync", settings.fsync])


class Campaign:
    """`start(settings, folder)` gives a server; `settings(rng)` draws what it is started with; `beside(server)`: a context
    in which a lap is played."""

    def __init__(self, seed, folder, places, start=start_drawn_moon, settings=draw_settings, lap_seconds=(0.1, 1.3),
                 endings=("kill", "kill", "kill when quiet", "stop at work", "stop", "stay"), beside=contextlib.nullcontext):
        self.seed, self.folder, self.places = seed, str(folder), places
        os.makedirs(self.folder, exist_ok=True)
        self.start, self.settings, self.lap_seconds, self.endings = start, settings, lap_seconds, endings
        self.beside = beside
        self.rng = random.Random(f"campaign {seed}")
        self.server, self.drawn, self.number, self.starts = None, None, 0, 0
        self.counts, self.operations = collections.Counter(), collections.Counter()
        self.judging = 0.0

    def run(self, seconds, operations=0):
        """Until so many seconds have passed and so many operations were done; at least three laps. Raises Violation."""
        deadline = time.monotonic() + seconds
        before = None
        try:
            while self.number < 3 or time.monotonic() < deadline or sum(self.operations.values()) < operations:
                if before is None or self.server is None:
                    self.open()
                before = self.lap(before)
            self.open()
            self.settle(before)
            self.end("stop")
            shutil.rmtree(self.folder)
        finally:
            if self.server:
                self.server.kill()

    def open(self):
        if self.server is None:
            self.drawn = self.settings(self.rng)
            if self.rng.random() < KILLED_AT_ONCE:
                self.start(self.settings(self.rng), self.folder).kill()
                self.counts["killed at once"] += 1
            self.server = self.start(self.drawn, self.folder)
            self.starts += 1
            self.counts.update([f"{self.drawn.shards} shards", str(self.drawn.io), str(self.drawn.fsync)])

    def settle(self, before):
        """Judges the lap before by what is stored now, and returns the stored by key."""
        if before is None:
            return {}
        with self.server.client() as client:
            final = driver.read_back(client, before.groups)
            old = [key for group in before.groups if group.kind == "append" for key in group.keys]
            client.pipeline([("DEL", key) for key in old])
        begin = time.monotonic()
        judge_lap(before, final)
        self.judging += time.monotonic() - begin
        return {key: value for stored in final for key, value in stored.items()}

    def lap(self, before):
        stored = self.settle(before)
        if self.starts > STARTS_MAX:
            self.begin_anew()
            stored = {}
        groups = make_groups(self.places, lap=self.number)
        initial = [{key: stored[key] for key in group.keys if key in stored} for group in groups]
        ending = self.rng.choice(self.endings)
        seconds, setup = self.rng.uniform(*self.lap_seconds), self.rng.choice(SETUPS)
        where = (f"seed {self.seed} lap {self.number} shards {self.drawn.shards} io {self.drawn.io} "
                 f"appendfsync {self.drawn.fsync} setup {setup} ending {ending}")
        kinds = draw_kinds(self.rng, self.places)
        at_work = ending in AT_WORK
        with self.beside(self.server):
            histories, lost, failures = driver.play(
                self.server.port, groups, kinds, self.seed, self.number, seconds + (60 if at_work else 0), setup,
                lambda _: self.end_in(seconds, ending) if at_work else None)
        if failures or (lost and not at_work):
            raise Violation(f"{where}: connections lost: {lost}, failures: {failures[:TOLD_MAX]}; its log ends:\n{self.server.log_tail()}")
        self.end(ending)
        self.count(groups, histories, ending)
        self.number += 1
        return Lap(where, groups, initial, histories)

    def begin_anew(self):
        self.end("stop")
        shutil.rmtree(self.folder)
        os.mkdir(self.folder)
        self.starts = 0
        self.counts["begun anew"] += 1
        self.open()

    def end_in(self, seconds, ending):
        time.sleep(seconds)
        said = self.server.sanitizers_report()
        if said or not self.server.is_alive():
            raise Violation(f"seed {self.seed} lap {self.number} {self.drawn}: it died by itself; its log ends:\n"
                            f"{said or self.server.log_tail()}")
        self.finish(ending)

    def finish(self, ending):
        if "kill" in ending:
            self.server.kill()
            return
        status = self.server.stop()
        if status != 0:
            raise Violation(f"a clean stop ended with status {status}; its log ends:\n{self.server.log_tail()}")

    def end(self, ending):
        if ending == "stay":
            return
        if ending not in AT_WORK:
            self.finish(ending)
        self.server = None

    def count(self, groups, histories, ending):
        self.counts[ending] += 1
        for group, ops in zip(groups, histories):
            self.operations[group.kind] += len(ops)

    def summary(self):
        return (f"seed {self.seed}: {self.number} laps, {sum(self.operations.values())} operations, judged in "
                f"{self.judging:.1f} s; laps by draw {dict(sorted(self.counts.items()))}; operations by kind "
                f"{dict(self.operations)}")
