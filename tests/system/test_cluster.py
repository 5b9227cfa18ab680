"""A cluster of one beside redis-server's (7.0.15): replies, errors and their order; slots decide who runs what;
what was answered outlives kill -9; damage refuses the start."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from moonlib.resp import Disconnected, ReplyError, encode
from moonlib.server import ROOT, StartFailed, moon_binary, start_moon, start_oracle

MOONCTL = os.environ.get("MOONCTL_BIN", os.path.join(ROOT, "build", "release", "moonctl"))

ON = ["--cluster-enabled", "yes"]
OFF = b"-ERR This instance has cluster support disabled\r\n"
ID = re.compile(rb"[0-9a-f]{40}")
# Lines of INFO that Redis does not have, and one that it brings up to date two seconds after the start only.
OURS = re.compile(rb"cluster_(meta_version|raft_\w+|groups_\w+|migrations_active|size):[^\r]*\r\n")


@pytest.fixture(scope="module", name="oracle")
def fixture_oracle():
    # A state that is ok again is shown after at most that time.
    with start_oracle(args=[*ON, "--cluster-node-timeout", "500"]) as server:
        yield server


@pytest.fixture(scope="module", name="moons", params=(1, 2))
def fixture_moons(request):
    with start_moon(shards=request.param, args=ON) as server:
        yield server


@pytest.fixture(name="pair")
def fixture_pair(oracle, moons):
    """(redis, moon), both new: no slots, epoch 0."""
    for server in (oracle, moons):
        with server.client() as c:
            c.call("FLUSHALL")
            assert c.call("CLUSTER", "RESET", "HARD") == b"OK"
    return oracle, moons


def plain(reply, port):
    """Without what is each server's own: its id and port; lengths of texts that hold them."""
    reply = ID.sub(b"<id>", reply).replace(b"%d" % (port + 10000), b"<bus>").replace(b"%d" % port, b"<port>")
    reply = OURS.sub(b"", reply)
    return re.sub(rb"^([$=])\d+\r\n(?=txt:|cluster_|<id>)", rb"\1<n>\r\n", reply, flags=re.MULTILINE)


def raw(server, commands, resp=2):
    with server.client(resp=resp) as c:
        return [plain(reply, server.port) for reply in c.pipeline_raw(commands)]


def same(pair, commands, resp=2):
    redis, moon = raw(pair[0], commands, resp), raw(pair[1], commands, resp)
    for command, theirs, ours in zip(commands, redis, moon):
        assert ours == theirs, f"{command}: redis {theirs!r}, moon {ours!r}"
    return moon


def words(text):
    return [line.split() for line in text.strip().splitlines()]


SHOWN = words("""
    CLUSTER INFO
    CLUSTER NODES
    CLUSTER SLOTS
    CLUSTER SHARDS
    CLUSTER MYID
    CLUSTER LINKS
    CLUSTER KEYSLOT {a}b
    CLUSTER KEYSLOT b
    CLUSTER COUNT-FAILURE-REPORTS x
    CLUSTER REPLICAS x
    CLUSTER SLAVES 0123456789012345678901234567890123456789
    CLUSTER COUNTKEYSINSLOT 0
    CLUSTER COUNTKEYSINSLOT -1
    CLUSTER COUNTKEYSINSLOT 16384
    CLUSTER COUNTKEYSINSLOT x
    CLUSTER GETKEYSINSLOT 0 10
    CLUSTER GETKEYSINSLOT 0 -1
    CLUSTER GETKEYSINSLOT 16384 1
    CLUSTER GETKEYSINSLOT 1 x
    CLUSTER GETKEYSINSLOT 1
    CLUSTER SAVECONFIG
    CLUSTER NONSENSE
    CLUSTER
    READONLY
    READWRITE
    ASKING
    READONLY 1
    INFO cluster
""")


@pytest.mark.parametrize("resp", (2, 3))
def test_what_a_new_node_tells(pair, resp):
    same(pair, SHOWN, resp)


@pytest.mark.parametrize("resp", (2, 3))
def test_what_a_node_with_slots_tells(pair, resp):
    same(pair, words("""
        CLUSTER ADDSLOTSRANGE 0 5000 6000 16383
        CLUSTER ADDSLOTS 5500 5501
        CLUSTER SET-CONFIG-EPOCH 7
    """))
    same(pair, SHOWN, resp)
    same(pair, words("CLUSTER ADDSLOTSRANGE 5001 5499 5502 5999"))
    with pair[0].client() as redis:
        wait_ok(redis)
    same(pair, SHOWN, resp)


