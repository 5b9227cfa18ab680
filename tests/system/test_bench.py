"""The measuring tools themselves: arithmetic of tests/bench, and moonctl bench against the reference."""
import json
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
from growth import measure  # noqa: E402
from servers import Server, find_reference  # noqa: E402
from stats import geometric_mean, median, median_interval, verdict  # noqa: E402

MOONCTL = os.environ.get("MOONCTL_BIN", os.path.join(ROOT, "build", "release", "moonctl"))


def moonctl(*words, **env):
    return subprocess.run([MOONCTL, *words], capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **env})


@pytest.fixture(scope="module", name="server")
def fixture_server(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("bench") / "reference")
    server = Server("reference", find_reference(ROOT), folder, os.sched_getaffinity(0), ["--save", "", "--appendonly", "no"])
    server.start()
    yield server
    server.stop()


def bench(server, *words, **env):
    done = moonctl("bench", "-p", str(server.port), "-o", "json", *words, **env)
    return done, json.loads(done.stdout)["tests"] if done.stdout else []


def test_median_and_its_interval():
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5
    assert median_interval(range(1, 10)) == (2, 8, 1 - 20 / 512)
    assert median_interval([5, 1, 3]) == (1, 5, 0.75)  # too few for 95 %: the extremes, and what they cover
    assert median_interval([7.0]) == (7.0, 7.0, 0.0)
    assert abs(geometric_mean([1, 4, 2]) - 2) < 1e-12


def test_verdict_needs_the_whole_interval():
    nine = [0.30, 0.31, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37, 0.38]
    assert verdict(nine, 0.37) == "met"
    assert verdict(nine, 0.36) == "open"
    assert verdict(nine, 0.30) == "missed"
    assert verdict(nine, 0.31, at_least=True) == "met"
    assert verdict(nine, 0.38, at_least=True) == "missed"
    assert verdict(nine, None) == "–"


def test_load_writes_every_key_once(server):
    server.empty()
    done, tests = bench(server, "-t", "load", "-r", "5000", "-P", "7", "-z", "10")
    assert done.returncode == 0
    assert tests[0]["requests"] == 5000
    assert server.command("DBSIZE") == b":5000\r\n"
    assert server.command("STRLEN", "key:000000004999") == b":10\r\n"
    assert server.command("EXISTS", "key:000000005000") == b":0\r\n"


@pytest.mark.parametrize("io", ["uring", "epoll"])
def test_every_test_runs_without_an_error(server, io):
    server.empty()
    names = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,spop,hset,hget,zadd,zscore,zrange,mset"
    done, tests = bench(server, "-t", names, "-n", "2000", "-r", "2000", "-P", "16", "--fill", "--io", io, "--server-pid", str(server.process.pid))
    if io == "uring" and "cannot set up" in done.stderr:
        pytest.skip("this kernel refuses io_uring: " + done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert [t["name"] for t in tests] == names.split(",")
    for t in tests:
        assert (t["requests"], t["errors"], t["nulls"]) == (2000, 0, 0), t
        assert t["io"] == io
        assert t["latency_us"]["p50"] <= t["latency_us"]["p99"] <= t["latency_us"]["max"]
        assert t["server"]["rss_bytes_after"] > 1 << 20


def test_own_command_over_two_threads(server):
    server.empty()
    done, tests = bench(server, "--threads", "2", "--sequential", "-n", "1000", "-r", "1000", "HSET", "h:__rand__", "f", "__data__")
    assert done.returncode == 0
    assert tests[0]["name"] == "HSET h:__rand__ f __data__"
    assert server.command("DBSIZE") == b":1000\r\n"


def test_errors_decide_the_exit_code(server):
    done, tests = bench(server, "-n", "100", "NOSUCHCOMMAND")
    assert done.returncode == 1
    assert tests[0]["errors"] == 100
    assert "unknown command" in done.stderr
    done, _ = bench(server, "-n", "100", "--allow-errors", "NOSUCHCOMMAND")
    assert done.returncode == 0


def test_password(server):
    server.must("CONFIG", "SET", "requirepass", "sesame")
    try:
        assert bench(server, "-t", "ping", "-n", "10")[0].returncode == 4
        assert bench(server, "-t", "ping", "-n", "10", MOONCTL_AUTH="wrong")[0].returncode == 4
        assert bench(server, "-t", "ping", "-n", "10", MOONCTL_AUTH="sesame")[0].returncode == 0
        assert bench(server, "-t", "ping", "-n", "10", MOONCTL_AUTH="default:sesame")[0].returncode == 0
    finally:
        assert moonctl("bench", "-p", str(server.port), "-n", "1", "-c", "1", "CONFIG", "SET", "requirepass", "",
                       MOONCTL_AUTH="sesame").returncode == 0


def test_nobody_listens():
    done = moonctl("bench", "-p", "1", "-t", "ping")
    assert done.returncode == 1
    assert "cannot connect to 127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("words, said", [
    (["bnech"], "Did you mean `moonctl bench`?"),
    (["bench", "--piepline", "3"], "Did you mean --pipeline?"),
    (["bench", "-t", "gets"], "Did you mean get?"),
    (["bench", "-n", "5", "-d", "5"], "-n and -d"),
    (["bench", "--threads", "3", "-c", "2"], "3 threads"),
    (["bench", "-r", "1000", "--key-bytes", "2", "-t", "get"], "keys that short"),
    ([], "usage: moonctl"),
])
def test_wrong_use_says_what_was_meant(words, said):
    done = moonctl(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_help_and_version():
    assert "bench" in moonctl("--help").stdout
    assert "--server-pid" in moonctl("help", "bench").stdout
    assert moonctl("bench", "--help").returncode == 0
    version = json.loads(moonctl("version", "-o", "json").stdout)
    assert version["schema"] == "moonctl.version/1"
    assert moonctl("version").stdout.startswith("moonctl " + version["version"])


def test_bench_of_the_reference_beside_itself(tmp_path):
    out = tmp_path / "bench.md"
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "bench", "bench.py"), "--self-check", "--pairs", "2", "--seconds", "0.1",
                           "--warmup", "0", "--keys", "10000", "--rows", "ZSCORE,EVAL", "--markdown", str(out)],
                          capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in out.read_text().split("\n") if line.startswith(("| ZSCORE p16", "| EVAL"))]
    assert len(rows) == 2
    assert all(float(row.split("|")[4]) > 0 for row in rows)


def test_growth_adds_little_to_a_pass():
    """300,000 keys of tests/bench/growth.py in three steps. What a pass does for growth is bounded whatever the machine:
    a table copied at once would add 10 ms and more here in two of them (at 131,072 and 262,144 keys). One pass of one
    step may be the machine's: a first touch of memory took 8 ms on a shared one."""
    moon = os.environ.get("MOON_BIN") or os.path.join(ROOT, "build", "release", "moon")
    out = measure(moon, MOONCTL, 300_000, 300_000, 100_000, 4)
    assert set(out) == {"spread", "one_slot"}
    for title, rows in out.items():
        assert rows["passes"] > 1000, (title, rows)  # each one was measured
        assert 0 < rows["pass_p99_usec"]["insert"]["median"] <= rows["pass_max_usec"]["insert"]["max"], (title, rows)
        assert rows["added_p999_usec"] < 1000, (title, rows)
        longest = rows["pass_max_usec"]
        assert longest["insert"]["median"] - longest["again"]["median"] < 5000, (title, rows)
