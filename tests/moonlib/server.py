"""Starts and stops servers for tests: Moon, and redis-server as the reference.

    with start_moon(shards=2) as moon, moon.client() as c:
        c.call("SET", "k", "v")

Programs come from MOON_BIN and MOON_REFERENCE_BIN (tests/README.md says what unset means).
"""
import ctypes
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from moonlib.resp import Client, Disconnected, ReplyError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 10
LOG_TAIL_BYTES = 4000
PR_SET_PDEATHSIG = 1
SANITIZERS_SAY = re.compile(r"(WARNING: ThreadSanitizer|ERROR: AddressSanitizer|runtime error:).*", re.DOTALL)
LIBC = ctypes.CDLL(None)
PORTS_FIRST, PORTS_COUNT = map(int, os.environ.get("MOON_TEST_PORTS", "11000 10000").split())
PORTS_TAKEN = itertools.count(random.randrange(PORTS_COUNT))


def die_with_parent():
    """In the child: a test run that is killed leaves no servers behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class StartFailed(Exception):
    pass


def moon_binary():
    return os.environ.get("MOON_BIN") or os.path.join(ROOT, "build", "release", "moon")


def reference_binary():
    """redis-server. Debian's redis-tools holds it under the name redis-check-rdb; by the name it is
    called with the program knows what it is."""
    given = os.environ.get("MOON_REFERENCE_BIN")
    if given and os.path.exists(given):
        return given
    link = os.path.join(ROOT, "build", "tools", "redis-server")
    if os.path.exists(link):
        return link
    for name in ("redis-server", "redis-check-rdb"):
        found = shutil.which(name)
        if found:
            os.makedirs(os.path.dirname(link), exist_ok=True)
            if not os.path.lexists(link):
                os.symlink(found, link)
            return link
    raise StartFailed("no redis-server and no redis-check-rdb: install redis-tools")


def is_free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_port():
    """It, and the port of a bus 10,000 above, lie below the ports that the kernel gives to connections: one of those
    in use or in TIME_WAIT cannot be listened on. None comes twice soon; another lane of tests/run has other ones."""
    while True:
        port = PORTS_FIRST + next(PORTS_TAKEN) % PORTS_COUNT
        if is_free(port) and is_free(port + 10000):
            return port


class Server:
    """One running process. Its folder goes with it unless it was given."""

    def __init__(self, argv, port, folder, own_folder):
        self.port, self.folder, self.own_folder = port, folder, own_folder
        self.argv = argv
        self.log_path = os.path.join(folder, "stderr.log")
        self.clients = []
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is not None and not self.is_alive():
            print(f"{self.argv[0]} is dead, status {self.process.returncode}; its log ends:\n{self.log_tail()}")
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    def is_alive(self):
        return self.process.poll() is None

    def client(self, resp=2, timeout=10.0):
        """A new connection, closed with the server at the latest."""
        client = Client(self.port, resp=resp, timeout=timeout, pid=self.pid)
        self.clients.append(client)
        return client

    def log_tail(self):
        with open(self.log_path, "rb") as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - LOG_TAIL_BYTES))
            return f.read().decode("utf-8", "replace")

    def sanitizers_report(self):
        """Of a program built with them; None: nothing found."""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            found = SANITIZERS_SAY.search(f.read())
        return found and found.group(0)[:LOG_TAIL_BYTES]

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if not self.is_alive():
                break
            try:
                with Client(self.port, timeout=1.0) as client:
                    client.call("PING")
                    return
            except ReplyError as error:
                if error.text.startswith(b"NOAUTH"):
                    return
            except (OSError, Disconnected):  # not listening yet
                pass
            time.sleep(0.01)
        status = self.process.poll()
        tail = self.log_tail()
        self.kill()
        raise StartFailed(f"{' '.join(self.argv)}\nnot ready (status {status}); its log ends:\n{tail}")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM, and SIGKILL if that is not enough. Returns the exit status."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        if self.is_alive():
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
        self.process.wait()
        report = self.sanitizers_report()
        self.forget_folder()
        assert report is None, report
        return self.process.returncode

    def kill(self):
        """SIGKILL: nothing is flushed. A given folder stays, for the next start on it."""
        if self.is_alive():
            self.signal(signal.SIGKILL)
        self.process.wait()
        self.forget_folder()

    def forget_folder(self):
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def start(argv_of, folder, port):
    """argv_of(port, folder) → argv. A port that someone took meanwhile is another try."""
    own_folder = folder is None
    if own_folder:
        folder = tempfile.mkdtemp(prefix="moon-test-")
    tries = 1 if port else 3
    for left in reversed(range(tries)):
        chosen = port or free_port()
        server = Server(argv_of(chosen, folder), chosen, folder, own_folder and not left)
        try:
            server.wait_ready()
            server.own_folder = own_folder
            return server
        except StartFailed as error:
            if left == 0 or "in use" not in str(error):
                if own_folder:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
    raise AssertionError("not reached")


def start_moon(shards=1, io=None, args=(), folder=None, port=None, appendonly="no"):
    """Moon on 127.0.0.1; `io`: epoll, uring or None for what it chooses (or MOON_TEST_IO says)."""
    io = io or os.environ.get("MOON_TEST_IO")

    def argv(chosen, where):
        return [moon_binary(), "--port", str(chosen), "--bind", "127.0.0.1", "--dir", where,
                "--shards", str(shards), "--appendonly", appendonly,
                *(["--io", io] if io else []), *map(str, args)]

    return start(argv, folder, port)


def start_oracle(args=(), folder=None, port=None):
    """redis-server without persistence."""
    binary = reference_binary()

    def argv(chosen, where):
        return [binary, "--port", str(chosen), "--bind", "127.0.0.1", "--dir", where, "--save", "",
                "--appendonly", "no", "--enable-debug-command", "yes", *map(str, args)]

    return start(argv, folder, port)
