"""Settings: every directive is known, set, refused and kept as its row says, and as redis-server does where it
knows the directive; where settings come from, and how CONFIG REWRITE puts them back."""
import os
import re
import socket
import stat
import subprocess
import threading
import time

import pytest

from moonlib.resp import Client, Disconnected, ReplyError, encode, parse, to_python
from moonlib.server import StartFailed, free_port, moon_binary, start_moon, start_oracle

VALUES = ("", "abc", "-1", "0", "1", "2", "3", "yes", "no", "YES", "99999999999999999999", "1gb", "1.5", "a b", "50%",
          "101%", "-100", "1 2", "1001", "70000", "true")

# Where Moon answers otherwise, and why. Values: those concerned; None: all.
RANGE = "a larger value would not be kept: sizes end at 2^63"
KNOWN = {
    "activedefrag": (("yes", "YES"), "accepted without effect; Debian's redis-server cannot"),
    "appendonly": (("yes", "YES"), "needs a checkpoint, which is not there yet"),
    "cluster-announce-ip": (("a b", "1 2"), "it stands in lines of words"),
    "cluster-link-sendbuf-limit": (("99999999999999999999",), RANGE),
    "maxmemory": (("99999999999999999999",), RANGE),
    "maxmemory-clients": (("99999999999999999999", "101%"), RANGE),
    "loglevel": (None, "knows `nothing`, as 7.4"),
    "maxclients": (("70000",), "other descriptors are kept back"),
    "min-replicas-to-write": (("1", "2", "3", "1001", "70000"), "no replication yet"),
    "min-slaves-to-write": (("1", "2", "3", "1001", "70000"), "no replication yet"),
    "notify-keyspace-events": (("AKE",), "no pub/sub yet"),
    "proto-max-bulk-len": (None, "a string ends at 4 GiB"),
    "tls-cluster": (None, "is read at the start"),
    "tls-port": (("1", "2", "3", "1001"), "no TLS yet"),
    "tls-replication": (("yes", "YES"), "no TLS yet"),
}
OTHER_PRESETS = {
    "lazyfree-lazy-eviction", "lazyfree-lazy-expire", "lazyfree-lazy-server-del", "lazyfree-lazy-user-del",
    "lazyfree-lazy-user-flush", "replica-lazy-flush", "slave-lazy-flush", "repl-backlog-size",  # as Valkey
    "syslog-ident", "dir", "port", "save", "enable-debug-command",  # the harness gives other ones
}


def settings(client):
    flat = [x.decode() for x in client.call("CONFIG", "GET", "*")]
    return dict(zip(flat[::2], flat[1::2]))


def get(client, name):
    return client.call("CONFIG", "GET", name)[1].decode()


