"""The same commands on redis-server and on Moon: every reply and all stored data must agree.

    build/venv/bin/pytest tests/compat                    short, fixed seeds
    build/venv/bin/pytest tests/compat --full             long
    MOON_COMPAT_SEED=7 … -k 'zsets and resp3'             another draw of one family
"""
import os

import pytest

import compare
import generators
from pair import Pair
from shrink import find_failures

SEED = int(os.environ.get("MOON_COMPAT_SEED", "1"))
LENGTH = 1500
FULL_FACTOR = 12
BATCHES = {(1, 2): 64, (1, 3): 7, (2, 2): 500, (2, 3): 64}  # commands sent at once, by shards and protocol

# Commands that no redis-server 7.0 knows; their replies are tested in tests/system against texts.
NOT_IN_REFERENCE = {
    "HEXPIRE": "7.4", "HPEXPIRE": "7.4", "HEXPIREAT": "7.4", "HPEXPIREAT": "7.4", "HTTL": "7.4", "HPTTL": "7.4",
    "HEXPIRETIME": "7.4", "HPEXPIRETIME": "7.4", "HPERSIST": "7.4", "HGETDEL": "8.0", "HGETEX": "8.0", "HSETEX": "8.0",
    "MSETEX": "8.4", "DIGEST": "8.4", "DELEX": "8.4", "DELIFEQ": "Valkey 9.0",
}
# Data commands that draw no generator here, each with where else it is tested.
TESTED_ELSEWHERE = {}
# Without keys in their arguments, but about data all the same.
KEYLESS_DATA_COMMANDS = {"KEYS", "SCAN", "RANDOMKEY", "DBSIZE", "FLUSHDB", "FLUSHALL", "SWAPDB"}
MOVABLE_KEYS = b"movablekeys"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("family", ["all", *generators.FAMILIES])
@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("shards", [1, 2], ids=["shards1", "shards2"])
def test_same_replies(oracle, moons, full, shards, resp, family):
    names = list(generators.GENERATORS if family == "all" else generators.FAMILIES[family])
    lacking = lacks(moons.get(shards), with_data(names))
    if not set(names) - lacking:
        pytest.skip(f"Moon has none of the {family}: test_moon_has_every_command fails for it")
    seed = f"{SEED} {family} {resp} {shards}"
    length = LENGTH * (2 if family == "all" else 1) * (FULL_FACTOR if full else 1)
    commands = generators.draw_sequence(seed, length, with_data(names), exclude=lacking)
    pair = Pair(oracle, moons.get(shards), resp, start_subject=lambda: moons.get(shards), batch=BATCHES[shards, resp])
    failures = find_failures(pair, commands)
    pair.close()
    if failures:
        pytest.fail(f"{len(failures)} kinds of failure, seed '{seed}':\n\n" + "\n\n".join(failures), pytrace=False)


def with_data(names):
    """A family, with a few commands that give its keys neighbours and times to live."""
    return list(dict.fromkeys([*names, "SET", "DEL", "EXPIRE", "RENAME", "COPY", "OBJECT", "TTL"]))


def lacks(server, names):
    """Those of the names that the server does not know: they would drown all other findings."""
    with server.client() as c:
        replies = c.pipeline_raw([[name] for name in names])
        c.call("SELECT", 0)
    return {name for name, raw in zip(names, replies) if raw.startswith(b"-ERR unknown command")}


def test_moon_has_every_command(moons):
    lacking = sorted(lacks(moons.get(1), generators.GENERATORS))
    assert not lacking, f"Moon lacks {' '.join(lacking)}"


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


def test_known_differences_are_met(full):
    """Runs last. Only the long run is long enough to say that an entry is not needed."""
    unused = [difference.name for difference in compare.unused_differences()]
    if not full:
        pytest.skip("only with --full")
    assert not unused, f"no longer needed in compare.KNOWN_DIFFERENCES: {unused}"
