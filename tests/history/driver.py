"""Clients against a running server, in several processes, and the history of what they asked and were told.

Each process serves its connections with one poll loop and stamps an operation with CLOCK_MONOTONIC before it is
sent and behind the recv that completed its reply: the true moments lie inside. A connection that the server closes
leaves its last pipeline without replies.
"""
import gc
import multiprocessing
import select
import socket
import struct
import time
import traceback

from linear import Op
from model import Err, Exec, shape, value_read, reader_of
from workload import Session, type_of

RECV_BYTES = 1 << 16
SILENT_SECONDS_MAX = 20.0
PROCESS_SECONDS_MAX = 60.0
STOPS = "the server is shutting down"
FORK = multiprocessing.get_context("fork")


class Incomplete(Exception):
    pass


class Hung(Exception):
    """A reply did not come."""


def encode(words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else word.encode()
        out.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(out)


def parse(raw, at):
    """(value, where the next begins)"""
    end = raw.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, line, at = raw[at:at + 1], raw[at + 1:end], end + 2
    if kind == b":":
        return int(line), at
    if kind == b"+":
        return line.decode(), at
    if kind == b"-":
        return Err(line.decode("utf-8", "replace")), at
    count = int(line)
    if count < 0:
        return None, at
    if kind == b"$":
        if len(raw) < at + count + 2:
            raise Incomplete
        return raw[at:at + count], at + count + 2
    items = []
    for _ in range(count):
        item, at = parse(raw, at)
        items.append(item)
    return items, at


class Connection:
    """One of a client's, and those that follow it when it left in the middle of a pipeline."""

    def __init__(self, port, session):
        self.port, self.history, self.failure = port, [], None
        self.open(session)

    def open(self, session):
        self.session, self.conn, self.steps_of = session, session.conn, session.batches()
        self.batch, self.raw, self.at = None, b"", 0
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=SILENT_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, answer=None):
        """Sends the next pipeline. False: it went away, and another took its place."""
        self.batch = self.steps_of.send(answer)
        self.replies, self.partly = [], []
        words = []
        for step in self.batch:
            if isinstance(step.command, Exec):
                words += [("MULTI",), *step.command.commands, ("EXEC",)]
            else:
                words.append(step.command)
        data = b"".join(map(encode, words))
        self.sent = time.monotonic_ns()
        if self.session.wants_to_leave():
            self.leave(data)
            return False
        self.socket.sendall(data)
        return True

    def leave(self, data):
        rng = self.session.rng
        self.socket.sendall(data[:len(data) if rng.random() < 0.5 else rng.randrange(len(data))])
        if rng.random() < 0.5:  # a reset instead of an end
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end()
        self.open(self.session.next())

    def read(self):
        """True when the pipeline is answered."""
        data = self.socket.recv(RECV_BYTES)
        now = time.monotonic_ns()
        if not data:
            raise ConnectionResetError("closed by the server")
        self.raw = self.raw[self.at:] + data
        self.at = 0
        try:
            while len(self.replies) < len(self.batch):
                value, self.at = parse(self.raw, self.at)
                self.take(value, now)
        except Incomplete:
            return False
        self.answered = now
        return True

    def take(self, value, now):
        step = self.batch[len(self.replies)]
        if isinstance(step.command, Exec):
            self.partly.append(value)
            if len(self.partly) < len(step.command.commands) + 2:
                return
            # What queueing refused says more than the EXECABORT that follows.
            value = next((x for x in self.partly if isinstance(x, Err)), value)
            self.partly = []
        value = shape(step.command, value)
        self.replies.append(value)
        if isinstance(value, Err) and STOPS in value.text:
            return  # refused, so it is no part of the history
        if step.group is not None:
            self.history.append((step.group, Op(self.conn, self.sent, now, step.command, value, step.since)))
        elif value != "OK":
            self.failure = f"{step.command}: {value}"

    def end(self):
        """The server is gone: what was not answered may have happened."""
        for step in (self.batch or [])[len(self.replies):]:
            if step.group is not None:
                self.history.append((step.group, Op(self.conn, self.sent, None, step.command, None)))
        self.batch = None
        self.socket.close()


