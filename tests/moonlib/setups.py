"""Which numbers of shards a test runs on with which backend.

A test of what a backend does itself (bytes in pieces, readers that are slow, connections that end, shards that sleep)
runs on each of them with every number of shards. What lies above - commands, transactions, waiters, scripts, the log -
is the same code whoever brought the bytes; a test of it runs on every number of shards and on both backends, not on all
pairs. So of several parameters every two values meet, and not every three."""

IOS = ("epoll", "uring")


def alternating(*choices, first="epoll"):
    """Each of them, with one backend and the other in turn."""
    begin = IOS.index(first)
    return [(choice, IOS[(begin + i) % 2]) for i, choice in enumerate(choices)]


def meeting(one, other):
    """All pairs of the two with a backend, so that both backends meet every value."""
    return [(a, b, IOS[(i + k) % 2]) for i, a in enumerate(one) for k, b in enumerate(other)]


def name_of(setup):
    return "-".join(map(str, setup))
