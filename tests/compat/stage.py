"""Several clients of one server in a scripted order, some of them waiting in blocking commands.

A step sends one command and then waits until nothing moves any more: every client that was sent a command has its
reply or is one of those that INFO counts as blocked. So who waits, and since when, is the same on every server.
"""
import time

from moonlib.resp import Disconnected, encode

SETTLE_SECONDS_MAX = 10.0


class Stage:
    def __init__(self, server, clients, resp=2):
        self.server, self.resp = server, resp
        self.control = server.client()
        self.control.call("FLUSHALL")
        self.clients = [server.client(resp=resp) for _ in range(clients)]
        self.ids = [client.call("CLIENT", "ID") for client in self.clients]
        self.owed = {}  # replies still to come, by index; who is owed some waits

    @property
    def waits(self):
        return set(self.owed)

    def close(self):
        for client in [*self.clients, self.control]:
            client.close()

    def blocked(self):
        for line in self.control.call("INFO", "clients").split(b"\r\n"):
            if line.startswith(b"blocked_clients:"):
                return int(line.split(b":")[1])
        raise AssertionError("no blocked_clients in INFO")

    def step(self, index, *commands, until_all=False):
        """Sends to one client that does not wait (several: in one packet). What came, by client: [(index, raw)]. until_all:
        nobody waits for long."""
        assert index not in self.waits, commands
        self.clients[index].send(b"".join(map(encode, commands)))
        self.owed[index] = len(commands)
        return self.settle(until_all)

    def let_go(self, index, *how):
        """CLIENT UNBLOCK by the control connection: its reply counts as one of client -1."""
        done = self.control.call("CLIENT", "UNBLOCK", self.ids[index], *how)
        return [(-1, done), *self.settle()]

    def settle(self, until_all=False):
        came, quiet = [], 0
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while time.monotonic() < deadline:
            for i in sorted(self.owed):
                while self.owed[i] and (raw := self.take(i)) is not None:
                    came.append((i, raw))
                    self.owed[i] -= 1
            self.owed = {i: n for i, n in self.owed.items() if n}
            quiet = quiet + 1 if self.at_rest() and not (until_all and self.owed) else 0
            # Somebody may wait again before the replies to what he sent in between have left.
            if quiet > (2 if any(n > 1 for n in self.owed.values()) or len(came) > 2 else 0):
                return sorted(came, key=lambda reply: reply[0])
            time.sleep(0.0005)
        raise AssertionError(f"no rest: owed {self.owed}, blocked {self.blocked()}, came {came}")

    def at_rest(self):
        """What a command over several shards made ready is served by each shard before anything else: DBSIZE asks all."""
        if len(self.owed) != self.blocked():
            return False
        self.control.call("DBSIZE")
        return len(self.owed) == self.blocked()

    def take(self, index):
        """A reply that is there already, or None."""
        try:
            return self.clients[index].read_raw(timeout=0.0)
        except Disconnected as error:
            if "no answer" not in str(error):
                raise AssertionError(f"client {index}: {error}") from error
            return None
