"""The differential harness itself: two equal servers never differ, a fault in between is found and the
commands that show it are boiled down to a few."""
import select
import socket
import threading

import pytest

import compare
import generators
from moonlib.resp import Client, Disconnected, encode, parse_at, reply_end
from moonlib.server import start_oracle
from pair import Pair
from shrink import attempt, find_failures, quote, shrink


@pytest.fixture(scope="module")
def second():
    with start_oracle() as server:
        yield server


class Proxy:
    """Stands before a server as one that is at fault: `corrupt(words, reply)` returns the reply to give,
    and `swallow(words)` true means that the server never hears of the command (+OK or `:1` is faked)."""

    def __init__(self, server, corrupt=lambda words, reply: reply, swallow=lambda words: None):
        self.server, self.corrupt, self.swallow = server, corrupt, swallow
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = True
        threading.Thread(target=self.accept, daemon=True).start()

    # what Pair needs of a server
    def client(self, **more):
        return Client(self.port, **more)

    def is_alive(self):
        return self.server.is_alive()

    def log_tail(self):
        return self.server.log_tail()

    def stop(self):
        self.close()
        return self.server.stop()

    def close(self):
        self.open = False
        self.listener.close()

    def accept(self):
        while self.open:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        upstream = self.server.client()
        buffer = bytearray()
        with client:
            while data := client.recv(1 << 16):
                buffer += data
                at, replies = 0, []
                while at < len(buffer) and (end := reply_end(buffer, at)) > 0:
                    request, _ = parse_at(buffer, at)
                    words = [node.held for node in request.held]
                    try:
                        replies.append(self.answer(upstream, words))
                    except Disconnected:
                        return
                    at = end
                del buffer[:at]
                client.sendall(b"".join(replies))

    def answer(self, upstream, words):
        name = words[0].upper()
        faked = self.swallow([name, *words[1:]])
        if faked is not None:
            return faked
        upstream.send(encode(words))
        return self.corrupt([name, *words[1:]], upstream.read_raw())


def draw(seed, length=2500):
    return generators.draw_sequence(seed, length)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("family", ["all", *generators.FAMILIES])
def test_equal_servers_agree(oracle, second, resp, family):
    before = [difference.hits for difference in compare.KNOWN_DIFFERENCES]
    names = None if family == "all" else generators.FAMILIES[family]
    pair = Pair(oracle, second, resp)
    assert find_failures(pair, generators.draw_sequence(f"self {family}", 1200, names)) == []
    assert [difference.hits for difference in compare.KNOWN_DIFFERENCES] == before
    pair.close()


def no_errors(client, commands):
    """The share of them that was not refused."""
    return sum(raw[:1] != b"-" for raw in client.pipeline_raw(commands)) / len(commands)


def test_generators_reach_more_than_errors(second):
    emptying = {"FLUSHALL", "FLUSHDB", "SWAPDB", "DEL", "UNLINK"}
    with second.client() as c:
        c.call("FLUSHALL")
        assert no_errors(c, draw(5, 3000)) > 0.6
        for name in sorted(generators.GENERATORS, key=lambda name: name in emptying):
            assert any(reaches(c, name, fill) for fill in (None, 6, 7, 8)), f"{name}: all that is drawn is refused"


def reaches(client, name, fill):
    """Chance may have put wrong types into all keys of a kind: then other data are another try."""
    if fill is not None:
        client.call("FLUSHALL")
        client.pipeline_raw(draw(fill, 500))
    commands = generators.draw_sequence(f"only {name}", 8 if generators.is_blocking(name) else 40, [name])
    return no_errors(client, commands) > 0


def plus_one(words, reply):
    """LLEN of longer lists is one too many."""
    if words[0] == b"LLEN" and reply[:1] == b":" and int(reply[1:]) > 3:
        return b":%d\r\n" % (int(reply[1:]) + 1)
    return reply


def other_null(words, reply):
    return b"*-1\r\n" if words[0] == b"GET" and reply == b"$-1\r\n" else reply


def other_error(words, reply):
    return reply.replace(b"no such key", b"no such name") if words[0] == b"RENAME" else reply


def raw_elements(reply):
    """The elements of an array reply, as they stand."""
    at, found = reply.index(b"\r\n") + 2, []
    while at < len(reply):
        end = reply_end(reply, at)
        found.append(reply[at:end])
        at = end
    return found


def one_member_less(words, reply):
    if words[0] == b"SMEMBERS" and reply[:1] == b"*" and len(raw_elements(reply)) > 1:
        kept = raw_elements(reply)[1:]
        return b"*%d\r\n" % len(kept) + b"".join(kept)
    return reply


def other_order(words, reply):
    if words[0] == b"LRANGE" and reply[:1] == b"*":
        found = raw_elements(reply)
        return b"*%d\r\n" % len(found) + b"".join(reversed(found))
    return reply


