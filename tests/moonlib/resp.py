"""A plain RESP2 and RESP3 client over a socket: bytes in, bytes out, nothing hidden.

Client.call() is for tests that look at values; Client.pipeline_raw() is for those that compare bytes.
"""
import os
import socket
import time

RECV_BYTES = 1 << 16


class ReplyError(Exception):
    """An error reply. `text` without the '-'."""

    def __init__(self, text):
        super().__init__(text.decode("utf-8", "backslashreplace"))
        self.text = text


class Disconnected(Exception):
    """The server closed the connection, or did not answer in time."""


class Node:
    """One value as it stood on the wire: its type byte and what it holds (bytes, int, None, or a list
    of nodes; a map is a flat list of keys and values). Compares by both."""

    __slots__ = ("kind", "held")

    def __init__(self, kind, held):
        self.kind, self.held = kind, held

    def __eq__(self, other):
        return isinstance(other, Node) and self.kind == other.kind and self.held == other.held

    def __hash__(self):
        return hash((self.kind, tuple(self.held) if isinstance(self.held, list) else self.held))

    def __repr__(self):
        return f"{self.kind}{self.held!r}"

    @property
    def is_error(self):
        return self.kind in "-!"

    @property
    def is_aggregate(self):
        return isinstance(self.held, list)


def encode_one(arg):
    if isinstance(arg, bytes):
        return arg
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, (int, float)):
        return repr(arg).encode()
    raise TypeError(f"not an argument: {arg!r}")


def encode(args):
    """A request as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = encode_one(arg)
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def reply_end(buffer, at):
    """Where the reply that begins at `at` ends, -1 if it is not all there."""
    missing = 1
    while missing:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            return -1
        kind = chr(buffer[at])
        missing -= 1
        if kind in "$!=":
            size = int(buffer[at + 1:line_end])
            at = line_end + 2 if size < 0 else line_end + 2 + size + 2
            if at > len(buffer):
                return -1
            continue
        if kind in "*~>":
            missing += max(0, int(buffer[at + 1:line_end]))
        elif kind == "%":
            missing += 2 * int(buffer[at + 1:line_end])
        elif kind == "|":
            missing += 2 * int(buffer[at + 1:line_end]) + 1
        elif kind not in "+-:,#_(":
            raise ValueError(f"not RESP: {bytes(buffer[at:at + 60])!r}")
        at = line_end + 2
    return at


def parse_at(raw, at):
    line_end = raw.index(b"\r\n", at)
    kind, line = chr(raw[at]), bytes(raw[at + 1:line_end])
    at = line_end + 2
    if kind in "$!=":
        size = int(line)
        if size < 0:
            return Node(kind, None), at
        return Node(kind, bytes(raw[at:at + size])), at + size + 2
    if kind in "*~>%|":
        count = int(line)
        if count < 0:
            return Node(kind, None), at
        items = []
        for _ in range(2 * count if kind in "%|" else count):
            item, at = parse_at(raw, at)
            items.append(item)
        return Node(kind, items), at
    if kind == ":":
        return Node(kind, int(line)), at
    if kind == "_":
        return Node(kind, None), at
    return Node(kind, line), at


def parse(raw):
    """The Node of one whole reply."""
    node, at = parse_at(raw, 0)
    if at != len(raw):
        raise ValueError(f"more than one reply: {bytes(raw[:80])!r}")
    return node


def to_python(node):
    """bytes, int, float, bool, None, list, dict (of a map), ReplyError."""
    if node.is_error:
        return ReplyError(node.held)
    if node.held is None:
        return None
    if node.kind == "%":
        items = [to_python(item) for item in node.held]
        return dict(zip(items[::2], items[1::2]))
    if node.is_aggregate:
        return [to_python(item) for item in node.held]
    if node.kind == ",":
        return float(node.held)
    if node.kind == "#":
        return node.held == b"t"
    if node.kind == "=":
        return node.held[4:]
    return node.held


def threads_of(pid):
    """Name, state and how many seconds it has run and waited for a CPU, of each: is it starved (R), does it wait for a disk (D)
    or for something else (S)?"""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8", errors="replace") as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                ran, waited = (int(word) / 1e9 for word in f.read().split()[:2])
            found.append(f"{name} {rest.split()[0]} {ran:.2f} {waited:.2f}")
    except OSError as error:
        found.append(repr(error))
    return ", ".join(found)


class Client:
    """One connection. Every wait is bounded by `timeout` seconds and ends in Disconnected. pid: of the server, if it is here."""

    def __init__(self, port, host="127.0.0.1", resp=2, timeout=10.0, pid=None):
        self.timeout, self.pid = timeout, pid
        self.buffer = bytearray()
        self.at = 0  # of the buffer: what lies before was given out
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if resp == 3:
            self.call("HELLO", "3")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.settimeout(self.timeout)
            self.socket.sendall(data)
        except OSError as error:
            raise Disconnected(f"send: {error}") from error

    def fill(self, deadline, tell=False):
        """What is there is taken however late this is: an answer that came while the test itself did not run is one. tell:
        an answer was expected, so what the server did instead is told."""
        left = deadline - time.monotonic()
        self.socket.settimeout(max(left, 0))
        try:
            data = self.socket.recv(RECV_BYTES)
        except (socket.timeout, BlockingIOError) as error:
            if left > 0:
                return
            said = f"no answer in time ({self.timeout} s); so far {bytes(self.buffer[self.at:][:200])!r}"
            raise Disconnected(f"{said}; threads of the server: {threads_of(self.pid)}" if tell and self.pid else said) from error
        except OSError as error:
            raise Disconnected(f"recv: {error}") from error
        if not data:
            raise Disconnected(f"closed by the server; unread {bytes(self.buffer[self.at:][:200])!r}")
        if self.at > RECV_BYTES:
            del self.buffer[:self.at]
            self.at = 0
        self.buffer += data

    def read_raw(self, timeout=None):
        """The bytes of the next reply or push."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while (end := reply_end(self.buffer, self.at)) < 0:
            self.fill(deadline, tell=timeout is None)
        raw = bytes(self.buffer[self.at:end])
        self.at = end
        return raw

    def read_bytes(self, count):
        deadline = time.monotonic() + self.timeout
        while len(self.buffer) < self.at + count:
            self.fill(deadline, tell=True)
        self.at += count
        return bytes(self.buffer[self.at - count:self.at])

    def read_all(self):
        """What the server still says until it closes."""
        deadline = time.monotonic() + self.timeout
        try:
            while True:
                self.fill(deadline)
        except Disconnected as error:
            if "closed" not in str(error) and "reset" not in str(error):
                raise
        data = bytes(self.buffer[self.at:])
        self.at = len(self.buffer)
        return data

    def pipeline_raw(self, commands):
        """Sends all, then reads one reply for each."""
        self.send(b"".join(encode(command) for command in commands))
        return [self.read_raw() for _ in commands]

    def call_raw(self, *args):
        self.send(encode(args))
        return self.read_raw()

    def call_node(self, *args):
        return parse(self.call_raw(*args))

    def call(self, *args):
        """The value, as Python sees it; an error reply is raised."""
        value = to_python(self.call_node(*args))
        if isinstance(value, ReplyError):
            raise value
        return value

    def pipeline(self, commands):
        """The values; error replies are ReplyError objects among them."""
        return [to_python(parse(raw)) for raw in self.pipeline_raw(commands)]
