"""Scripts on nodes of one and of several shards: where they run, what is known everywhere, what ends them, what is left after a
crash. Replies and errors beside redis-server: tests/compat/test_eval.py."""
import hashlib
import itertools
import random
import threading
import time

import pytest
import redis

from moonlib.resp import ReplyError
from moonlib.server import start_moon
from moonlib.setups import alternating, name_of
from moonlib.slots import key_on, shards_of, tags
from moonlib.together import client_of, together


@pytest.fixture(name="node", params=alternating(1, 2, 4), ids=name_of)
def fixture_node(request, nodes):
    return nodes.get(*request.param)


def sha(text):
    return hashlib.sha1(text.encode()).hexdigest()


def test_scripts_of_redis_py(node):
    with redis.Redis(port=node.port) as r:
        script = r.register_script("local v = redis.call('INCRBY', KEYS[1], ARGV[1]) return {v, KEYS[1], ARGV[2]}")
        for tag in tags(node):
            assert script(keys=[tag + "n"], args=[5, "x"]) == [5, f"{tag}n".encode(), b"x"]
            assert r.get(tag + "n") == b"5"
        pipe = r.pipeline()
        for tag in tags(node):
            script(keys=[tag + "n"], args=[1, "y"], client=pipe)
        if shards_of(node) == 1:  # redis-py wraps it in MULTI
            assert [reply[0] for reply in pipe.execute()] == [6]
        with r.lock(tags(node)[-1] + "lock", timeout=5):  # EVALSHA of its release
            assert r.exists(tags(node)[-1] + "lock")
        assert not r.exists(tags(node)[-1] + "lock")


def test_a_script_is_known_everywhere(node):
    text = "return redis.call('get', KEYS[1])"
    with node.client() as c:
        c.call("SCRIPT", "FLUSH")
        with pytest.raises(ReplyError, match="^NOSCRIPT No matching script. Please use EVAL."):
            c.call("EVALSHA", sha(text), 1, "k")
        assert c.call("SCRIPT", "LOAD", text) == sha(text).encode()
    for tag in tags(node):
        with node.client() as c:
            c.call("SET", tag, "here")
            assert c.call("EVALSHA", sha(text), 1, tag) == b"here"
            assert c.call("SCRIPT", "EXISTS", sha(text), sha("x")) == [1, 0]
    with node.client() as c:
        c.call("SCRIPT", "FLUSH", "ASYNC")
        for tag in tags(node):
            with pytest.raises(ReplyError, match="^NOSCRIPT"):
                c.call("EVALSHA", sha(text), 1, tag)


def test_flush_beside_scripts(node):
    """Every answer is a right one or NOSCRIPT, whatever is flushed meanwhile."""
    stop, failures = threading.Event(), []

    def run(n):
        try:
            with node.client() as c:
                while not stop.is_set():
                    tag = tags(node)[n % shards_of(node)]
                    assert c.call("EVAL", f"return {{KEYS[1], {n}}}", 1, tag) == [tag.encode(), n]
                    raw = c.call_raw("EVALSHA", sha(f"return {{KEYS[1], {n}}}"), 1, tag)
                    assert raw.startswith((b"*2\r\n", b"-NOSCRIPT ")), raw
        except Exception as error:  # of a thread: reported below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    with node.client() as c:
        for _ in range(100):
            c.call("SCRIPT", "FLUSH")
            time.sleep(0.005)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not failures


def test_in_a_transaction(node):
    add = "return redis.call('incr', KEYS[1])"
    with node.client() as c:
        for tag in tags(node):
            c.pipeline([("WATCH", tag + "n"), ("MULTI",), ("EVAL", add, 1, tag + "n"), ("SET", tag + "s", 1)])
            assert c.call("EVALSHA", sha(add), 1, tag + "n") == b"QUEUED"
            assert c.call("EXEC") == [1, b"OK", 2]
            c.pipeline([("WATCH", tag + "n"), ("EVAL", add, 1, tag + "n"), ("MULTI",), ("GET", tag + "n")])
            assert c.call("EXEC") is None


