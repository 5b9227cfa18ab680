"""The bus port of a node: where it listens, plain text or TLS, what a start refuses, certificates that change."""
import contextlib
import re
import socket
import ssl
import struct
import time

import pytest

from moonlib.certs import Certificates
from moonlib.server import StartFailed, free_port, start_moon

ON = ["--cluster-enabled", "yes"]


@pytest.fixture(name="certs")
def fixture_certs(tmp_path):
    folder = tmp_path / "certs"
    folder.mkdir()
    return Certificates(folder)


def read_frame(s):
    head = b""
    while len(head) < 16:
        more = s.recv(16 - len(head))
        if not more:
            return None
        head += more
    magic, version, kind, _, channel, length, _ = struct.unpack("<2sBBHHII", head)
    assert magic == b"bM" and channel == 0
    body = b""
    while len(body) < length:
        body += s.recv(length - len(body))
    return version, kind, body


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def connect_tls(certs, port, pair):
    context = ssl.create_default_context(cafile=certs.ca)
    context.check_hostname = False
    if pair is not None:
        context.load_cert_chain(*pair)
    return context.wrap_socket(connect(port))


def wait_log(node, pattern, seconds=5):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if re.search(pattern, node.log_tail()):
            return
        time.sleep(0.02)
    raise AssertionError(f"{pattern} not in: {node.log_tail()}")


@pytest.mark.parametrize("io", ("epoll", None))
def test_a_node_challenges_who_connects(io):
    bus = free_port()
    with start_moon(io=io, args=[*ON, "--cluster-port", bus]) as node:
        with connect(bus) as s:
            version, kind, body = read_frame(s)
            assert (version, kind) == (1, 1) and len(body) == 2 + 16 + 4
            s.sendall(b"PING\r\n" * 5)
            assert read_frame(s) is None
        wait_log(node, r"refused \(bad-frame\): what it sends are no frames of this bus")
        with node.client() as c:  # clients do not notice
            assert c.call("PING") == b"PONG"


def test_the_bus_is_ten_thousand_above():
    with start_moon(args=ON) as node, connect(node.port + 10000) as s:
        assert read_frame(s)[1] == 1


def test_without_cluster_mode_nobody_listens():
    bus = free_port()
    with start_moon(args=["--cluster-port", bus]), pytest.raises(ConnectionRefusedError):
        connect(bus)


def test_tls_with_certificates_on_both_sides(certs):
    bus = free_port()
    pair, other = certs.make("node", "DNS:moon-0.example"), certs.make("other", "DNS:moon-1.example")
    with start_moon(args=[*ON, "--cluster-port", bus, "--tls-cluster-name", "moon-*.example", *certs.args(pair)]) as node:
        with connect_tls(certs, bus, other) as s:
            assert s.version() == "TLSv1.3"
            assert s.getpeercert()["subjectAltName"] == (("DNS", "moon-0.example"),)
            assert read_frame(s)[1] == 1
        with contextlib.suppress(ssl.SSLError, ConnectionError), connect_tls(certs, bus, None) as s:
            assert read_frame(s) is None  # without a certificate
        wait_log(node, r"refused \(tls\): .*certificate")
        with connect(bus) as s:
            s.sendall(b"PING\r\n" * 5)
            with contextlib.suppress(ConnectionError):
                while s.recv(100):
                    pass
        wait_log(node, r"refused \(tls\): (wrong version number|http request|.*record)")


def serial(certs, bus, pair):
    with connect_tls(certs, bus, pair) as s:
        return s.getpeercert()["serialNumber"]


def test_certificates_change_while_it_runs(certs):
    bus = free_port()
    first, second = certs.make("first", "DNS:a"), certs.make("second", "DNS:b")
    with start_moon(args=[*ON, "--cluster-port", bus, *certs.args(first)]) as node, node.client() as c:
        before = serial(certs, bus, second)
        assert c.call("CONFIG", "SET", "tls-cert-file", second[0]) == b"OK"
        wait_log(node, "certificates are not changed: certificate does not fit key|certificates are not changed: key")
        assert serial(certs, bus, second) == before
        assert c.call("CONFIG", "SET", "tls-cert-file", second[0], "tls-key-file", second[1]) == b"OK"
        wait_log(node, "certificates were read anew")
        until = time.monotonic() + 5
        while serial(certs, bus, second) == before:
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize("args, says", [
    (["--bind", "0.0.0.0"], r"plain text on 0\.0\.0\.0: give tls-cert-file.*cluster-bus-bind.*tls-cluster no"),
    (["--bind", "0.0.0.0", "--tls-cluster", "no"], r"loopback and private addresses only, not on 0\.0\.0\.0"),
    (["--tls-cluster", "yes"], "tls-cluster yes needs tls-cert-file"),
    (["--tls-cert-file", "/no.pem", "--tls-key-file", "/no.key", "--tls-ca-cert-file", "/no.ca"], r"/no\.ca"),
    (["--cluster-bus-bind", "192.0.2.1", "--tls-cluster", "no"], "not on 192.0.2.1"),
])
def test_starts_that_are_refused(args, says):
    with pytest.raises(StartFailed) as error:
        with start_moon(args=[*ON, "--cluster-port", free_port(), *args]):
            pass
    assert re.search(says, str(error.value)), error.value


def test_the_bus_may_have_addresses_of_its_own():
    bus = free_port()
    args = [*ON, "--cluster-port", bus, "--bind", "0.0.0.0", "--protected-mode", "no", "--cluster-bus-bind", "127.0.0.1"]
    with start_moon(args=args) as node, connect(bus) as s, node.client() as c:
        assert read_frame(s)[1] == 1
        assert c.call("CONFIG", "GET", "cluster-bus-bind") == [b"cluster-bus-bind", b"127.0.0.1"]
        assert c.call("CONFIG", "GET", "tls-cluster") == [b"tls-cluster", b"no"]