def serve(connections, deadline):
    """Until the deadline or until the server closed all. True: it closed some."""
    poll, by_fd, lost = select.poll(), {}, False

    def go_on(connection, answer):
        """Begins the next pipeline."""
        while time.monotonic() < deadline and not connection.begin(answer):
            answer = None
        if connection.batch is not None and len(connection.replies) < len(connection.batch):
            by_fd[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.POLLIN)

    def attempt(connection, step, *args):
        nonlocal lost
        try:
            step(connection, *args)
        except OSError:
            lost = True
            connection.end()

    def come(connection):
        """Something to read; the descriptor is watched on until the pipeline is answered."""
        fd = connection.socket.fileno()
        try:
            whole = connection.read()
        except OSError:
            poll.unregister(fd)
            del by_fd[fd]
            raise
        if whole:
            poll.unregister(fd)
            del by_fd[fd]
            go_on(connection, (connection.sent, connection.answered, connection.replies))

    for connection in connections:
        attempt(connection, go_on, None)
    while by_fd:
        ready = poll.poll(SILENT_SECONDS_MAX * 1000)
        if not ready:
            unanswered = [(c.conn, c.batch[len(c.replies)].command) for c in by_fd.values()]
            raise Hung(f"no answer in {SILENT_SECONDS_MAX} s to {unanswered}")
        for fd, _ in ready:
            attempt(by_fd[fd], come)
    return lost


def client_process(pipe, port, sessions, seconds):
    gc.disable()  # histories only grow
    try:
        connections = [Connection(port, session) for session in sessions]
    except OSError:  # killed already
        pipe.send(([], True, []))
        return
    try:
        lost = serve(connections, time.monotonic() + seconds)
        failures = [c.failure for c in connections if c.failure]
        history = [entry for connection in connections for entry in connection.history]
        pipe.send((history, lost, failures))
    except Exception:  # told where the test sees it
        pipe.send(([], False, [traceback.format_exc()]))
    finally:
        for connection in connections:
            connection.socket.close()


def play(port, groups, kinds, seed, lap, seconds, setup, during=None):
    """`kinds`: what is asked about; `setup`: (processes, connections of each, depth). `during(seconds)` runs meanwhile, here. Returns (a list of operations
    per group, whether connections were lost, failures)."""
    processes, each, depth = setup
    clients = processes * each
    children = []
    for number in range(processes):
        sessions = [Session(seed, groups, number * each + i, clients, lap, depth, kinds) for i in range(each)]
        mine, theirs = FORK.Pipe(False)
        child = FORK.Process(target=client_process, args=(theirs, port, sessions, seconds), daemon=True)
        child.start()
        theirs.close()
        children.append((child, mine))
    if during:
        during(seconds)
    histories, any_lost, failures = [[] for _ in groups], False, []
    for child, pipe in children:
        if not pipe.poll(seconds + PROCESS_SECONDS_MAX):
            child.kill()
            raise Hung(f"a client process did not end in {PROCESS_SECONDS_MAX} s")
        history, lost, failed = pipe.recv()
        child.join()
        any_lost, failures = any_lost or lost, failures + failed
        for group, op in history:
            histories[group].append(op)
    return histories, any_lost, failures


def read_back(client, groups):
    """All that is stored in these groups: per group a dict."""
    stored = []
    for group in groups:
        readers = [reader_of(type_of(key), key) for key in group.keys]
        replies = client.pipeline(readers)
        values = [value_read(reader, shape(reader, reply)) for reader, reply in zip(readers, replies)]
        stored.append({key: value for key, value in zip(group.keys, values) if value is not None})
    return stored