ADD = "local sum = 0 for _, k in ipairs(#KEYS > 0 and KEYS or ARGV) do sum = sum + redis.call('incr', k) end return sum"


def test_keys_of_several_shards(node):
    keys = [tag + "n" for tag in tags(node)] * 2
    with node.client() as c:
        assert c.call("EVAL", ADD, len(keys), *keys) == 3 * shards_of(node)
        assert c.call("MGET", *keys) == [b"2"] * len(keys)
        assert c.call("EVAL_RO", "return redis.call('mget', unpack(KEYS))", len(keys), *keys) == [b"2"] * len(keys)
        assert c.call("EVAL", "return redis.call('del', unpack(KEYS))", len(keys), *keys) == shards_of(node)
        c.call("MSET", *(word for key in keys for word in (key, "x")))
        with pytest.raises(ReplyError, match="not an integer"):
            c.call("EVAL", ADD, len(keys), *keys)
        assert c.pipeline([("MULTI",), ("EVAL", "return redis.call('mset', unpack(ARGV))", 0, *(w for key in keys for w in (key, "x"))), ("EXEC",)])[-1] == [b"OK"]
        assert c.pipeline([("MULTI",), ("EVAL", "return redis.call('exists', unpack(KEYS))", len(keys), *keys), ("EXEC",)])[-1] == [len(keys)]


def test_keys_that_are_not_declared(node):
    """Run again with all shards, as nothing was written yet."""
    keys = [tag + "n" for tag in tags(node)]
    with node.client() as c:
        for key in keys:  # whichever shard the connection lives on
            c.call("SET", key, "0")
            assert c.call("EVAL", "return redis.call('set', ARGV[1], 'here')", 0, key) == b"OK"
            assert c.call("EVAL", "return redis.call('get', ARGV[1])", 0, key) == b"here"
            c.call("SET", key, "0")
        assert c.call("EVAL", "local n = 0 for _, k in ipairs(ARGV) do n = n + redis.call('exists', k) end redis.call('dbsize') "
                      "for _, k in ipairs(ARGV) do redis.call('incr', k) end return n", 0, *keys) == len(keys)
        assert c.call("MGET", *keys) == [b"1"] * len(keys)
        assert c.call("EVAL", "return redis.call('dbsize')", 0) == len(keys)
        assert sorted(c.call("EVAL", "return redis.call('keys', '*')", 0)) == sorted(key.encode() for key in keys)
        assert c.call("EVAL", "return redis.pcall('randomkey')", 0) in [key.encode() for key in keys]
        found, cursor = set(), "0"
        while True:
            cursor, some = c.call("EVAL", "return redis.call('scan', ARGV[1])", 0, cursor)
            found |= set(some)
            if cursor == b"0":
                break
        assert found == {key.encode() for key in keys}
        assert c.call("EVAL", "redis.call('flushall') return redis.call('dbsize')", 0) == 0


@pytest.mark.parametrize("lending", ["yes", "no"])
@pytest.mark.parametrize("shards", [2, 4])
def test_keys_that_turn_up_after_a_write(shards, lending):
    """Whatever shard runs it, by whatever way it came there, nothing is left half done."""
    with start_moon(shards=shards, args=["--shard-lending", lending]) as node, node.client() as c, node.client() as other:
        a, b = tags(node)[:2]
        for client, (first, second) in itertools.product((c, other), ((a, b), (b, a))):
            assert client.call("EVAL", "redis.pcall('get', ARGV[1]) return redis.call('set', KEYS[1], ARGV[1])", 1, first, second) == b"OK"
            assert client.call("EVAL", "redis.call('set', KEYS[1], 'x') redis.call('set', ARGV[1], 'z') redis.call('append', KEYS[1], 'y') "
                               "return redis.call('dbsize')", 1, first, second) == 2
            assert client.call("MGET", first, second) == [b"xy", b"z"]
            with pytest.raises(ReplyError, match="WRONGTYPE"):
                client.call("EVAL", "redis.call('rpush', KEYS[1] .. 'l', 1) return redis.call('lpush', ARGV[1], 'z')", 1, first, second)
            assert client.call("LRANGE", first + "l", 0, -1) == [b"1"]
            assert client.call("EVAL_RO", "return redis.call('mget', KEYS[1], ARGV[1])", 1, first, second) == [b"xy", b"z"]
            assert client.call("EVAL", "#!lua flags=no-writes\nreturn redis.call('keys', '*')", 1, first) is not None
            for script in ("redis.call('set', KEYS[1], 1) return redis.call('rename', KEYS[1], ARGV[1])", "return redis.call('rename', ARGV[1], KEYS[1])"):
                replies = client.pipeline([("MULTI",), ("DEL", first + "l"), ("EVAL", script, 1, first, second), ("SET", first + "s", 1), ("EXEC",)])
                assert replies[-1] == [1 if "KEYS[1], 1" in script else 0, b"OK", b"OK"]
            assert client.call("FLUSHALL") == b"OK"


