"""The checkers have teeth on the real thing: a node with one mistake planted (shard/base/planted.h) is found out, and the
same node without it is not. Those of the log that need a crash at the right moment: crash/test_halves.py."""
import os
import time

import pytest

import campaign
from campaign import Campaign, Settings, Violation, start_drawn_moon
from moonlib.planted import fixture_plant  # noqa: F401 (fixture)
from moonlib.resp import encode
from moonlib.server import start_moon
from workload import EVERYTHING

# Each is found among the first 20,000 on two cores that are free, but where twelve threads want them one in 30,000 to 60,000
# shows it, and they take longer, too: so not seconds are bounded.
OPERATIONS_MAX = int(os.environ.get("MOON_PLANTED_OPERATIONS", "600000"))
# By mistake: the kinds of operations that would show it, and the numbers of shards.
MISTAKES = {
    "skip-lock": ({"tuple", "versions"}, (2, 4)),
    "run-before-grant": ({"tuple", "rename"}, (2, 4)),
    "leave-early": ({"tuple", "rename"}, (2, 4)),
    "collect-unchecked": ({"tuple", "versions"}, (2, 4)),
    "collect-blind": ({"tuple", "versions"}, (2, 4)),
    "intent-unstamped": ({"tuple", "versions"}, (2, 4)),
    "lose-part": ({"owned"}, (2, 4)),
    "watch-unchecked": ({"bank", "counter"}, (1, 4)),
}


def laps_of(folder, kinds, shards):
    places = {kind: place if kind in kinds | {"register"} else None for kind, place in EVERYTHING.items()}

    def settings(rng):
        return Settings(rng.choice(shards), rng.choice(["uring", "epoll"]), rng.choice(["always", "everysec"]))

    return Campaign(1, folder / "data", places, start_drawn_moon, settings, (0.3, 0.6), ("kill", "stay"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(plant, tmp_path, monkeypatch, mistake):
    plant(mistake)
    monkeypatch.setattr(campaign, "FAILED_FOLDER", str(tmp_path / "failed"))
    laps = laps_of(tmp_path, *MISTAKES[mistake])
    with pytest.raises(Violation, match="not linearizable|cycle") as found:
        laps.run(0, OPERATIONS_MAX)
    print(f"{laps.summary()}\n{found.value}")


def test_without_one_nothing_is_found(plant, tmp_path):
    plant(None)
    laps = laps_of(tmp_path, set().union(*(kinds for kinds, _ in MISTAKES.values())), (1, 2, 4))
    laps.run(1)  # three laps at least
    print(laps.summary())


# ---- turns of those who wait: no order of operations tells them

def served(node):
    """Who got which element: five wait one after the other, then five come."""
    with node.client() as control:
        waiting = []
        for number in range(5):
            waiting.append(node.client())
            waiting[-1].send(encode(["BLPOP", "queue", 0]))
            deadline = time.monotonic() + 5
            while f"blocked_clients:{number + 1}\r".encode() not in control.call("INFO", "clients"):
                assert time.monotonic() < deadline
        control.call("RPUSH", "queue", *range(5))
        return [int(client.read_raw().split(b"\r\n")[4]) for client in waiting]


@pytest.mark.parametrize("mistake", [None, "last-waiter-first"])
def test_those_who_wait_are_served_in_turn(plant, mistake):
    plant(mistake)
    with start_moon(shards=2) as node:
        turns = served(node)
    assert turns == (list(range(5)) if mistake is None else list(reversed(range(5))))
