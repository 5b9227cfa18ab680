"""Real clients against real nodes: redis-cli, redis-py and redis-benchmark, on several shards and both
ways of input and output."""
import re
import subprocess

import pytest
import redis

SETUPS = [(shards, io) for shards in (1, 2, 4) for io in ("epoll", "uring")]
FEW_SETUPS = [(1, "uring"), (2, "epoll"), (4, "uring")]


def name_of(setup):
    return f"{setup[0]}-{setup[1]}"


@pytest.fixture(name="node", params=SETUPS, ids=name_of)
def fixture_node(request, nodes):
    return nodes.get(*request.param)


@pytest.fixture(name="some_node", params=FEW_SETUPS, ids=name_of)
def fixture_some_node(request, nodes):
    return nodes.get(*request.param)


# ---- redis-cli

class Cli:
    def __init__(self, port, resp):
        self.argv = ["redis-cli", "-p", str(port), f"-{resp}"]

    def run(self, *words, stdin=None):
        done = subprocess.run([*self.argv, *words], input=stdin, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __call__(self, *words):
        return self.run(*words).rstrip("\n")


@pytest.fixture(name="cli", params=[2, 3], ids=["resp2", "resp3"])
def fixture_cli(request, some_node):
    return Cli(some_node.port, request.param)


def test_cli_speaks(cli):
    assert cli("PING") == "PONG"
    assert cli("SET", "k", "v") == "OK"
    assert cli("GET", "k") == "v"
    assert cli("GET", "absent") == ""
    assert cli("--no-raw", "GET", "absent") == "(nil)"
    assert cli("--no-raw", "INCR", "n") == "(integer) 1"
    assert cli("MSET", "a", "1", "b", "2", "c", "3") == "OK"
    assert cli("MGET", "a", "b", "c").split() == ["1", "2", "3"]
    assert cli("LPUSH", "k", "x").startswith("WRONGTYPE")
    assert cli("NOSUCH", "word").startswith("ERR unknown command 'NOSUCH', with args beginning with: 'word'")


def test_cli_reads_commands_from_stdin(cli):
    lines = "".join(f"SET key:{i} {i}\n" for i in range(200)) + "DBSIZE\n"
    assert cli.run(stdin=lines).split()[-1] == "200"


def test_cli_pipe_mode_counts_every_reply(cli):
    count = 20000
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n" % (len(k), k)
                        for k in (b"pipe:%d" % i for i in range(count)))
    done = subprocess.run([*cli.argv, "--pipe"], input=commands, capture_output=True, timeout=60, check=True)
    assert b"errors: 0, replies: %d" % count in done.stdout, done.stdout
    assert cli("DBSIZE") == str(count)


def test_cli_scans(cli):
    cli("MSET", *[word for i in range(300) for word in (f"scan:{i}", "v")])
    assert set(cli("--scan", "--pattern", "scan:*").split()) == {f"scan:{i}" for i in range(300)}


def test_cli_takes_its_look_around(cli):
    """What redis-cli asks by itself: big keys, memory, one reading of the statistics."""
    cli("SET", "big", "x" * 1000)
    cli("RPUSH", "list", *"abcdef")
    assert "1000 bytes" in cli("--bigkeys")
    assert "redis_version:" in cli("INFO")


# ---- redis-py

@pytest.fixture(name="py", params=[2, 3], ids=["resp2", "resp3"])
def fixture_py(request, some_node):
    with redis.Redis(port=some_node.port, protocol=request.param, decode_responses=True) as client:
        yield client


def test_py_types(py):
    assert py.ping() is True
    assert py.set("s", "value", ex=100) and py.get("s") == "value"
    assert 0 < py.ttl("s") <= 100
    assert py.incrby("n", 5) == 5 and py.incrbyfloat("f", 1.5) == 1.5
    assert py.hset("h", mapping={"a": "1", "b": "2"}) == 2 and py.hgetall("h") == {"a": "1", "b": "2"}
    assert py.rpush("l", "a", "b", "c") == 3 and py.lrange("l", 0, -1) == ["a", "b", "c"]
    assert py.lpop("l") == "a" and py.rpop("l") == "c"
    assert py.sadd("set", "x", "y") == 2 and py.smembers("set") == {"x", "y"}
    assert py.exists("s", "n", "absent") == 2
    assert py.mset({"m1": "1", "m2": "2"}) and py.mget("m1", "absent", "m2") == ["1", None, "2"]
    assert py.delete("s", "n", "absent") == 2
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        py.incr("h")


def test_py_pipelines(py):
    with py.pipeline(transaction=False) as pipe:
        for i in range(2000):
            pipe.set(f"p:{i}", i)
            pipe.get(f"p:{i}")
            pipe.incr(f"c:{i % 7}")
        replies = pipe.execute()
    assert replies[0::3] == [True] * 2000
    assert replies[1::3] == [str(i) for i in range(2000)]
    assert replies[2::3] == [i // 7 + 1 for i in range(2000)]


def test_py_pipelines_give_errors_their_place(py):
    with py.pipeline(transaction=False) as pipe:
        pipe.set("s", "x").lpush("s", "y").get("s")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and replies[2] == "x"
    assert isinstance(replies[1], redis.exceptions.ResponseError)


def test_py_scan_iterators(py):
    py.mset({f"it:{i}": i for i in range(1000)})
    assert set(py.scan_iter("it:*", count=50)) == {f"it:{i}" for i in range(1000)}
    py.sadd("members", *range(1000))
    assert set(py.sscan_iter("members")) == {str(i) for i in range(1000)}
    py.hset("fields", mapping={f"f{i}": i for i in range(1000)})
    assert dict(py.hscan_iter("fields")) == {f"f{i}": str(i) for i in range(1000)}


def test_py_knows_itself_in_client_list(py):
    py.client_setname("me")
    mine = [line for line in py.client_list() if line["name"] == "me"]
    assert len(mine) == 1
    assert mine[0]["lib-name"] == "redis-py" and mine[0]["id"] == str(py.client_id())
    assert py.info("server")["redis_mode"] == "standalone"
    assert py.config_get("maxclients") == {"maxclients": "10000"}


def test_py_databases_are_apart(some_node):
    with redis.Redis(port=some_node.port, db=0) as zero, redis.Redis(port=some_node.port, db=9) as nine:
        zero.set("k", "0")
        assert nine.get("k") is None
        nine.set("k", "9")
        assert (zero.get("k"), nine.get("k")) == (b"0", b"9")
        nine.flushdb()
        assert (zero.get("k"), nine.get("k")) == (b"0", None)


# ---- redis-benchmark

BENCHMARK_TESTS = "set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,mset"
RESULT_LINES = 12


def test_benchmark_runs_without_an_error(node):
    argv = ["redis-benchmark", "-p", str(node.port), "-t", BENCHMARK_TESTS, "-P", "16", "-n", "20000", "-r", "1000", "-q"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"error|WARNING", done.stdout + done.stderr, re.IGNORECASE), done.stdout + done.stderr
    results = re.findall(r"^([A-Z]+.*): ([0-9.]+) requests per second", done.stdout.replace("\r", "\n"), re.MULTILINE)
    assert len(results) == RESULT_LINES, done.stdout
