"""A node of two shards, with connections whose shard is known, and keys. Its node has DEBUG."""
import socket
import time

from moonlib.resp import encode
from moonlib.slots import key_on

DEBUG = ("--enable-debug-command", "yes")
NAP = 0.6  # of a shard that stands still


class Pair:
    def __init__(self, node):
        self.node = node
        self.conns = []
        self.a, self.a2 = key_on(0, 2, "a"), key_on(0, 2, "other-a")
        self.b, self.b2 = key_on(1, 2, "b"), key_on(1, 2, "other-b")
        self.next_shard = None
        first, second = node.client(), node.client()  # dealt in turn: on different shards
        self.conns += [first, second]
        first.send(encode(["DEBUG", "SLEEP", "0.2"]))
        time.sleep(0.02)
        began = time.monotonic()
        second.call("GET", self.a)
        slow = time.monotonic() - began > 0.08
        first.read_raw()
        self.next_shard = 0 if slow else 1  # after a pair it begins anew with the shard of the first

    def on(self, shard):
        """A new connection that lives on this shard."""
        while True:
            c, lives_on = self.node.client(), self.next_shard
            self.conns.append(c)
            self.next_shard = 1 - self.next_shard
            if lives_on == shard:
                return c

    def stop(self, shard):
        """The shard does nothing for NAP seconds."""
        c = self.on(shard)
        c.send(encode(["DEBUG", "SLEEP", str(NAP)]))
        time.sleep(0.05)
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