CHANGES = words("""
    CLUSTER ADDSLOTS
    CLUSTER ADDSLOTS x
    CLUSTER ADDSLOTS 1 x
    CLUSTER ADDSLOTS 16384
    CLUSTER ADDSLOTS -1
    CLUSTER ADDSLOTS 1 1
    CLUSTER ADDSLOTS 1 3 2
    CLUSTER ADDSLOTS 9 3
    CLUSTER ADDSLOTS 4 4 3
    CLUSTER ADDSLOTSRANGE 5
    CLUSTER ADDSLOTSRANGE 5 6 7
    CLUSTER ADDSLOTSRANGE 5 4
    CLUSTER ADDSLOTSRANGE 5 16384
    CLUSTER ADDSLOTSRANGE 5 9 9 12
    CLUSTER ADDSLOTSRANGE 0 5
    CLUSTER ADDSLOTSRANGE 10 20 30 40
    CLUSTER SLOTS
    CLUSTER SETSLOT 1 STABLE
    CLUSTER SETSLOT 1 STABLE x
    CLUSTER SETSLOT 1 NODE
    CLUSTER SETSLOT 1 NODE x
    CLUSTER SETSLOT 1 NONSENSE x
    CLUSTER SETSLOT 99 MIGRATING x
    CLUSTER SETSLOT 1 MIGRATING x
    CLUSTER SETSLOT 1 IMPORTING x
    CLUSTER SETSLOT 99 IMPORTING x
    CLUSTER SETSLOT 16384 STABLE
    CLUSTER SET-CONFIG-EPOCH x
    CLUSTER SET-CONFIG-EPOCH -5
    CLUSTER SET-CONFIG-EPOCH 0
    CLUSTER SET-CONFIG-EPOCH 12
    CLUSTER SET-CONFIG-EPOCH 13
    CLUSTER BUMPEPOCH
    CLUSTER INFO
    CLUSTER MEET 1.2.3.4
    CLUSTER MEET 1.2.3.4 x
    CLUSTER MEET 1.2.3.4 5 x
    CLUSTER FORGET x
    CLUSTER REPLICATE x
    CLUSTER FAILOVER
    CLUSTER FAILOVER FORCE
    CLUSTER FAILOVER x
    CLUSTER FAILOVER FORCE x
    CLUSTER RESET x
    CLUSTER RESET SOFT x
    CLUSTER DELSLOTS 9
    CLUSTER DELSLOTS 10 10
    CLUSTER DELSLOTS x
    CLUSTER DELSLOTSRANGE 1 2
    CLUSTER DELSLOTSRANGE 3 1
    CLUSTER DELSLOTSRANGE 10 15 15 16
    CLUSTER DELSLOTS 10 1
    CLUSTER DELSLOTSRANGE 2 3 30 40
    CLUSTER SLOTS
    CLUSTER FLUSHSLOTS
    CLUSTER FLUSHSLOTS
    CLUSTER SLOTS
""")


def test_changes(pair):
    same(pair, CHANGES)


def test_commands_about_the_node_itself(pair):
    for command in (("CLUSTER", "FORGET"), ("CLUSTER", "REPLICATE"), ("CLUSTER", "COUNT-FAILURE-REPORTS"),
                    ("CLUSTER", "REPLICAS"), ("CLUSTER", "SETSLOT", "5", "NODE"), ("CLUSTER", "SETSLOT", "5", "NODE")):
        theirs, ours = [raw(s, [[*command, s.client().call("CLUSTER", "MYID")]]) for s in pair]
        assert ours == theirs, command
    same(pair, words("CLUSTER SLOTS"))


def test_bumpepoch_of_a_new_node(pair):
    same(pair, words("CLUSTER BUMPEPOCH\nCLUSTER BUMPEPOCH\nCLUSTER SET-CONFIG-EPOCH 5\nCLUSTER INFO"))


