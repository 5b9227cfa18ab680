"""enable-debug-command: who may run DEBUG, in Redis's words and in Redis's order of checks."""
import subprocess

import pytest

from moonlib.resp import Client
from moonlib.server import start_moon, start_oracle

ATTEMPTS = [("DEBUG",), ("DEBUG", "HELP"), ("DEBUG", "SLEEP"), ("DEBUG", "SLEEP", "0"), ("DEBUG", "NOSUCH"),
            ("debug", "object", "k"), ("DEBUG", "SET-ACTIVE-EXPIRE", "1")]


def other_address():
    """An address of this machine that is not loopback, or None."""
    out = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    return next((a for a in out if ":" not in a), None)


@pytest.mark.parametrize("args", [[], ["--requirepass", "secret"]], ids=["open", "password"])
def test_no_is_answered_as_redis_answers(args):
    with start_oracle(args=["--enable-debug-command", "no", *args]) as oracle, start_moon(shards=2, args=args) as moon:
        assert moon.client().pipeline_raw(ATTEMPTS) == oracle.client().pipeline_raw(ATTEMPTS)
        answer = moon.client().call_raw("DEBUG", "SLEEP", "0")
        assert answer.startswith(b"-ERR DEBUG command not allowed."), answer


def test_yes_allows():
    with start_moon(shards=2, args=["--enable-debug-command", "yes"]) as moon, moon.client() as c:
        assert c.call("DEBUG", "SLEEP", "0") == b"OK"
        assert c.call("DEBUG", "SET-ACTIVE-EXPIRE", "1") == b"OK"
        c.call("SET", "k", "v")
        assert b"encoding:embstr" in c.call("DEBUG", "OBJECT", "k")


def test_local_allows_loopback_and_the_unix_socket(tmp_path):
    path = tmp_path / "socket"
    with start_moon(args=["--enable-debug-command", "local", "--unixsocket", str(path)]) as moon:
        assert moon.client().call("DEBUG", "SLEEP", "0") == b"OK"
        done = subprocess.run(["redis-cli", "-s", str(path), "DEBUG", "SLEEP", "0"], capture_output=True, check=True)
        assert done.stdout == b"OK\n"


def test_local_refuses_others():
    address = other_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    args = ["--enable-debug-command", "local", "--bind", "127.0.0.1", address, "--protected-mode", "no"]
    with start_moon(args=args) as moon, Client(moon.port, host=address) as c:
        assert c.call_raw("DEBUG", "SLEEP", "0").startswith(b"-ERR DEBUG command not allowed.")
        assert c.call("PING") == b"PONG"


def test_it_cannot_be_switched_on_at_run_time():
    with start_moon() as moon, moon.client() as c:
        answer = c.call_raw("CONFIG", "SET", "enable-debug-command", "yes")
        assert b"can't set immutable config" in answer
        assert c.call_raw("DEBUG", "SLEEP", "0").startswith(b"-ERR DEBUG command not allowed.")
