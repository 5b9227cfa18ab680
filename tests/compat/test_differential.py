"""The same commands on redis-server and on Moon: every reply and all stored data must agree. Moon runs on
one, two and four shards, over the I/O it chooses (io_uring where the kernel lets it) and over epoll.

    build/venv/bin/pytest tests/compat                    short, fixed seeds
    build/venv/bin/pytest tests/compat --full             long
    MOON_COMPAT_SEED=7 … -k 'zsets and resp3'             another draw of one family
"""
import binascii
import os

import pytest

import compare
import generators
from pair import Pair, name_of
from shrink import find_failures

SEED = int(os.environ.get("MOON_COMPAT_SEED", "1"))
LENGTH = 1000
FULL_FACTOR = 12
BATCHES = {1: {2: 64, 3: 7}, 2: {2: 500, 3: 64}, 4: {2: 64, 3: 500}}  # commands sent at once, by shards and protocol

# Commands that no redis-server 7.0 knows; their replies are tested in tests/system against texts.
NOT_IN_REFERENCE = {
    "HEXPIRE": "7.4", "HPEXPIRE": "7.4", "HEXPIREAT": "7.4", "HPEXPIREAT": "7.4", "HTTL": "7.4", "HPTTL": "7.4",
    "HEXPIRETIME": "7.4", "HPEXPIRETIME": "7.4", "HPERSIST": "7.4", "HGETDEL": "8.0", "HGETEX": "8.0", "HSETEX": "8.0",
    "MSETEX": "8.4", "DIGEST": "8.4", "DELEX": "8.4", "DELIFEQ": "Valkey 9.0",
}
# Data commands that draw no generator here, each with where else it is tested.
TESTED_ELSEWHERE = {
    "DEBUG|DIGEST-VALUE": "test_debug.py: the digits are Moon's own, which of them are equal is not",
    **dict.fromkeys(["EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO"], "test_eval.py"),
    "WATCH": "test_transactions.py: it says nothing alone",
    "DEBUG|OBJECT": "test_debug.py: addresses, sizes and times in a line of text",
}
# What Moon does not have yet, and with what it comes. An entry that Moon does have is an error.
SORTING = "SORT"
COMING = {
    **dict.fromkeys(["SORT", "SORT_RO"], SORTING),
}
# Without keys in their arguments, but about data all the same.
KEYLESS_DATA_COMMANDS = {"KEYS", "SCAN", "RANDOMKEY", "DBSIZE", "FLUSHDB", "FLUSHALL", "SWAPDB"}
MOVABLE_KEYS = b"movablekeys"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("family", ["all", *generators.FAMILIES])
@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("io", [None, "epoll"], ids=["chosen", "epoll"])
@pytest.mark.parametrize("shards", [1, 2, 4], ids=["shards1", "shards2", "shards4"])
def test_same_replies(oracle, moons, full, shards, io, resp, family):
    names = list(generators.GENERATORS if family == "all" else generators.FAMILIES[family])
    lacking = lacks(moons.get(shards, io), with_data(names))
    seed = f"{SEED} {family} {resp} {shards} {io}"
    length = LENGTH * (2 if family == "all" else 1) * (FULL_FACTOR if full else 1)
    commands = generators.draw_sequence(seed, length, with_data(names), exclude=lacking)
    pair = Pair(oracle, moons.get(shards, io), resp, start_subject=lambda: moons.get(shards, io), batch=BATCHES[shards][resp])
    failures = find_failures(pair, commands)
    pair.close()
    if failures:
        pytest.fail(f"{len(failures)} kinds of failure, seed '{seed}':\n\n" + "\n\n".join(failures), pytrace=False)


def with_data(names):
    """A family, with a few commands that give its keys neighbours and times to live."""
    return list(dict.fromkeys([*names, "SET", "DEL", "EXPIRE", "RENAME", "COPY", "OBJECT|ENCODING", "TTL"]))


def lacks(server, names):
    """Those of the names that the server does not know: they would drown all other findings."""
    with server.client() as c:
        replies = c.pipeline_raw([name.split("|") for name in names])
        c.call("SELECT", 0)
    return {name for name, raw in zip(names, replies) if raw.startswith((b"-ERR unknown command", b"-ERR unknown subcommand"))}


def test_moon_has_every_command(moons):
    lacking = lacks(moons.get(1), generators.GENERATORS)
    unexcused = sorted(lacking - set(COMING))
    assert not unexcused, f"Moon lacks {' '.join(unexcused)}"
    came = sorted(set(COMING) - lacking)
    assert not came, f"Moon does have {' '.join(came)}: no longer of COMING, nor of docs/compatibility.md"


def test_every_data_command_has_a_generator(moons):
    with moons.get(1).client() as c:
        missing = sorted(data_commands(c) - set(generators.GENERATORS) - set(NOT_IN_REFERENCE) - set(TESTED_ELSEWHERE))
    assert not missing, f"commands without a generator in tests/compat/generators.py: {' '.join(missing)}"