def test_reset(pair):
    same(pair, words("CLUSTER ADDSLOTSRANGE 0 16383\nCLUSTER SET-CONFIG-EPOCH 5"))
    for server in pair:
        with server.client() as c:
            wait_ok(c)
            before = c.call("CLUSTER", "MYID")
            c.call("SET", "k", 1)
            for command in (("RESET", "SOFT"), ("RESET",), ("RESET", "HARD"), ("FLUSHSLOTS",)):
                with pytest.raises(ReplyError):
                    c.call("CLUSTER", *command)
            c.call("DEL", "k")
            assert c.call("CLUSTER", "RESET") == b"OK"
            assert c.call("CLUSTER", "MYID") == before
            assert c.call("CLUSTER", "SLOTS") == []
            assert c.call("CLUSTER", "RESET", "HARD") == b"OK"
            assert c.call("CLUSTER", "MYID") != before
            assert b"cluster_my_epoch:0" in c.call("CLUSTER", "INFO")
    same(pair, words("SET k 1\nCLUSTER NODES"))


def test_errors_of_a_reset_with_keys(pair):
    same(pair, words("CLUSTER ADDSLOTSRANGE 0 16383"))
    for server in pair:
        with server.client() as c:
            wait_ok(c)
    same(pair, words("SET k 1\nCLUSTER RESET\nCLUSTER RESET HARD\nCLUSTER FLUSHSLOTS\nDEL k"))


