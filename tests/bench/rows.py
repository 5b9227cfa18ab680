"""What is measured: rows of the table, data sets they need, and their targets.

Targets are ratios of server CPU per command, ours to the reference's, as docs/benchmarks.md states
them; a row with metric "throughput" compares requests per second instead (at least the target)."""
from dataclasses import dataclass

KEYS = 1_000_000

# Data sets: argument lists of `moonctl bench`, run once on each server before the first row that
# needs them. A row that names another set starts from an empty server.
DATASETS = {
    "none": [],
    "keys-64": [["-t", "load", "-P", "64", "-z", "64"]],
    "keys-1k": [["-t", "load", "-P", "64", "-z", "1024"]],
    "counters": [["--sequential", "-n", str(KEYS), "-P", "64", "INCR", "ctr:__rand__"]],
    "set": [["--sequential", "-n", str(KEYS), "-P", "64", "SADD", "bench:set", "member:__rand__"]],
    "hash": [["--sequential", "-n", str(KEYS), "-P", "64", "HSET", "bench:hash", "field:__rand__", "__data__"]],
    "zset": [["--sequential", "-n", str(KEYS), "-P", "64", "ZADD", "bench:zset", "__rand__", "member:__rand__"]],
}

PERSISTENCE = {
    "off": ["--appendonly", "no", "--save", ""],
    "everysec": ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
                 "--auto-aof-rewrite-percentage", "0"],
    "always": ["--appendonly", "yes", "--appendfsync", "always", "--save", "",
               "--auto-aof-rewrite-percentage", "0"],
}


@dataclass
class Row:
    name: str
    load: list  # arguments of moonctl bench that name the commands
    pipeline: int
    target: float = None
    data: str = "keys-64"
    persistence: str = "off"
    metric: str = "cpu"
    before: tuple = ()     # commands sent to the server before each run
    fill: tuple = ()       # loads run before each run (what the run will pop)
    requests: bool = False  # a fixed number of requests: the data would run out, or grow too far
    group: str = ""        # rows of a group share one target for their geometric mean
    half_rate: bool = False  # open loop, at half of what the second side can do
    shards: tuple = (1, 1)  # (1, 1): Moon and the reference; else both sides are Moon


def simple(name, load, **more):
    return Row(name + " p16", load, 16, group="simple", **more)


LIST = ("DEL", "bench:list")

ROWS = [
    Row("GET p1", ["-t", "get"], 1, 0.60),
    Row("GET p16", ["-t", "get"], 16, 0.32),
    Row("GET p64", ["-t", "get"], 64, 0.23),
    Row("SET p1", ["-t", "set"], 1, 0.60),
    Row("SET p16", ["-t", "set"], 16, 0.31),
    Row("SET p64", ["-t", "set"], 64, 0.26),
    Row("MSET 10 p16", ["-t", "mset"], 16, 0.45),
    Row("GET 1 KiB p16", ["-t", "get", "-z", "1024"], 16, 0.45, "keys-1k"),
    Row("SET 1 KiB p16", ["-t", "set", "-z", "1024"], 16, 0.45, "keys-1k"),
    simple("INCR", ["-t", "incr"], data="counters"),
    simple("HSET", ["-t", "hset"], data="hash"),
    simple("HGET", ["-t", "hget"], data="hash"),
    simple("SADD", ["-t", "sadd"], data="set"),
    simple("LPUSH", ["-t", "lpush"], data="none", before=(LIST,), requests=True),
    simple("LPOP", ["-t", "lpop"], data="none", before=(LIST,), requests=True,
           fill=(["--sequential", "-P", "64", "RPUSH", "bench:list", "__data__"],)),
    simple("ZSCORE", ["-t", "zscore"], data="zset"),
    Row("ZADD 1 M members p16", ["-t", "zadd"], 16, 0.42, "zset"),
    Row("ZRANGE 10 p16", ["-t", "zrange"], 16, 0.42, "zset"),
    Row("XADD p16", ["XADD", "bench:stream", "*", "field", "__data__"], 16, 0.45, "none",
        before=(("DEL", "bench:stream"),), requests=True),
    Row("EVAL trivial p16", ["EVAL", "return 1", "0"], 16, 0.45, "none"),
    Row("PING p16", ["-t", "ping"], 16, None, "none"),
    Row("SET everysec p1", ["-t", "set"], 1, 0.58, persistence="everysec"),
    Row("SET everysec p16", ["-t", "set"], 16, 0.40, persistence="everysec"),
    Row("SET always p1", ["-t", "set"], 1, 1.5, persistence="always", metric="throughput"),
    Row("SET always p16", ["-t", "set"], 16, 1.5, persistence="always", metric="throughput"),
    Row("GET two shards p1", ["-t", "get"], 1, 1.05, half_rate=True, shards=(2, 1)),
    Row("GET two shards p16", ["-t", "get"], 16, 1.50, half_rate=True, shards=(2, 1)),
    Row("GET two shards p64", ["-t", "get"], 64, 1.35, half_rate=True, shards=(2, 1)),
]
GROUPS = {"simple": ("INCR HSET HGET SADD LPUSH LPOP ZSCORE p16, geometric mean", 0.45)}


@dataclass
class MemoryRow:
    name: str
    load: list     # sequential load of `count` items
    count: int
    target: float  # bytes of RSS per item
    base: list = None  # measure the difference to this load instead of to an empty server
    conns: int = 0     # idle connections instead of items


def keys(size, target, count=KEYS):
    return MemoryRow(f"string of {size} B", ["-z", str(size), "SET", "__key__", "__data__"], count, target)


TEN_FIELDS = [word for i in range(10) for word in (f"f{i}", "__data__")]
MEMORY_ROWS = [
    keys(8, 52), keys(32, 75), keys(64, 108), keys(128, 172), keys(256, 305),
    keys(1024, 1090, 400_000), keys(4096, 4170, 100_000),
    MemoryRow("hash of 10 fields of 2 + 12 B", ["-z", "12", "HSET", "__key__", *TEN_FIELDS], 400_000, 230),
    MemoryRow("zset member of 16 B", ["ZADD", "bench:zset", "__rand__", "__key__"], KEYS, 60),
    MemoryRow("expiry of a key", ["-z", "64", "SET", "__key__", "__data__", "EX", "100000"], KEYS, 8,
              base=["-z", "64", "SET", "__key__", "__data__"]),
    MemoryRow("idle connection", [], 2000, 4096, conns=2000),
]