def stranger_drawn(words, reply):
    return b"$8\r\nstranger\r\n" if words[0] == b"SRANDMEMBER" and reply[:1] == b"$" and reply != b"$-1\r\n" else reply


def scan_forgets(words, reply):
    """A portion of HSCAN comes empty."""
    return b"*2\r\n$1\r\n0\r\n*0\r\n" if words[0] == b"HSCAN" and reply[:1] == b"*" else reply


# Each fault, and commands among which it shows.
FAULTS = {
    plus_one: "LLEN RPUSH LPUSH LPOP", other_null: "GET SET DEL", other_error: "RENAME SET",
    one_member_less: "SMEMBERS SADD SREM", other_order: "LRANGE RPUSH LSET", stranger_drawn: "SRANDMEMBER SADD SPOP",
    scan_forgets: "HSCAN HSET HDEL",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_wrong_reply_is_caught(oracle, second, fault):
    proxy = Proxy(second, corrupt=fault)
    pair = Pair(oracle, proxy, 2)
    failure = attempt(pair, generators.draw_sequence("fault", 1000, FAULTS[fault].split()))
    assert failure is not None
    assert failure.kind[0] == FAULTS[fault].split()[0], failure.text
    pair.close()
    proxy.close()


def lost_persist(words):
    return b":1\r\n" if words[0] == b"PERSIST" else None


def lost_setrange(words):
    return b":5\r\n" if words[0] == b"SETRANGE" else None


def test_a_lost_write_is_caught_in_the_data(oracle, second):
    """The reply is right, the data are not: nothing but the comparison of all data sees it."""
    proxy = Proxy(second, swallow=lost_persist)
    pair = Pair(oracle, proxy, 2)
    failure = attempt(pair, [["SET", "k", "v", "EX", 5000], ["PERSIST", "k"]])
    assert failure is not None
    assert failure.kind == ("data", "PTTL")
    pair.close()
    proxy.close()


def test_a_hidden_encoding_is_caught(oracle, second):
    pair = Pair(oracle, second, 2)
    pair.reset()
    pair.o.call("SET", "k", "123")
    pair.m.call("SET", "k", "12")
    pair.m.call("APPEND", "k", "3")
    assert "encoding" in pair.compare_data()
    pair.close()


def test_failures_shrink_to_what_matters(oracle, second):
    proxy = Proxy(second, corrupt=plus_one)
    pair = Pair(oracle, proxy, 2)
    commands = generators.draw_sequence("long", 2000, ["LLEN", *generators.STRINGS, *generators.LISTS])
    failure = attempt(pair, commands)
    short, last = shrink(pair, commands, failure)
    assert failure.index >= len(short)
    assert len(short) <= 5, short
    assert last.kind == failure.kind
    assert str(short[-1][0]).upper() == "LLEN"
    pair.close()
    proxy.close()


def test_find_failures_tells_faults_apart(oracle, second):
    def two_faults(words, reply):
        return other_null(words, plus_one(words, reply))
    proxy = Proxy(second, corrupt=two_faults)
    pair = Pair(oracle, proxy, 2)
    texts = find_failures(pair, generators.draw_sequence("two", 1000, ["GET", "SET", "LLEN", "RPUSH"]), seconds=30.0)
    assert len(texts) == 2, texts
    assert any("LLEN" in text.upper() for text in texts)
    assert any("GET" in text.upper() for text in texts)
    pair.close()
    proxy.close()


def test_a_dead_server_is_a_failure(oracle):
    victim, spare = start_oracle(), start_oracle()

    def die(words):
        if words[0] == b"GETDEL":
            victim.process.kill()
            victim.process.wait()

    pair = Pair(oracle, Proxy(victim, swallow=die), 2, start_subject=lambda: spare)
    failure = attempt(pair, [["SET", "a", "1"], ["GET", "a"], ["GETDEL", "a"]])
    assert failure.kind == ("died",)
    assert pair.subject is spare
    assert pair.last_words != ""
    assert attempt(pair, [["SET", "a", "1"]]) is None
    pair.close()
    spare.stop()


def test_an_answer_that_lies_there_is_taken_however_late(second):
    """The test itself may be what came late."""
    with second.client() as c:
        c.send(encode(["PING"]))
        assert select.select([c.socket], [], [], 10)[0]
        assert c.read_raw(timeout=0) == b"+PONG\r\n"
        with pytest.raises(Disconnected, match="no answer"):
            c.read_raw(timeout=0)
        c.timeout = 0
        with pytest.raises(Disconnected, match=r"no answer in time .* threads of the server: .*redis-.* S \d"):
            c.read_raw()


def test_quoting_is_redis_cli_s():
    assert quote("plain") == "plain"
    assert quote("") == '""'
    assert quote(b'a b"\\\n\x00\xff') == '"a b\\"\\\\\\n\\x00\\xff"'