def rows():
    """name → note of all directives, from the program itself."""
    text = subprocess.run([moon_binary(), "--help"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = {}
    for line in text.splitlines():
        if match := re.match(r"  --([\w-]+) .*?(\((?:not there yet|accepted, no effect)\))?$", line):
            found[match.group(1)] = match.group(2) or ""
    return found


# ---- beside redis-server

def answers(server, names):
    """(name, value) → what CONFIG SET answers, and what is read back then."""
    found = {}
    with server.client() as c:
        before = settings(c)
        for name in names:
            for value in VALUES:
                raw = c.call_raw("CONFIG", "SET", name, value)
                back = None
                if raw == b"+OK\r\n":
                    back = get(c, name)
                    assert c.call("CONFIG", "SET", name, before[name]) == b"OK", (name, before[name])
                found[name, value] = raw.decode(), back
    return found


def test_values_are_taken_and_refused_as_by_redis():
    with start_oracle() as oracle, start_moon() as moon:
        with oracle.client() as c, moon.client() as d:
            theirs, ours = settings(c), settings(d)
        assert not set(theirs) - set(ours), "directives of Redis that are not known"
        presets = {n: (theirs[n], ours[n]) for n in theirs if theirs[n] != ours[n] and n not in OTHER_PRESETS}
        assert not presets
        wanted, got = answers(oracle, theirs), answers(moon, theirs)
        differs = {key: (got[key], wanted[key]) for key in wanted if got[key] != wanted[key]}
        surprising = {(name, value): pair for (name, value), pair in differs.items()
                      if name not in KNOWN or (KNOWN[name][0] is not None and value not in KNOWN[name][0])}
        assert not surprising
        assert len(wanted) > 3000
        stale = {name for name in KNOWN if name in theirs and not any(n == name for n, _ in differs)}
        assert stale <= {"notify-keyspace-events"}


ERRORS = [
    ("hz", "abc", "nosuch", "1"), ("nosuch", "1", "hz", "abc"), ("hz", "20", "port", "abc"), ("hz", "20", "hz", "30"),
    ("hz", "20", "HZ", "30"), ("slave-priority", "1", "replica-priority", "2"), ("hz", "abc", "databases", "1"),
    ("databases", "1", "hz", "abc"), ("hz",), ("hz", "20", "timeout"), ("dbfilename", "x"), ("dir", "/"), ("HZ", "x"),
    ("timeout", "5", "hz", "abc"), ("databases", "16"), ("hz", "1", "logfile", "x", "nosuch", "y"), ("nosuch", "a"),
    ("port", "99999"), ("port", "1x"), ("bind", "not-an-address"), ("bind", "1.2.3.4.5"), ("bind", " ".join(["a"] * 17)),
    ("client-output-buffer-limit", "normal 1 2"), ("client-output-buffer-limit", "nosuch 1 2 3"),
    ("client-output-buffer-limit", "normal a 2 3"), ("client-output-buffer-limit", "normal 1 2 x"),
    ("oom-score-adj-values", "1 2 3000"), ("oom-score-adj-values", "1 2 x"), ("latency-tracking-info-percentiles", "101"),
    ("latency-tracking-info-percentiles", "1 x"), ("save", "1 x"), ("save", "1"), ("save", "-1 1"), ("save", "1 -1"),
    ("proc-title-template", "{nosuch}"), ("proc-title-template", "{title"), ("dbfilename", "a/b"),
    ("cluster-announce-hostname", "a_b"), ("cluster-announce-hostname", "a" * 256), ("appendfsync", "never"),
]


@pytest.mark.parametrize("protected", ("no", "yes"))
def test_errors_come_in_the_order_of_redis(protected):
    args = ["--enable-protected-configs", protected]
    with start_oracle(args=args) as oracle, start_moon(shards=2, args=args) as moon:
        with oracle.client() as theirs, moon.client() as ours:
            for words in ERRORS:
                if words == ("dir", "/") and protected == "yes":
                    continue  # Redis moves there, Moon refuses: its log stays where it is
                wanted = theirs.call_raw("CONFIG", "SET", *words)
                assert ours.call_raw("CONFIG", "SET", *words) == wanted, words
            for words in (("CONFIG",), ("CONFIG", "SET"), ("CONFIG", "GET"), ("CONFIG", "NOSUCH"), ("CONFIG", "REWRITE"),
                          ("CONFIG", "REWRITE", "x"), ("CONFIG", "RESETSTAT", "x"), ("CONFIG", "GET", "hz"),
                          ("CONFIG", "GET", "nosuch"), ("CONFIG", "GET", "h?"), ("CONFIG", "GET", "HZ"),
                          ("CONFIG", "GET", "key-load-delay"), ("CONFIG", "GET", "key-load-d*")):
                assert ours.call_raw(*words) == theirs.call_raw(*words), words


# ---- each directive, by its row

def other_value(client, name, now):
    """A valid value that is not the present one: asked of the server's own error texts."""
    if now in ("yes", "no"):
        return "no" if now == "yes" else "yes"
    special = {"client-output-buffer-limit": "pubsub 1000000 500000 30", "save": "900 1", "oom-score-adj-values": "1 2 3",
               "latency-tracking-info-percentiles": "10 99.99", "proc-title-template": "{title} {port}",
               "cluster-announce-hostname": "host.example", "shutdown-on-sigint": "nosave now",
               "shutdown-on-sigterm": "force", "list-max-listpack-size": "-3", "list-max-ziplist-size": "-3",
 "key-load-delay": "3",
               "maxmemory": "123456789", "bind": "127.0.0.1 ::1"}
    if name in special:
        return special[name]
    raw = client.call_raw("CONFIG", "SET", name, "\x01?").decode()
    if choices := re.search(r"one of the following: (.*)\r", raw):
        return next(choice for choice in choices.group(1).split(", ") if choice != now)
    if re.fullmatch(r"-?\d+", now):
        for value in (int(now) + 1, int(now) - 1):
            if client.call_raw("CONFIG", "SET", name, value) != b"+OK\r\n":
                continue
            client.call("CONFIG", "SET", name, now)
            return str(value)
    return "another"


STRANGE = ("maxmemory-policy", "notify-keyspace-events")  # valid values are refused, with the reason


def test_each_directive_is_as_its_row_says(tmp_path):
    """Set, read back, written to the file, read from it by the next start."""
    config = tmp_path / "moon.conf"
    config.write_text("# mine\n")
    notes, changed, immutable, refused = rows(), {}, set(), set()
    assert len(notes) > 220
    with start_moon(args=["--config", config]) as node, node.client() as c:
        assert not set(notes) - set(settings(c)) - {"key-load-delay", "cluster-ping-interval"}
        for name, note in notes.items():
            now = get(c, name)
            if name in ("port", "bind", "requirepass", "dir", "appendonly"):
                continue  # have tests of their own
            raw = c.call_raw("CONFIG", "SET", name, now)
            if b"immutable" in raw:
                immutable.add(name)
                continue
            if name == "dbfilename":
                assert b"can't set protected config" in raw
                continue
            assert raw == b"+OK\r\n", (name, now, raw)
            value = other_value(c, name, now)
            raw = c.call_raw("CONFIG", "SET", name, value)
            if note == "(not there yet)":
                refused.add(name)
                assert raw[:1] == b"-" and get(c, name) == now, (name, raw)
                continue
            assert raw == b"+OK\r\n", (name, value, raw)
            changed[name] = get(c, name)
            assert changed[name] != now, name
        assert c.call("CONFIG", "REWRITE") == b"OK"
    assert len(changed) > 120 and len(immutable) > 40 and {"tls-port", "maxmemory-policy"} <= refused
    text = config.read_text()
    assert text.startswith("# mine\n# Generated by CONFIG REWRITE\n")
    with start_moon(args=["--config", config]) as node, node.client() as c:
        again = settings(c)
        again["key-load-delay"], again["cluster-ping-interval"] = get(c, "key-load-delay"), get(c, "cluster-ping-interval")
        assert {name: again[name] for name in changed} == changed


def start_text(tmp_path, text, *args, env=None):
    """Starts on that file; what it logs until it is ready or ends."""
    config = tmp_path / "start.conf"
    config.write_text(text)
    port = free_port()
    process = subprocess.run([moon_binary(), str(config), "--check-config", *args], capture_output=True, text=True,
                             timeout=10, cwd=tmp_path, env={**os.environ, **(env or {})}, check=False)
    return process, port


def test_each_directive_is_read_from_a_file(tmp_path):
    """Those that cannot be set later too. What promises something that is not there is refused, with the reason;
    what has no effect is told once, or not at all."""
    notes = rows()
    with start_moon() as node, node.client() as c:
        values = {}
        for name in notes:
            now = get(c, name)
            number = re.fullmatch(r"-?\d+", now)
            values[name] = (now, other_value(c, name, now) if not number else now)
    for name, note in notes.items():
        now, other = values[name]
        quoted = f'"{now}"' if " " not in now and not now else now
        same, _ = start_text(tmp_path, f"{name} {quoted}\n")
        assert same.returncode == 0, (name, now, same.stderr)
        if note == "(not there yet)" and now in ("yes", "no"):
            bad, _ = start_text(tmp_path, f"# one\n\n{name} {other}\n")
            assert bad.returncode == 1 and f"start.conf:3: '{name} {other}': " in bad.stderr, (name, bad.stderr)
            assert len(bad.stderr.split("': ", 1)[1]) > 10, "no reason"
    for name, value in (("tls-port", "6380"), ("replicaof", "127.0.0.1 6379"), ("aclfile", "users.acl"),
                        ("maxmemory-policy", "allkeys-lru"), ("daemonize", "yes")):
        bad, _ = start_text(tmp_path, f"{name} {value}\n")
        assert bad.returncode == 1 and re.search("there yet|systemd", bad.stderr), bad.stderr


def test_what_has_no_effect_is_told_once(tmp_path):
    config = tmp_path / "moon.conf"
    config.write_text("io-threads 4\nsave 900 1\nactivedefrag yes\nwal-segment-size 32mb\nrdbcompression no\n"
                      "io-threads 1\nsyslog-enabled no\n")
    with start_moon(args=["--config", config]) as node, node.client() as c:
        log = node.log_tail()
        for name in ("io-threads", "save", "activedefrag", "wal-segment-size"):
            assert log.count(f"'{name}' is accepted but has no effect here") == 1, (name, log)
        assert "rdbcompression" not in log and "syslog" not in log
        c.call("CONFIG", "SET", "activedefrag", "no", "rdbcompression", "yes")
        c.call("CONFIG", "SET", "activedefrag", "no")  # as it is
        time.sleep(0.1)
        assert node.log_tail().count("CONFIG SET: 'activedefrag' is accepted but has no effect here") == 1
        assert "rdbcompression" not in node.log_tail()


# ---- effects that clients can see

def test_connections_feel_their_settings():
    with start_moon(shards=2) as node, node.client() as c:
        idle = node.client()
        idle.call("PING")
        c.call("CONFIG", "SET", "timeout", "1")
        until, closed = time.monotonic() + 5, False
        while not closed and time.monotonic() < until:
            assert c.call("PING") == b"PONG"
            try:
                idle.fill(time.monotonic() + 0.1)
            except Disconnected as error:
                closed = "closed by the server" in str(error)
        assert closed
        c.call("CONFIG", "SET", "timeout", "0", "maxclients", "3")
        others = [node.client() for _ in range(2)]
        assert [o.call("PING") for o in others] == [b"PONG", b"PONG"]
        with node.client() as fourth:
            assert fourth.read_all() == b"-ERR max number of clients reached\r\n"
        c.call("CONFIG", "SET", "maxclients", "1000")
        with node.client() as fourth:
            assert fourth.call("PING") == b"PONG"
        c.call("CONFIG", "SET", "requirepass", "sesame")
        with node.client() as fifth:
            assert fifth.call_raw("PING") == b"-NOAUTH Authentication required.\r\n"
            assert fifth.call("AUTH", "sesame") == b"OK"
            assert fifth.call("PING") == b"PONG"
        c.call("CONFIG", "SET", "requirepass", "")
        with node.client() as sixth:
            assert sixth.call("PING") == b"PONG"


def test_limits_of_requests_and_replies():
    with start_moon() as node, node.client() as c:
        c.call("CONFIG", "SET", "proto-max-bulk-len", "1mb")
        with node.client() as d:
            d.send(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n")
            assert d.read_all() == b"-ERR Protocol error: invalid bulk length\r\n"
        assert b"exceeds maximum allowed size" in c.call_raw("SETRANGE", "k", 1 << 20, "x")
        c.call("CONFIG", "SET", "proto-max-bulk-len", "512mb", "client-query-buffer-limit", "1mb")
        with node.client() as d:
            d.send(b"*2\r\n$4\r\nECHO\r\n$4000000\r\n")
            try:
                d.send(b"x" * 4000000)
                assert d.read_all() == b""
            except Disconnected:
                pass
        c.call("CONFIG", "SET", "client-query-buffer-limit", "1gb")
        c.call("SET", "k", b"v" * (1 << 20))
        c.call("CONFIG", "SET", "client-output-buffer-limit", "normal 5000000 0 0")
        with node.client() as d:
            d.send(encode(["GET", "k"]) * 2 + encode(["PING"]))
            assert d.read_raw() and d.read_raw() and d.read_raw() == b"+PONG\r\n"
        with node.client() as d:
            c.call("CONFIG", "SET", "client-output-buffer-limit", "normal 500000 0 0")
            d.send(encode(["GET", "k"]))
            with pytest.raises(Disconnected):
                d.read_raw()


def test_values_and_their_encodings():
    with start_moon() as node, node.client() as c:
        c.call("CONFIG", "SET", "hash-max-listpack-entries", "2", "set-max-intset-entries", "2", "zset-max-ziplist-entries",
               "2", "list-max-listpack-size", "2", "set-max-listpack-entries", "2")
        c.call("HSET", "h", "a", 1, "b", 2)
        assert c.call("OBJECT", "ENCODING", "h") == b"listpack"
        c.call("HSET", "h", "c", 3)
        assert c.call("OBJECT", "ENCODING", "h") == b"hashtable"
        c.call("SADD", "s", 1, 2, 3)
        assert c.call("OBJECT", "ENCODING", "s") == b"hashtable"
        c.call("ZADD", "z", 1, "a", 2, "b", 3, "c")
        assert c.call("OBJECT", "ENCODING", "z") == b"skiplist"
        c.call("RPUSH", "l", 1, 2, 3)
        assert c.call("OBJECT", "ENCODING", "l") == b"quicklist"
        c.call("CONFIG", "SET", "hash-max-listpack-value", "1gb", "hash-max-listpack-entries", 1 << 40)
        assert get(c, "hash-max-ziplist-value") == str(1 << 30) and get(c, "hash-max-ziplist-entries") == str(1 << 40)
        c.call("HSET", "wide", "f", "v" * 10000)
        assert c.call("OBJECT", "ENCODING", "wide") == b"listpack"


def test_memory_and_statistics():
    with start_moon() as node, node.client() as c:
        c.call("SET", "k", "v")
        c.call("CONFIG", "SET", "maxmemory", "1")
        assert c.call_raw("SET", "k", "w").startswith(b"-OOM")
        c.call("CONFIG", "SET", "maxmemory", "0")
        assert c.call("SET", "k", "w") == b"OK"
        c.call("CONFIG", "SET", "latency-tracking-info-percentiles", "12.5 99.999")
        assert re.search(rb"latency_percentiles_usec_set:p12\.5=[\d.]+,p99\.999=[\d.]+\r", c.call("INFO", "latencystats"))
        c.call("CONFIG", "SET", "latency-tracking-info-percentiles", "")
        assert b"latency_percentiles_usec_set:\r" in c.call("INFO", "latencystats")
        c.call("CONFIG", "SET", "latency-tracking", "no")
        assert b"latency_percentiles" not in c.call("INFO", "latencystats")
        c.call("CONFIG", "SET", "hz", "1000")
        assert get(c, "hz") == "500" and b"\r\nhz:500\r" in c.call("INFO", "server")


def test_logs_change_while_it_runs():
    with start_moon() as node, node.client() as c:
        def lines_of(*setting):
            c.call("CONFIG", "SET", *setting)
            before = len(node.log_tail())
            c.call("CONFIG", "SET", "activedefrag", "yes")
            c.call("CONFIG", "SET", "activedefrag", "no")
            time.sleep(0.05)
            return node.log_tail()[before:]

        assert "\n{" in "\n" + lines_of("log-format", "json")
        assert "level=" in lines_of("log-format", "logfmt")
        assert "activedefrag" in lines_of("log-format", "text")
        assert lines_of("loglevel", "nothing") == ""
        assert "activedefrag" in lines_of("loglevel", "warning")


@pytest.mark.parametrize("shards", (1, 3))
@pytest.mark.parametrize("io", ("epoll", "uring"))
def test_another_port_and_other_addresses(io, shards):
    """From any shard's connection; connections stay, and what failed leaves the old listeners."""
    with start_moon(shards=shards, io=io) as node:
        clients = [node.client() for _ in range(shards)]
        for c in clients:
            port = free_port()
            assert c.call("CONFIG", "SET", "port", port, "hz", "17") == b"OK"
            assert get(c, "port") == str(port) and get(c, "hz") == "17"
            with Client(port) as new:
                assert new.call("PING") == b"PONG"
                assert f"tcp_port:{port}".encode() in new.call("INFO", "server")
            with pytest.raises(OSError):
                Client(node.port)
            assert c.call("PING") == b"PONG"
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                raw = c.call_raw("CONFIG", "SET", "hz", "18", "port", taken.getsockname()[1])
                assert raw == (b"-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this "
                               b"port. Check server logs.\r\n")
            assert get(c, "port") == str(port) and get(c, "hz") == "17"
            raw = c.call_raw("CONFIG", "SET", "bind", "127.0.0.1 192.0.2.1")
            assert raw == (b"-ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified "
                           b"addresses.\r\n")
            assert get(c, "bind") == "127.0.0.1"
            with Client(port) as new:
                assert new.call("PING") == b"PONG"
            assert c.call("CONFIG", "SET", "bind", "127.0.0.2 -192.0.2.1") == b"OK"
            with Client(port, host="127.0.0.2") as new:
                assert new.call("PING") == b"PONG"
            with pytest.raises(OSError):
                Client(port)
            assert c.call("CONFIG", "SET", "bind", "127.0.0.1") == b"OK"
            assert c.call("CONFIG", "SET", "port", node.port) == b"OK"
        assert clients[0].call("CONFIG", "SET", "port", "0") == b"OK"
        with pytest.raises(OSError):
            Client(node.port)
        assert clients[0].call("CONFIG", "SET", "port", node.port) == b"OK"


def test_settings_from_all_sides_at_once():
    """Texts of settings that all shards' connections change and read."""
    with start_moon(shards=4) as node:
        failures = []

        def turn(number):
            try:
                with node.client() as c:
                    for i in range(300):
                        value = f"{number}-" + "x" * (i % 300)
                        c.call("CONFIG", "SET", "availability-zone", value, "requirepass", "")
                        seen = get(c, "availability-zone")
                        assert re.fullmatch(r"\d-x*", seen), seen
            except Exception as error:  # a thread's failure is the test's
                failures.append(repr(error))

        threads = [threading.Thread(target=turn, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures


@pytest.mark.parametrize("level, allowed", (("no", False), ("local", True), ("yes", True)))
def test_protected_settings(level, allowed):
    with start_moon(args=["--enable-protected-configs", level]) as node, node.client() as c:
        raw = c.call_raw("CONFIG", "SET", "dbfilename", "other.rdb")
        assert (raw == b"+OK\r\n") == allowed and (get(c, "dbfilename") == "other.rdb") == allowed
        raw = c.call_raw("CONFIG", "SET", "dir", node.folder)
        assert (raw == b"+OK\r\n") == allowed
        raw = c.call_raw("CONFIG", "SET", "dir", "/")
        assert (b"its log lies there" if allowed else b"can't set protected config") in raw
        raw = c.call_raw("CONFIG", "SET", "enable-protected-configs", "yes")
        assert b"can't set immutable config" in raw


# ---- where settings come from

def test_who_wins(tmp_path, monkeypatch):
    config = tmp_path / "moon.conf"
    config.write_text("io-busy-poll-us 11\ntimeout 11\ntcp-keepalive 11\nhz 11\n")
    monkeypatch.setenv("MOON_TIMEOUT", "22")
    monkeypatch.setenv("MOON_TCP_KEEPALIVE", "22")
    monkeypatch.setenv("MOON_DATABASES", "22")
    args = ["--config", config, "--tcp-keepalive", "33", "--profile", "standalone", "--maxclients", "33"]
    with start_moon(args=args) as node, node.client() as c:
        wanted = {"io-busy-poll-us": "11", "timeout": "22", "tcp-keepalive": "33", "hz": "11", "databases": "22",
                  "maxclients": "33", "shards": "1", "tcp-backlog": "511"}
        assert {name: get(c, name) for name in wanted} == wanted
    monkeypatch.setenv("MOON_TIMEOUT", "abc")
    bad, _ = start_text(tmp_path, "")
    assert bad.returncode == 1 and "MOON_TIMEOUT: 'timeout abc': argument couldn't be parsed" in bad.stderr


def test_files(tmp_path):
    (tmp_path / "a.part").write_text("timeout 5\n")
    (tmp_path / "b.part").write_text("hz 33\n")
    good = tmp_path / "good.conf"
    good.write_text("# comment\n\n  maxclients 77 # at the end\nrequirepass pass#word\nTCP_KEEPALIVE 9\n"
                    f"include {tmp_path}/*.part\nprotected-mode true\nlatency-tracking 0\n"
                    "proc-title-template '{title} x'\nsave 1 2\nsave 3 4\nmaxmemory 2gb\n"
                    'syslog-ident "a\\x41\\n\\"b"\nclient-output-buffer-limit pubsub 1mb 1kb 7\n')
    with start_moon(args=["--config", good]) as node:
        with Client(node.port) as c:
            c.call("AUTH", "pass#word")
            wanted = {"timeout": "5", "hz": "33", "maxclients": "77", "tcp-keepalive": "9", "protected-mode": "yes",
                      "latency-tracking": "no", "proc-title-template": "{title} x", "save": "1 2 3 4",
                      "maxmemory": str(2 << 30), "syslog-ident": 'aA\n"b',
                      "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 1024 7"}
            assert {name: get(c, name) for name in wanted} == wanted
    piped = subprocess.run([moon_binary(), "-", "--check-config"], input="timeout abc\n", capture_output=True, text=True,
                           timeout=10, check=False)
    assert piped.returncode == 1 and "-:1: 'timeout abc': " in piped.stderr


@pytest.mark.parametrize("text, error", (
    ("nosuch 1", "start.conf:1: unknown directive 'nosuch'"), ("hz", "start.conf:1: 'hz' has no value"),
    ("\n\nport 99999", "start.conf:3: 'port 99999': argument must be between 0 and 65535 inclusive"),
    ('logfile "x', "start.conf:1: quotes do not match"), ("rename-command GET x", "'rename-command' is not supported"),
    ("user bob on", "'user' is not supported"), ("loadmodule x.so", "'loadmodule' is not supported"),
    ("include /no/such.conf", "no such file"), ("requirepass " + "s" * 600, "'requirepass ***'"),
    ("protected-mode maybe", "argument must be 'yes' or 'no'"), ("databases 257", "between 1 and 256"),
    ("maxmemory 1zb", "argument must be a memory value"), ("unixsocketperm 8", "as an octal number"),
    ("unixsocketperm 1777", "argument must be between 0 and 777 inclusive")))
def test_bad_files(tmp_path, text, error):
    bad, _ = start_text(tmp_path, text + "\n")
    assert bad.returncode == 1 and error in bad.stderr and "s" * 600 not in bad.stderr


def test_bad_command_lines(tmp_path):
    for words, error in ((["--nosuch", "1"], "--nosuch: unknown directive"), (["--hz"], "--hz: 'hz' has no value"),
                         (["--hz", "abc"], "--hz: 'hz abc': argument couldn't be parsed into an integer"),
                         (["a.conf"], "cannot read the configuration file a.conf: No such file"),
                         (["--hz", "10", "--profile", "nosuch"], "--profile nosuch: no such profile")):
        bad = subprocess.run([moon_binary(), *words], capture_output=True, text=True, timeout=10, cwd=tmp_path, check=False)
        assert bad.returncode == 1 and error in bad.stderr, (words, bad.stderr)
    assert not os.listdir(tmp_path)


def test_check_config(tmp_path):
    good, _ = start_text(tmp_path, "port 7000\ndir /no/such/dir\n")
    assert (good.returncode, good.stdout) == (0, "configuration is good\n")
    config = tmp_path / "start.conf"
    told = subprocess.run([moon_binary(), "--check-config", str(config)], capture_output=True, text=True, timeout=10, check=False)
    assert (told.returncode, told.stdout) == (0, "configuration is good\n")
    assert not os.path.exists("/no/such/dir")


# ---- CONFIG REWRITE

def rewritten(tmp_path, text, *pairs, config=None):
    config = config or tmp_path / "moon.conf"
    config.write_text(text)
    with start_moon(args=["--config", config]) as node, node.client() as c:
        if pairs:
            c.call("CONFIG", "SET", *pairs)
        c.call("CONFIG", "REWRITE")
    return config.read_text()


def test_rewrite_keeps_what_people_wrote(tmp_path):
    text = ("# top\n\nmaxmemory 1gb   # of the cache\n  hz   20\n\n# limits\nmaxclients 100 # few\nprotected-mode true\n"
            "include " + str(tmp_path) + "/none*.conf\nsave 900 1\nsave 60 100\ntimeout 1\ntimeout 2\nrdbcompression 0\n")
    got = rewritten(tmp_path, text, "maxclients", "200", "tcp-keepalive", "77")
    wanted = text.replace("maxclients 100 # few", "maxclients 200").replace("save 900 1\nsave 60 100\n",
                                                                            "save 900 1 60 100\n")
    wanted = wanted.replace("timeout 1\ntimeout 2\n", "timeout 2\n")
    assert got.startswith(wanted), got
    tail = got[len(wanted):].splitlines()
    assert tail[0] == "# Generated by CONFIG REWRITE" and "tcp-keepalive 77" in tail
    assert rewritten(tmp_path, got) .count("# Generated") == 1


@pytest.mark.parametrize("mode", (0o600, 0o640, 0o644, 0o664))
def test_rewrite_keeps_mode_and_owner(tmp_path, mode):
    config = tmp_path / "moon.conf"
    config.write_text("hz 10\n")
    os.chmod(config, mode)
    root = os.geteuid() == 0
    if root:
        os.chown(config, 65534, 12345)
    with start_moon(args=["--config", config]) as node, node.client() as c:
        c.call("CONFIG", "SET", "hz", "44")
        before = os.stat(config)
        c.call("CONFIG", "REWRITE")
        after = os.stat(config)
    assert stat.S_IMODE(after.st_mode) == mode and "hz 44" in config.read_text()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert os.listdir(tmp_path) == ["moon.conf"]


def test_rewrite_follows_a_link(tmp_path):
    real = tmp_path / "real.conf"
    link = tmp_path / "link.conf"
    real.write_text("hz 10\n")
    os.symlink(real, link)
    with start_moon(args=["--config", link]) as node, node.client() as c:
        c.call("CONFIG", "SET", "hz", "45")
        c.call("CONFIG", "REWRITE")
    assert os.path.islink(link) and "hz 45" in real.read_text()


def test_rewrite_that_fails_leaves_the_file(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    config = folder / "moon.conf"
    config.write_text("hz 10\n")
    with start_moon(args=["--config", config]) as node, node.client() as c:
        os.rename(folder, tmp_path / "elsewhere")
        raw = c.call_raw("CONFIG", "REWRITE")
        assert raw == b"-ERR Rewriting config file: No such file or directory\r\n"
        assert (tmp_path / "elsewhere" / "moon.conf").read_text() == "hz 10\n"
    with start_moon() as node, node.client() as c:
        assert c.call_raw("CONFIG", "REWRITE") == b"-ERR The server is running without a config file\r\n"


def test_the_file_is_whole_at_every_moment(tmp_path):
    """Read all the time while several connections rewrite it: never short, never a part."""
    config = tmp_path / "moon.conf"
    config.write_text("# begin\nhz 10\n" + "# filler\n" * 2000 + "timeout 0\n# end\n")
    stop, torn = threading.Event(), []
    with start_moon(shards=2, args=["--config", config]) as node:
        def read():
            while not stop.is_set():
                text = config.read_text()
                if not text.startswith("# begin\n") or "# end\n" not in text:
                    torn.append(text[:100])

        def rewrite(number):
            with node.client() as c:
                for i in range(20):
                    c.call("CONFIG", "SET", "hz", 10 + number + i)
                    c.call("CONFIG", "REWRITE")

        readers = [threading.Thread(target=read)]
        writers = [threading.Thread(target=rewrite, args=(i,)) for i in range(3)]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join(60)
        stop.set()
        readers[0].join()
    assert not torn
    assert os.listdir(tmp_path) == ["moon.conf"]


def test_words_of_a_value_survive(tmp_path):
    odd = "it's \"odd\" \\ # x\ty\xe9".encode("latin1")
    config = tmp_path / "moon.conf"
    config.write_text("")
    with start_moon(args=["--config", config]) as node, node.client() as c:
        c.call("CONFIG", "SET", "availability-zone", odd, "requirepass", "a b")
        c.call("CONFIG", "REWRITE")
    with start_moon(args=["--config", config]) as node:
        with Client(node.port) as c:
            c.call("AUTH", "a b")
            assert c.call("CONFIG", "GET", "availability-zone")[1] == odd


def test_the_tables_agree():
    """CONFIG GET, --help: one table."""
    with start_moon() as node, node.client(resp=3) as c:
        raw = to_python(parse(c.call_raw("CONFIG", "GET", "*")))
        assert isinstance(raw, dict) and len(raw) > 240
        with pytest.raises(ReplyError):
            c.call("CONFIG", "SET", "no-such-thing", "1")


@pytest.mark.parametrize("io", ("epoll", "uring"))
def test_a_setting_is_in_force_for_the_next_command_of_its_pipeline(io):
    try:
        node = start_moon(io=io)
    except StartFailed as error:
        if "no way to do input and output" in str(error):
            pytest.skip("the kernel refuses io_uring")
        raise
    with node, node.client() as c:
        replies = c.pipeline([("CONFIG", "SET", "proto-max-bulk-len", "1mb"), ("SETRANGE", "k", "2000000", "x"),
                              ("CONFIG", "SET", "proto-max-bulk-len", "3mb"), ("SETRANGE", "k", "2000000", "x")])
    assert replies[0] == replies[2] == b"OK"
    assert isinstance(replies[1], ReplyError) and b"maximum allowed size" in replies[1].text
    assert replies[3] == 2000001