def data_commands(client):
    names = {name.decode().upper() for name in client.call("COMMAND", "LIST")}
    infos = client.call("COMMAND", "INFO", *sorted(names))
    with_keys = {info[0].decode().upper() for info in infos
                 if info is not None and (info[3] > 0 or MOVABLE_KEYS in info[2])}
    return with_keys | (names & KEYLESS_DATA_COMMANDS)


def test_lists_of_exceptions_are_true(oracle):
    """What is excused as unknown to the reference is unknown to it."""
    with oracle.client() as o:
        known = [n for n, info in zip(NOT_IN_REFERENCE, o.call("COMMAND", "INFO", *NOT_IN_REFERENCE)) if info is not None]
    assert not known, f"the reference does have {known}"


def shard_of(key, shards):
    """As shard/base/slot.h: blocks of 32 slots are dealt out in turn."""
    key = key.encode() if isinstance(key, str) else key
    tag = key[key.index(b"{") + 1:key.index(b"}")] if b"{" in key else key
    return binascii.crc_hqx(tag, 0) % 16384 // 32 % shards


@pytest.mark.parametrize("shards", [2, 4])
@pytest.mark.parametrize("name", sorted(generators.SPREAD_FREELY))
def test_keys_of_several_shards_are_drawn(name, shards):
    """Commands whose keys may lie anywhere meet every shard, and often several at once."""
    keys_of = [words[1::2 if name.startswith("MSET") else 1] for words in generators.draw_sequence(f"spread {name}", 300, [name])]
    owners = [{shard_of(key, shards) for key in keys if isinstance(key, str)} for keys in keys_of]
    assert set().union(*owners) == set(range(shards))
    assert sum(len(o) > 1 for o in owners) > len(owners) / 4
    assert sum(len(o) == shards for o in owners) > len(owners) / 20


APART = [  # two keys of different shards, whatever their number
    ["RENAME", "s1", "s2"], ["RENAMENX", "s1", "s2"], ["COPY", "s1", "s2"], ["MSETNX", "s1", "a", "s2", "b"],
    ["LCS", "s1", "s2"], ["SMOVE", "t1", "t2", "1"], ["LMOVE", "l1", "l2", "LEFT", "LEFT"], ["RPOPLPUSH", "l1", "l2"],
    ["ZRANGESTORE", "z1", "z2", "0", "-1"], ["SINTER", "t1", "t2"], ["SUNION", "u1", "u2"], ["SDIFF", "t1", "t2"],
    ["SINTERCARD", "2", "t1", "t2"], ["SINTERSTORE", "t1", "t2"], ["SUNIONSTORE", "t1", "t2"], ["SDIFFSTORE", "t1", "t2"],
    ["ZINTER", "2", "z1", "z2"], ["ZUNION", "2", "z1", "z2"], ["ZDIFF", "2", "z1", "z2"], ["ZINTERCARD", "2", "z1", "z2"],
    ["ZINTERSTORE", "z1", "1", "z2"], ["ZUNIONSTORE", "z1", "1", "z2"], ["ZDIFFSTORE", "z1", "1", "z2"],
    ["LMPOP", "2", "l1", "l2", "LEFT"], ["ZMPOP", "2", "z1", "z2", "MIN"], ["LMPOP", "2", "none", "l1", "RIGHT"],
]
# No reply has two members of a set: their order is nobody's promise, and inside EXEC it would be compared.
FILL = [["SET", "s1", "one"], ["SET", "s2", "two"], ["SADD", "t1", "1", "2"], ["SADD", "t2", "2", "3"], ["SADD", "u1", "7"], ["SADD", "u2", "7"],
        ["RPUSH", "l1", "1", "2"],
        ["RPUSH", "l2", "3"], ["ZADD", "z1", "1", "a", "2", "b"], ["ZADD", "z2", "3", "b", "4", "c"]]
HOLDS = {"s": ["GET"], "t": ["SMEMBERS"], "l": ["LRANGE", "0", "-1"], "z": ["ZRANGE", "0", "-1", "WITHSCORES"]}


@pytest.mark.parametrize("in_multi", [False, True], ids=["plain", "in multi"])
@pytest.mark.parametrize("command", APART, ids=lambda command: " ".join(command[:3]))
@pytest.mark.parametrize("shards", [2, 4])
def test_keys_of_several_shards(oracle, moons, shards, command, in_multi):
    """Each command that runs over several shards does so at least once, from every core, with what it makes read back."""
    assert all(shard_of(kind + "1", shards) != shard_of(kind + "2", shards) for kind in "stlzu")
    for _ in range(shards):  # connections are dealt to the cores in turn
        pair = Pair(oracle, moons.get(shards), 2)
        pair.reset()
        commands = [["MULTI"], command, ["EXEC"]] if in_multi else [command]
        reads = [[HOLDS[k][0], k + n, *HOLDS[k][1:]] for k in HOLDS for n in "12"]
        try:
            assert pair.run([*FILL, *commands, *reads]) is None
            assert pair.compare_data() is None
        finally:
            pair.close()


def test_known_differences_are_met(full):
    """Runs last. Only the long run is long enough to say that an entry is not needed."""
    unused = [difference.name for difference in compare.unused_differences()]
    if not full:
        pytest.skip("only with --full")
    assert not unused, f"no longer needed in compare.KNOWN_DIFFERENCES: {unused}"