def test_scripts_that_cross(node):
    """Each writes where it said, and then where another one has written: sums are kept, nobody waits for ever. (With more shards
    than CPUs, and other work on these, one takes a tenth of a second.)"""
    keys = [tag + str(i) for tag in tags(node) for i in range(2)]
    script = "redis.call('decrby', KEYS[1], ARGV[2]) redis.call('incrby', ARGV[1], ARGV[2]) return redis.call('get', KEYS[1])"
    total = "local sum = redis.call('get', KEYS[1]) for _, k in ipairs(ARGV) do sum = sum + redis.call('get', k) end return sum"
    failures, done, stop = [], [0] * 4, time.monotonic() + 2.5
    with node.client() as c:
        c.call("MSET", *(word for key in keys for word in (key, 100)))

    def storm(seed):
        rng = random.Random(seed)
        try:
            with node.client() as client:
                while (now := time.monotonic()) < stop or done[seed] <= 20 and now < stop + 40:
                    a, b = rng.sample(keys, 2)
                    draw = rng.random()
                    if draw < 0.6:
                        client.call("EVAL", script, 1, a, b, rng.randrange(9))
                    elif draw < 0.7:
                        client.pipeline([("MULTI",), ("EVAL", script, 1, a, b, 3), ("INCR", a), ("DECR", a), ("EXEC",)])
                    elif draw < 0.8:
                        client.call("RENAME", "{nobody}a", "{else}b") if client.call("EXISTS", "{nobody}a") else client.call("MSET", a + "x", 1, b + "y", 2)
                    elif draw < 0.9:
                        assert sum(map(int, client.call("MGET", *keys))) == 100 * len(keys)
                    else:
                        assert client.call("EVAL", total, 1, a, *(k for k in keys if k != a)) == 100 * len(keys)
                    done[seed] += 1
        except Exception as error:  # noqa: BLE001: told by the test
            failures.append(repr(error))

    threads = [threading.Thread(target=storm, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "somebody waits for ever"
    assert not failures, failures
    assert min(done) > 20
    with node.client() as c:
        assert sum(map(int, c.call("MGET", *keys))) == 100 * len(keys)
        c.call("FLUSHALL")


def test_sums_are_kept(node):
    """Transfers between keys of all shards by scripts, declared or not, while others read all of them at once."""
    keys = [tag + str(i) for tag in tags(node) for i in range(3)]
    transfer = ("local from, to, n = KEYS[1] or ARGV[2], KEYS[2] or ARGV[3], tonumber(ARGV[1]) "
                "if tonumber(redis.call('get', from)) < n then return 0 end redis.call('decrby', from, n) redis.call('incrby', to, n) return 1")
    total = "local sum = 0 for _, v in ipairs(redis.call('mget', unpack(KEYS))) do sum = sum + v end return sum"
    stop, failures, done = threading.Event(), [], []

    def run(n):
        try:
            rng = random.Random(n)
            with node.client() as c:
                while not stop.is_set():
                    pair = rng.sample(keys, 2)
                    words = [2, *pair, rng.randrange(10)] if rng.random() < 0.6 else [0, rng.randrange(10), *pair]
                    if n % 2 == 0:
                        raw = c.call_raw("EVAL", transfer, *words)
                        assert raw in (b":0\r\n", b":1\r\n"), raw
                    else:
                        assert c.call("EVAL_RO", total, len(keys), *keys) == 100 * len(keys)
                    done.append(n)
        except Exception as error:  # of a thread: reported below
            failures.append(error)

    with node.client() as c:
        c.call("MSET", *(word for key in keys for word in (key, 100)))
        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not failures and len(done) > 100
        assert c.call("EVAL", total, len(keys), *keys) == 100 * len(keys)


def test_time_stands_still(node):
    text = ("local a = redis.call('time') redis.call('set', KEYS[1], 'x', 'px', 1) for i = 1, 3000000 do end local b = redis.call('time') "
            "return {a[1] == b[1] and a[2] == b[2], redis.call('get', KEYS[1])}")
    with node.client() as c:
        assert c.call("EVAL", text, 1, "k") == [1, b"x"]


def test_time_stands_still_when_other_shards_are_made_to_stand(node):
    """They have gone on since the script began, and there its keys have that time."""
    text = ("local a = redis.call('time') redis.call('set', KEYS[1], 'x', 'px', 1) for i = 1, 3000000 do end local seen = {} "
            "for _, k in ipairs(ARGV) do redis.call('set', k, 'x', 'px', 1) end for i = 1, 3000000 do end "
            "for i, k in ipairs({KEYS[1], unpack(ARGV)}) do seen[i] = redis.call('get', k) end "
            "local b = redis.call('time') return {a[1] == b[1] and a[2] == b[2], seen}")
    keys, stop = [tag + "k" for tag in tags(node)], threading.Event()

    def ping(c):
        while not stop.is_set():
            c.call("PING")

    def run(c):
        try:
            for home in keys * 3:
                others = [key for key in keys if key != home]
                assert c.call("EVAL", text, 1, home, *others) == [1, [b"x"] * len(keys)]
        finally:
            stop.set()

    together(client_of(node, run), *[client_of(node, ping)] * shards_of(node))


def test_endless_scripts_end():
    with start_moon(args=["--busy-reply-threshold", "100"]) as node, node.client() as c:
        for text in ("while true do end", "while true do pcall(function() while true do end end) end", "while true do pcall(redis.call, 'ping') end"):
            with pytest.raises(ReplyError, match="ran longer than busy-reply-threshold without writing"):
                c.call("EVAL", text, 0)
        c.call("CONFIG", "SET", "lua-time-limit", "0")
        assert c.call("EVAL", "for i = 1, 30000000 do end return 5", 0) == 5
        c.call("CONFIG", "SET", "busy-reply-threshold", "50")
        text = "redis.call('set','a',1) for i = 1, 30000000 do end redis.call('set','b',1) return 6"  # has written: goes on
        assert c.call("EVAL", text, 0) == 6
        assert c.call("EXISTS", "a", "b") == 2


@pytest.mark.parametrize("shards, io", [(1, "epoll"), (2, "uring")])
def test_memory_ends_the_script_only(nodes, shards, io):
    node = nodes.get(shards, io)
    with node.client() as c:
        for text in ("local s = 'x' while true do s = s .. s end", "local t = {} while true do t[#t+1] = {} end", "return string.rep('x', 2^31)",
                     "local function f() return f() + 1 end return f()", "local t = {} for i = 1, 40 do t = {t, t} end return t",
                     "return {string.rep('x', 2^20), string.rep('x', 2^33)}", "return loadstring('return ' .. string.rep('(', 100000))()",
                     "return ('x'):rep(10, ('y'):rep(2^28))", "return redis.call('echo', unpack({}, 1, 10^8))", "return string.rep(string.rep('a', 1000), 10^6)"):
            raw = c.call_raw("EVAL", text, 0)
            assert raw.startswith(b"-"), (text, raw[:100])
            assert c.call("EVAL", "return 1", 0) == 1


def test_out_of_memory_is_refused_before_the_first_write():
    with start_moon() as node, node.client() as c:
        c.call("SET", "n", 1)
        c.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(ReplyError, match="^OOM command not allowed when used memory > 'maxmemory'. script: [0-9a-f]{40}, on @user_script:1.$"):
            c.call("EVAL", "return redis.call('set','a','b')", 0)
        assert c.call("EVAL", "return redis.call('get','n')", 0) == b"1"
        assert c.call("EVAL", "redis.call('del','n') return redis.call('set','a','b')", 0) == b"OK"  # not half of it
        assert c.call("EVAL", "#!lua flags=allow-oom\nreturn redis.call('set','a','c')", 0) == b"OK"
        assert c.call("EVAL", "#!lua flags=no-writes\nreturn redis.call('get','a')", 0) == b"c"
        with pytest.raises(ReplyError, match="^OOM allow-oom flag is not set on the script"):
            c.call("EVAL", "#!lua\nreturn 1", 0)


def test_inner_commands_are_counted(node):
    with node.client() as c:
        c.call("CONFIG", "RESETSTAT")
        c.call("EVAL", "redis.call('set', KEYS[1], 1) redis.call('set', KEYS[1], 2) redis.pcall('incr')", 1, "a")
        stats = c.call("INFO", "commandstats").decode()
        assert "cmdstat_set:calls=2," in stats and "cmdstat_eval:calls=1," in stats


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_a_script_is_whole_after_kill(tmp_path, shards, fsync):
    """Each run writes three keys, and sizes that let its effects lie on both sides of a frame's end. After kill -9 all three are of one
    run; with `always` of the last one that was answered, or of one after it."""
    text = "for i = 1, 3 do redis.call('set', KEYS[1] .. i, ARGV[1] .. ':' .. string.rep('x', ARGV[2])) end return ARGV[1]"
    answered = [0] * shards
    server = start_moon(shards=shards, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", fsync])
    bases = ["{%s}" % key_on(s, shards) for s in range(shards)]

    def write(s):
        try:
            with server.client() as c:
                for n in range(1, 1_000_000):
                    assert c.call("EVAL", text, 1, bases[s], n, (n * 7919) % 300_000) == b"%d" % n
                    answered[s] = n
        except (OSError, Exception):  # the kill
            pass

    threads = [threading.Thread(target=write, args=(s,)) for s in range(shards)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    until = time.monotonic() + 30
    while min(answered) <= 20 and time.monotonic() < until:
        time.sleep(0.1)
    server.kill()
    for thread in threads:
        thread.join(10)
    with start_moon(shards=shards, appendonly="yes", folder=str(tmp_path)) as again, again.client() as c:
        for s, base in enumerate(bases):
            runs = {value.split(b":")[0] for value in c.call("MGET", *(base + str(i) for i in (1, 2, 3)))}
            assert len(runs) == 1 and answered[s] > 20, (runs, answered)
            if fsync == "always":
                assert int(runs.pop()) >= answered[s]


@pytest.mark.parametrize("shards", [1, 2])
def test_effects_are_what_is_logged(tmp_path, shards):
    """Random members, times to live, numbers: a restart finds what the script did, not what it would do now."""
    text = ("for i = 1, 200 do redis.call('sadd', KEYS[1], i) end redis.call('spop', KEYS[1], 50) redis.call('spop', KEYS[1]) "
            "redis.call('set', KEYS[1] .. 't', tostring(math.random()), 'px', 100000) redis.call('hset', KEYS[1] .. 'h', 'f', math.random(1000000))"
            "redis.call('hincrbyfloat', KEYS[1] .. 'h', 'f', '0.1')")
    server = start_moon(shards=shards, appendonly="yes", folder=str(tmp_path))
    bases = ["{%s}" % key_on(s, shards) for s in range(shards)]
    with server.client() as c:
        for base in bases:
            assert c.call("EVAL", text, 1, base) is None
        kept = [[sorted(c.call("SMEMBERS", b)), c.call("GET", b + "t"), c.call("PEXPIRETIME", b + "t"), c.call("HGETALL", b + "h")] for b in bases]
        assert len(kept[0][0]) == 149
    server.stop()
    with start_moon(shards=shards, appendonly="yes", folder=str(tmp_path)) as again, again.client() as c:
        assert kept == [[sorted(c.call("SMEMBERS", b)), c.call("GET", b + "t"), c.call("PEXPIRETIME", b + "t"), c.call("HGETALL", b + "h")] for b in bases]
