"""A node of two shards, with connections whose shard is known, and keys. Its node has DEBUG."""
import select
import socket
import time

from moonlib.resp import encode
from moonlib.slots import key_on

DEBUG = ("--enable-debug-command", "yes")
NAP = 0.6  # of a shard that stands still


def shard_of_conn(sleeper, askers, shards):
    """The shard that `sleeper` lives on, while the askers, one for each shard, live on others: the one whose keys are not
    heard of while it sleeps. On a machine that is busy more than one may be late, or the sleep: then it is tried again."""
    while True:
        sleeper.send(encode(["DEBUG", "SLEEP", "0.2"]))
        time.sleep(0.02)
        for shard, asker in enumerate(askers):
            asker.send(encode(["GET", key_on(shard, shards)]))
        silent = dict(enumerate(askers))
        while sleeper.socket not in (heard := select.select([sleeper.socket, *(c.socket for c in silent.values())], [], [])[0]):
            silent = {shard: c for shard, c in silent.items() if c.socket not in heard}
        for c in (sleeper, *askers):
            c.read_raw()
        if len(silent) == 1:
            return next(iter(silent))


class Pair:
    def __init__(self, node):
        self.node = node
        self.a, self.a2 = key_on(0, 2, "a"), key_on(0, 2, "other-a")
        self.b, self.b2 = key_on(1, 2, "b"), key_on(1, 2, "other-b")
        self.conns = [node.client() for _ in range(4)]  # dealt in turn
        # After two pairs it begins anew with the shard of the first.
        self.next_shard = shard_of_conn(self.conns[0], self.conns[1::2], 2)

    def on(self, shard):
        """A new connection that lives on this shard."""
        while True:
            c, lives_on = self.node.client(), self.next_shard
            self.conns.append(c)
            self.next_shard = 1 - self.next_shard
            if lives_on == shard:
                return c

    def stop(self, shard):
        """The shard does nothing for NAP seconds. Until its thread has woken for that it is lent, and asked again."""
        c, probe = self.on(shard), self.on(1 - shard)
        c.send(encode(["DEBUG", "SLEEP", str(NAP)]))
        asked = True
        while asked:
            probe.send(encode(["GET", (self.a, self.b)[shard]]))
            asked = has_reply(probe, 0.05)
            if asked:
                probe.read_raw()
        return c

    def close(self):
        for c in self.conns:
            c.close()


def has_reply(conn, seconds=0.0):
    try:
        conn.socket.settimeout(max(seconds, 0.001))
        return conn.at < len(conn.buffer) or bool(conn.socket.recv(1, socket.MSG_PEEK))
    except socket.timeout:
        return False