def wait_ok(client):
    deadline = time.monotonic() + 10
    while b"cluster_state:ok" not in client.call("CLUSTER", "INFO"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


KEYED = words("""
    SET a 1
    GET a
    MGET a b
    MGET {a}1 {a}2
    MSET a 1 b 2
    DEL a b
    EXISTS a
    ZUNION 2 a b
    ZUNION 2 {a}1 {a}2
    ZUNION x a b
    ZUNIONSTORE a 2 b c
    ZUNIONSTORE {a} 2 {a}1 {a}2
    RENAME a b
    SINTERSTORE {a} {a}1 {a}2
    OBJECT ENCODING a
    SELECT 0
    SELECT 1
    SELECT x
    SELECT 99
    SWAPDB 0 1
    SWAPDB 0 x
    MOVE a 1
    MOVE a x
    COPY a b
    COPY {a} {a}b DB 1
    COPY {a} {a}b DB 1 REPLACE
    COPY {a} {a}b DB 99
    COPY {a} {a}b DB x
    COPY {a} {a}b NONSENSE
    COPY {a} {a}b DB 0
    DBSIZE
    RANDOMKEY
    KEYS *
    PING
    NONSENSE a
    GET
    LMPOP 2 a b LEFT
    LMPOP 2 {a} {a}b LEFT
    LMPOP 0 a LEFT
    FLUSHALL
""")


def test_who_may_run_what(pair):
    same(pair, KEYED)  # no slots
    same(pair, words("CLUSTER ADDSLOTSRANGE 0 15494"))
    same(pair, KEYED)  # slots, but not those of a
    same(pair, words("CLUSTER ADDSLOTS 15495"))
    same(pair, KEYED)  # that of a, but not all
    same(pair, words("CONFIG SET cluster-allow-reads-when-down yes"))
    same(pair, KEYED)
    same(pair, words("CONFIG SET cluster-allow-reads-when-down no\nCONFIG SET cluster-require-full-coverage no"))
    with pair[0].client() as redis:
        wait_ok(redis)
    same(pair, KEYED)
    same(pair, words("CONFIG SET cluster-require-full-coverage yes\nCLUSTER ADDSLOTSRANGE 15496 16383"))
    with pair[0].client() as redis:
        wait_ok(redis)
    same(pair, KEYED)


TWICE = "redis.call('set', ARGV[1], 1) return redis.call('set', ARGV[2], 1)"
# Keys that a script does not declare must be served here; of one slot, if its first line has flags.
LATE_KEYS = [["EVAL", *rest] for rest in [
    ["return redis.call('get', ARGV[1])", "0", "a"], ["return redis.call('set', ARGV[1], 1)", "0", "a"],
    ["return redis.call('get', ARGV[1])", "1", "{a}b", "a"], ["return redis.pcall('set', ARGV[1], 1)", "1", "{a}b", "a"],
    ["return redis.call('mget', ARGV[1], ARGV[2])", "0", "a", "b"], [TWICE, "0", "a", "b"], [TWICE, "0", "a", "{a}b"], [TWICE, "1", "a", "a", "b"],
    ["#!lua\n" + TWICE, "0", "a", "b"], ["#!lua\n" + TWICE, "0", "a", "{a}b"], ["#!lua\n" + TWICE, "1", "a", "b", "b"],
    ["#!lua flags=allow-cross-slot-keys\n" + TWICE, "1", "a", "b", "{a}b"], ["return redis.call('dbsize')", "0"],
]] + [["FLUSHALL"]]


def test_keys_of_scripts(pair):
    same(pair, LATE_KEYS)  # no slots
    same(pair, words("CLUSTER ADDSLOTSRANGE 0 15494\nCLUSTER ADDSLOTSRANGE 15496 16383\nCONFIG SET cluster-require-full-coverage no"))
    with pair[0].client() as redis:
        wait_ok(redis)
    same(pair, LATE_KEYS)  # not that of a
    same(pair, words("CLUSTER ADDSLOTS 15495\nCONFIG SET cluster-require-full-coverage yes"))
    same(pair, LATE_KEYS)


SCRIPTED = [["EVAL", "return redis.pcall(unpack(ARGV))", "1", "a", *command] for command in words("""
    SET a 1
    SELECT 0
    SELECT 1
    SELECT x
    SELECT -1
    SWAPDB 0 1
    SWAPDB 0 x
    MOVE a 1
    COPY a {a}b DB 1
    COPY a {a}b DB 1 REPLACE
    COPY a {a}b DB x
    COPY a {a}b DB 0
    DEL a {a}b
    DBSIZE
""")]


def test_scripts_have_one_database(pair):
    """A key in another one would be served by nobody, and the next start refused for its sake."""
    for server in pair:
        with server.client() as c:
            c.call("FLUSHALL")
            c.call("CLUSTER", "RESET", "HARD")
            c.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_ok(c)
    same(pair, SCRIPTED)


TRANSACTIONS = words("""
    MULTI
    SET a 1
    SET {a}b 2
    MGET a {a}b
    EXEC
    MULTI
    SET a 1
    SET b 2
    EXEC
    MULTI
    MGET a b
    SET a 1
    EXEC
    MULTI
    PING
    SELECT 1
    SELECT 0
    GET a
    EXEC
    MULTI
    CLUSTER KEYSLOT a
    GET a
    CLUSTER DELSLOTS 5
    CLUSTER COUNTKEYSINSLOT 15495
    EXEC
    GET a
    MULTI
    GET a
    EXEC
    MULTI
    CLUSTER ADDSLOTS 5
    CLUSTER ADDSLOTS 5
    EXEC
    WATCH a
    WATCH {a}b a
    UNWATCH
    DEL a {a}b
""")


def test_transactions(pair):
    same(pair, TRANSACTIONS[:-1])
    for server in pair:
        with server.client() as c:
            c.call("CLUSTER", "RESET", "HARD")
            c.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
            c.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_ok(c)
    same(pair, TRANSACTIONS)
    for server in pair:
        with server.client() as c:
            c.call("CONFIG", "SET", "cluster-require-full-coverage", "yes")


def test_help_is_redis_with_one_more_line(pair):
    theirs, ours = [server.client().call("CLUSTER", "HELP") for server in pair]
    at = ours.index(b"MYSHARDID")
    assert ours[:at] + ours[at + 2:] == theirs


def test_what_hello_and_info_say(moons):
    with moons.client(resp=3) as c:
        assert c.call("HELLO", 3)[b"mode"] == b"cluster"
        assert b"redis_mode:cluster\r\n" in c.call("INFO", "server")
        assert re.fullmatch(rb"[0-9a-f]{40}", c.call("CLUSTER", "MYSHARDID"))


def test_keys_of_a_slot(moons):
    with moons.client() as c:
        c.call("FLUSHALL")
        c.call("CLUSTER", "RESET", "HARD")
        c.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        names = {b"{k%d}%d" % (k, i) for k in range(3) for i in range(50)}
        for name in names:
            c.call("SET", name, 1)
        found = set()
        for k in range(3):
            slot = c.call("CLUSTER", "KEYSLOT", "{k%d}" % k)
            assert c.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 50
            assert len(c.call("CLUSTER", "GETKEYSINSLOT", slot, 7)) == 7
            assert c.call("CLUSTER", "GETKEYSINSLOT", slot, 0) == []
            listed = c.call("CLUSTER", "GETKEYSINSLOT", slot, 1000)
            assert len(listed) == 50
            found |= set(listed)
        assert found == names
        # In the order of the pipeline, whatever shard has the slot.
        replies = c.pipeline_raw([["DEL", "{k0}0"], ["CLUSTER", "COUNTKEYSINSLOT", c.call("CLUSTER", "KEYSLOT", "k0")]])
        assert replies == [b":1\r\n", b":49\r\n"]
        c.call("FLUSHALL")


def test_with_cluster_mode_off():
    commands = words("""
        CLUSTER INFO
        CLUSTER MYID
        CLUSTER NODES
        CLUSTER ADDSLOTS 1
        CLUSTER ADDSLOTS
        CLUSTER KEYSLOT a
        CLUSTER KEYSLOT
        CLUSTER GETKEYSINSLOT 1 1
        CLUSTER RESET x
        CLUSTER MEET 1 2
        CLUSTER SETSLOT 1 STABLE
        CLUSTER HELP
        CLUSTER NONSENSE
        CLUSTER
        READONLY
        READWRITE
        ASKING
        SELECT 3
        MSET a 1 b 2
        INFO cluster
    """)
    with start_moon(shards=2) as moon, start_oracle() as redis:
        ours, theirs = raw(moon, commands), raw(redis, commands)
        for command, one, other in zip(commands, ours, theirs):
            assert one == other, command
        assert raw(moon, [["CLUSTER", "MYSHARDID"]]) == [OFF]
        assert os.path.exists(os.path.join(moon.folder, "raft", "meta.0"))  # the log is kept all the same


# ---- order and workers

@pytest.mark.parametrize("io", ("epoll", "uring"))
@pytest.mark.parametrize("shards", (1, 3))
def test_what_follows_a_change_sees_it(nodes_with, shards, io):
    """In its pipeline, and on connections of other workers after the reply."""
    moon = nodes_with(shards, io)
    others = [moon.client() for _ in range(2 * shards)]
    with moon.client() as c:
        for round_ in range(30):
            replies = c.pipeline_raw([["CLUSTER", "ADDSLOTSRANGE", 0, 16383], ["SET", "a", round_], ["GET", "a"],
                                      ["DEL", "a"], ["CLUSTER", "DELSLOTSRANGE", 0, 16383], ["GET", "a"], ["PING"],
                                      ["CLUSTER", "ADDSLOTS", 5], ["CLUSTER", "DELSLOTS", 5]])
            assert replies[0] == replies[1] == replies[4] == replies[7] == replies[8] == b"+OK\r\n"
            assert replies[2] == b"$%d\r\n%d\r\n" % (len(str(round_)), round_)
            assert replies[5] == b"-CLUSTERDOWN Hash slot not served\r\n"
            assert replies[6] == b"+PONG\r\n"
            c.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            for k, other in enumerate(others):
                assert other.call("SET", f"k{k}", 1) == b"OK"
                assert other.call("DEL", f"k{k}") == 1
            c.call("CLUSTER", "FLUSHSLOTS")
            for k, other in enumerate(others):
                with pytest.raises(ReplyError, match="Hash slot not served"):
                    other.call("GET", f"k{k}")


@pytest.fixture(name="nodes_with")
def fixture_nodes_with():
    running = []

    def get(shards, io):
        try:
            running.append(start_moon(shards=shards, io=io, args=ON))
        except StartFailed as error:
            if io != "uring" or "no way to do input and output" not in str(error):
                raise
            pytest.skip("the kernel refuses io_uring")
        return running[-1]

    yield get
    for server in running:
        server.stop()


def test_many_clients_change_at_once(nodes_with):
    """Each slot is given out once, whoever asks."""
    moon = nodes_with(2, "epoll")
    clients = [moon.client() for _ in range(8)]
    for slot in range(100):
        for c in clients:
            c.send(encode(["CLUSTER", "ADDSLOTS", slot]))
        replies = [c.read_raw() for c in clients]
        assert replies.count(b"+OK\r\n") == 1
        assert replies.count(b"-ERR Slot %d is already busy\r\n" % slot) == len(clients) - 1
    assert moon.client().call("CLUSTER", "SLOTS")[0][:2] == [0, 99]


def test_a_client_that_leaves_before_its_reply(nodes_with):
    moon = nodes_with(2, "epoll")
    for slot in range(200):
        c = moon.client()
        c.send(encode(["CLUSTER", "ADDSLOTS", slot]))
        c.close()
    deadline = time.monotonic() + 10
    with moon.client() as c:
        while b"cluster_slots_assigned:200\r\n" not in c.call("CLUSTER", "INFO"):
            assert time.monotonic() < deadline
            time.sleep(0.01)


# ---- start, stop, kill

def test_slots_and_epoch_outlive_kill(tmp_path):
    folder = str(tmp_path)
    moon = start_moon(shards=2, args=ON, folder=folder)
    with moon.client() as c:
        me, shard = c.call("CLUSTER", "MYID"), c.call("CLUSTER", "MYSHARDID")
    for step in range(5):
        with moon.client() as c:
            assert c.call("CLUSTER", "ADDSLOTSRANGE", 1000 * step, 1000 * step + 500) == b"OK"
            if step == 2:
                assert c.call("CLUSTER", "SET-CONFIG-EPOCH", 77) == b"OK"
            if step == 3:
                assert c.call("CLUSTER", "DELSLOTS", 7) == b"OK"
            before = c.call("CLUSTER", "SLOTS"), epochs(c)
        moon.kill()
        moon = start_moon(shards=1 + step % 3, args=ON, folder=folder, port=moon.port)
        with moon.client() as c:
            assert c.call("CLUSTER", "MYID") == me
            assert c.call("CLUSTER", "MYSHARDID") == shard
            assert (c.call("CLUSTER", "SLOTS"), epochs(c)) == before
    moon.stop()
    assert not [name for name in os.listdir(tmp_path / "raft") if name.startswith("snap")]  # a few entries


def epochs(client):
    return re.findall(rb"epoch:(\d+)", client.call("CLUSTER", "INFO"))


def test_a_node_keeps_its_id_when_cluster_mode_comes_later(tmp_path):
    folder = str(tmp_path)
    start_moon(folder=folder).stop()
    start_moon(folder=folder).kill()
    with start_moon(folder=folder, args=ON) as moon, moon.client() as c:
        me = c.call("CLUSTER", "MYID")
        c.call("CLUSTER", "ADDSLOTS", 1)
    with start_moon(folder=folder) as moon, moon.client() as c:
        assert c.call("SET", "a", 1) == b"OK"
    with start_moon(folder=folder, args=ON) as moon, moon.client() as c:
        assert c.call("CLUSTER", "MYID") == me
        assert c.call("CLUSTER", "SLOTS")[0][:2] == [1, 1]


@pytest.mark.parametrize("name, offset", [("seg-00000001-0000000000000001.log", 300), ("seg-00000001-0000000000000001.log", 20)])
def test_damage_refuses_the_start(tmp_path, name, offset):
    folder = str(tmp_path)
    with start_moon(args=ON, folder=folder) as moon, moon.client() as c:
        for slot in range(20):
            c.call("CLUSTER", "ADDSLOTS", slot)
    path = tmp_path / "raft" / name
    damaged = bytearray(path.read_bytes())
    damaged[offset] ^= 1
    path.write_bytes(damaged)
    for args in (ON, []):
        with pytest.raises(StartFailed) as failed:
            start_moon(args=args, folder=folder)
        assert f"{path}: offset " in str(failed.value)
    damaged[offset] ^= 1
    path.write_bytes(damaged)
    with start_moon(args=ON, folder=folder) as moon, moon.client() as c:
        assert c.call("CLUSTER", "SLOTS")[0][:2] == [0, 19]


def test_both_copies_of_meta_damaged(tmp_path):
    folder = str(tmp_path)
    start_moon(args=ON, folder=folder).stop()
    for copy in ("meta.0", "meta.1"):
        path = tmp_path / "raft" / copy
        path.write_bytes(path.read_bytes()[:100] + b"x" + path.read_bytes()[101:])
        if copy == "meta.0":
            start_moon(args=ON, folder=folder).stop()  # the other copy is whole, and this one is mended
            assert b"x" not in path.read_bytes()[100:101]
            path.write_bytes(path.read_bytes()[:100] + b"x" + path.read_bytes()[101:])
    with pytest.raises(StartFailed) as failed:
        start_moon(args=ON, folder=folder)
    assert "meta.0: offset 0" in str(failed.value) and "meta.1: offset 0" in str(failed.value)


def test_one_directory_one_process(tmp_path):
    with start_moon(folder=str(tmp_path)):
        with pytest.raises(StartFailed) as failed:
            start_moon(folder=str(tmp_path))
        assert "in use by another process" in str(failed.value)


def test_slots_that_have_keys_are_taken_at_a_start(tmp_path):
    folder = str(tmp_path)
    with start_moon(shards=2, folder=folder, appendonly="yes") as moon, moon.client() as c:
        for i in range(100):
            c.call("SET", f"k{i}", i)
        slots = None
    with start_moon(shards=2, folder=folder, appendonly="yes", args=ON) as moon, moon.client() as c:
        slots = {c.call("CLUSTER", "KEYSLOT", f"k{i}") for i in range(100)}
        owned = {slot for first, last, *_ in c.call("CLUSTER", "SLOTS") for slot in range(first, last + 1)}
        assert owned == slots
        assert b"slots have keys and no owner: taken" in open(moon.log_path, "rb").read()
        c.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        assert c.call("GET", "k7") == b"7"


def test_keys_of_other_databases_refuse_cluster_mode(tmp_path):
    folder = str(tmp_path)
    with start_moon(folder=folder, appendonly="yes") as moon, moon.client() as c:
        c.call("SELECT", 3)
        c.call("SET", "k", 1)
    with pytest.raises(StartFailed) as failed:
        start_moon(folder=folder, appendonly="yes", args=ON)
    assert "there are keys in database 3" in str(failed.value)
    with start_moon(folder=folder, appendonly="yes") as moon, moon.client() as c:
        c.call("SELECT", 3)
        assert c.call("GET", "k") == b"1"


def test_what_a_node_announces_can_be_set():
    with start_moon(args=[*ON, "--cluster-announce-ip", "10.1.2.3"]) as moon, moon.client() as c:
        assert b" 10.1.2.3:%d@%d myself" % (moon.port, moon.port + 10000) in c.call("CLUSTER", "NODES")
        c.call("CONFIG", "SET", "cluster-announce-hostname", "host.example", "cluster-announce-port", 7000,
               "cluster-announce-bus-port", 17000)
        deadline = time.monotonic() + 5
        while b" 10.1.2.3:7000@17000,host.example myself" not in c.call("CLUSTER", "NODES"):
            assert time.monotonic() < deadline, c.call("CLUSTER", "NODES")
            time.sleep(0.02)
        c.call("CLUSTER", "ADDSLOTS", 1)
        c.call("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
        assert c.call("CLUSTER", "SLOTS")[0][2][:2] == [b"host.example", 7000]
        with pytest.raises(ReplyError):
            c.call("CONFIG", "SET", "cluster-announce-ip", "a, b")


def cluster_info(c):
    return dict(line.split(":", 1) for line in c.call("CLUSTER", "INFO").decode().split("\r\n") if line)


def threads(moon):
    tasks = f"/proc/{moon.process.pid}/task"
    names = []
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/comm", encoding="ascii") as f:
            names.append(f.read().strip())
    return names


def test_either_way_of_keeping_the_log_goes_on_where_the_other_was(tmp_path):
    """Alone, then the only voter of a Raft log, and back, each time after a kill: id, slots and epoch stay."""
    with start_moon(folder=str(tmp_path), args=["--cluster-announce-hostname", "a.example"]) as moon:
        assert "ctl" not in threads(moon)
        moon.kill()
    term, version, me = 0, 0, None
    for turn in range(3):
        with start_moon(folder=str(tmp_path), args=ON) as moon, moon.client() as c:
            assert "ctl" in threads(moon)
            info = cluster_info(c)
            assert info["cluster_raft_role"] == "leader"
            assert info["cluster_raft_leader"].encode() == c.call("CLUSTER", "MYID")
            assert int(info["cluster_raft_term"]) > term
            assert int(info["cluster_meta_version"]) >= version
            assert me in (None, c.call("CLUSTER", "MYID"))
            assert int(info["cluster_slots_assigned"]) == turn * 10
            assert c.call("CLUSTER", "ADDSLOTSRANGE", turn * 10, turn * 10 + 9) == b"OK"
            if turn == 0:
                assert c.call("CLUSTER", "BUMPEPOCH") == b"BUMPED 1"
            info = cluster_info(c)
            assert info["cluster_my_epoch"] == "1"
            term, version, me = int(info["cluster_raft_term"]), int(info["cluster_meta_version"]), c.call("CLUSTER", "MYID")
            moon.kill()
        with start_moon(folder=str(tmp_path)) as moon, moon.client() as c:
            with pytest.raises(ReplyError, match="cluster support disabled"):
                c.call("CLUSTER", "INFO")
            moon.kill()


def raft_status(server, *words):
    return subprocess.run([MOONCTL, "raft", "status", "-p", str(server.port), *words], capture_output=True, text=True, timeout=10, check=False)


def test_moonctl_raft_status(tmp_path):
    with start_moon(folder=str(tmp_path), args=ON) as moon, moon.client() as c:
        me = c.call("CLUSTER", "MYID").decode()
        time.sleep(0.4)  # what is told of the log is that old at most
        told = json.loads(raft_status(moon, "-o", "json").stdout)
        assert told == {"schema": "moonctl.raft.status/1", "role": "leader", "leader": me, "term": told["term"], "members": 1, "failure": "",
                        "commit_index": told["applied_index"], "applied_index": told["applied_index"], "snapshot_index": 0,
                        "meta_version": int(cluster_info(c)["cluster_meta_version"])}
        shown = raft_status(moon)
        assert shown.returncode == 0
        assert re.search(rf"^leader +{me}$", shown.stdout, re.MULTILINE)
        c.call("CONFIG", "SET", "requirepass", "secret")
        assert raft_status(moon).returncode == 4
    with start_moon(folder=str(tmp_path)) as moon:
        refused = raft_status(moon)
        assert refused.returncode == 5
        assert "cluster support disabled" in refused.stderr
        assert "cluster-enabled yes" in refused.stderr
    assert raft_status(moon).returncode == 1  # nobody is there any more


def test_a_port_too_high_for_the_bus(tmp_path):
    run = subprocess.run([moon_binary(), "--port", "60000", "--bind", "127.0.0.1", "--dir", str(tmp_path), "--appendonly", "no",
                          *ON], capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode == 1
    assert "port 60000 is too high for cluster mode" in run.stdout + run.stderr


def test_a_full_disk_refuses_changes_and_keeps_serving(tmp_path):
    """The control log stops for good; data and what is known go on."""
    where = tmp_path / "disk"
    where.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)], capture_output=True, text=True,
                           check=False)
    if tried.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {tried.stderr.strip()}")
    even = range(0, 16384, 2)  # many ranges: an entry of many bytes
    try:
        with start_moon(args=[*ON, "--cluster-require-full-coverage", "no"], folder=str(where)) as moon, moon.client() as c:
            assert c.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383) == b"OK"
            with open(where / "ballast", "wb", buffering=0) as f, pytest.raises(OSError):
                while True:
                    f.write(b"b" * 4096)
            with pytest.raises(ReplyError, match="No space left"):
                for _ in range(100):  # until the segment is full
                    c.call("CLUSTER", "DELSLOTS", *even)
                    c.call("CLUSTER", "ADDSLOTS", *even)
            before = c.call("CLUSTER", "SLOTS")
            with pytest.raises(ReplyError, match="No space left"):
                c.call("CLUSTER", "BUMPEPOCH" if b"my_epoch:0\r" in c.call("CLUSTER", "INFO") else "RESET")
            assert c.call("SET", "a", 1) == b"OK"  # slot 15495
            assert c.call("CLUSTER", "SLOTS") == before
            (where / "ballast").unlink()
        with start_moon(args=ON, folder=str(where)) as moon, moon.client() as c:
            assert len(c.call("CLUSTER", "SLOTS")) in (1, 8192)
            c.call("CLUSTER", "FLUSHSLOTS")
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def test_stop_under_changes(tmp_path):
    """What was answered before a SIGTERM is there after it."""
    moon = start_moon(shards=2, args=ON, folder=str(tmp_path))
    clients = [moon.client() for _ in range(4)]
    for slot in range(400):
        clients[slot % 4].send(encode(["CLUSTER", "ADDSLOTS", slot]))
    moon.signal(signal.SIGTERM)
    answered = 0
    for c in clients:
        try:
            while c.read_raw() == b"+OK\r\n":
                answered += 1
        except (Disconnected, OSError):  # the end of the connection, however it is told
            pass
    moon.process.wait(10)
    with start_moon(args=ON, folder=str(tmp_path)) as again, again.client() as c:
        owned = sum(last - first + 1 for first, last, *_ in c.call("CLUSTER", "SLOTS"))
        assert owned >= answered
