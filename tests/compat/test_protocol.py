"""Raw bytes, right and wrong, on redis-server and on Moon: the same replies, the same protocol errors, and
the connection closed in the same cases. Commands in the streams are unknown ones: the error that answers
them quotes the arguments, so that every reading of the bytes shows."""
import random
import socket

import pytest

from moonlib.resp import Client, encode
from moonlib.server import start_moon, start_oracle

REPLY_SECONDS_MAX = 5.0
STREAMS = 400

PIECES = [
    b"*1\r\n", b"*2\r\n", b"*3\r\n", b"*0\r\n", b"*-1\r\n", b"*\r\n", b"*01\r\n", b"*a\r\n", b"*2147483648\r\n",
    b"$1\r\n", b"$3\r\n", b"$0\r\n", b"$-1\r\n", b"$03\r\n", b"$\r\n", b"*1\r\n$536870913\r\n", b"x\r\n", b"zz1\r\n",
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x0b", b"\x0c", b'"', b"'", b"\\", b"\\x41", b"\\x4", b"\\n", b'\\"', b"\\'",
    b"zz", b"yy", b"q", b"\x00", b"\xff", b"*", b"$", b"12", b"*2\r\n$2\r\nzz\r\n$1\r\nx\r\n", b"*1\r\n$2\r\nzz\r\n",
    b'"a b" ', b"'c d'", b'zz "x\\x20y"\r\n', b"X" * 300,
]
LONG = [
    b"x" * 70000, b"*" + b"1" * 70000, b"*1\r\n$" + b"1" * 70000, b"*1\r\nx" + b"1" * 70000,
    b"\x00" + b"payload" * 10000, b"*\x00" + b"payload" * 10000, b"$\x00" + b"payload" * 10000,
]
# Before AUTH: 10 arguments of 16384 bytes.
STRANGERS = [
    b"*11\r\n$1\r\na\r\n", b"*10\r\n", b"*1\r\n$16385\r\n", b"*1\r\n$536870913\r\n", b"*2147483648\r\n",
    b"*2\r\n$4\r\nECHO\r\n$1\r\na\r\n", b"GET a\r\n", b"*1\r\n$16384\r\n" + b"x" * 16384 + b"\r\n",
]


def answer(port, data, half_close=True):
    """All that the server says to `data` until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=REPLY_SECONDS_MAX) as s:
        said = b""
        try:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while part := s.recv(1 << 16):
                said += part
        except ConnectionError:  # closed while we were still sending: what it said may be lost
            pass
        return said


def check(oracle, moon, data, **more):
    expected, said = answer(oracle.port, data, **more), answer(moon.port, data, **more)
    assert said == expected, f"to {data[:300]!r}"


@pytest.fixture(scope="module")
def locked():
    """Both with a password."""
    with start_oracle(args=["--requirepass", "secret"]) as oracle, start_moon(args=["--requirepass", "secret"]) as moon:
        yield oracle, moon


@pytest.mark.parametrize("shards", [1, 2])
def test_random_streams(oracle, moons, full, shards):
    draw = random.Random(f"streams {shards}")
    for _ in range(STREAMS * (20 if full else 1)):
        check(oracle, moons.get(shards), b"".join(draw.choice(PIECES) for _ in range(draw.randint(1, 14))))


@pytest.mark.parametrize("data", LONG, ids=lambda d: repr(d[:8]))
def test_lines_without_end_are_refused_and_closed(oracle, moons, data):
    """Written in parts, so that neither side closes with input unread and loses its last words."""
    def slowly(port):
        with Client(port, timeout=REPLY_SECONDS_MAX) as c:
            for at in range(0, len(data), 16000):
                c.send(data[at:at + 16000])
                if at + 16000 >= 65536:
                    break
            return c.read_all()
    expected, said = slowly(oracle.port), slowly(moons.get(1).port)
    assert b"too big" in expected
    assert said == expected


@pytest.mark.parametrize("data", STRANGERS, ids=lambda d: repr(d[:16]))
def test_strangers(locked, data):
    check(*locked, data)


def test_error_closes_without_being_asked(oracle, moons):
    for data in (b"*a\r\n", b"*1\r\nfoo\r\n", b'"abc\r\n', b"*1\r\n$-1\r\n"):
        check(oracle, moons.get(1), data, half_close=False)


def test_a_request_in_single_bytes(moons):
    with moons.get(1).client() as c:
        for byte in encode(["ECHO", "x" * 50]):
            c.send(bytes([byte]))
        assert c.read_raw() == b"$50\r\n" + b"x" * 50 + b"\r\n"


@pytest.mark.parametrize("shards", [1, 2])
def test_a_half_closed_pipeline_is_answered_whole(oracle, moons, shards):
    """printf '…' | nc: the end of the input is no reason to forget what came before it."""
    data = b"".join(b"GET key%d\r\n" % i for i in range(1000))
    for _ in range(20):
        check(oracle, moons.get(shards), data)
