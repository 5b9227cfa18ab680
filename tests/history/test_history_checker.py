"""The checkers have teeth: each bug planted in a fake server is found, and without one nothing is."""
import itertools
import random

import pytest

import fake
import linear
import model
from campaign import judge
from workload import EVERYTHING, make_groups

SEEDS_MAX = 40
EVENTS = 600


def laps(seed, kinds, bug):
    """Two laps with a crash behind each: what the checkers say of them, per group."""
    kinds = kinds | {"register"} if "owned" in kinds else kinds  # all connections need something to do
    groups = [group for group in make_groups(EVERYTHING, copies=1) if group.kind in kinds][:4]
    world = fake.World(seed, groups, bug=bug)
    stored = {}
    for _ in range(2):
        initial = stored
        histories = world.play(EVENTS)
        stored = world.crash()
        for group, ops in zip(groups, histories):
            yield judge((group.kind, group.keys, held(initial, group), ops, held(stored, group)))


def held(stored, group):
    return {key: stored[key] for key in group.keys if key in stored}


@pytest.mark.parametrize("bug", fake.BUGS)
def test_a_planted_bug_is_found(bug):
    for seed in range(SEEDS_MAX):
        found = [text for text in laps(seed, fake.BUGS[bug].kinds, bug) if text]
        if found:
            assert not any("UNDECIDED" in text for text in found), found
            print(f"seed {seed}\n" + "\n\n".join(found))
            return
    pytest.fail(f"not found in {SEEDS_MAX} seeds")


@pytest.mark.parametrize("kind", EVERYTHING)
def test_a_right_server_raises_no_alarm(kind):
    for seed in range(2):
        found = [text for text in laps(seed, {kind}, None) if text]
        assert not found, f"seed {seed}: " + "\n\n".join(found)


# ---- the search beside one that tries every order

def by_all_orders(keys, ops, final):
    search = linear.Search(keys, {}, ops, final)
    told = [i for i, op in enumerate(search.ops) if op.done is not None]
    untold = [i for i, op in enumerate(search.ops) if op.done is None]
    for count in range(len(untold) + 1):
        for some in itertools.combinations(untold, count):
            if any(fits(search, order) for order in itertools.permutations(told + list(some))):
                return True
    return False


def fits(search, order):
    state = search.start
    for place, i in enumerate(order):
        earlier, later = order[:place], order[place + 1:]
        if any(search.done[j] < search.sent[i] for j in later) or any(j not in earlier for j in search.before[i]):
            return False
        state, _ = search.apply(i, state)
        if state is None:
            return False
    return search.end is None or state == search.end


def small_history(rng, group, seed):
    """A few operations, some replies of which are made wrong."""
    world = fake.World(seed, [group], clients=3, depth=2)
    while True:
        world.lap += 1
        (ops,) = world.play(rng.randint(14, 26))
        final = world.crash()
        if 3 <= len(ops) <= 6:
            break
        world.db = {}
    if rng.random() < 0.6:
        i = rng.randrange(len(ops))
        if isinstance(ops[i].reply, int):
            ops[i] = ops[i]._replace(reply=max(0, ops[i].reply + rng.choice([-1, 1])))
        elif isinstance(ops[i].reply, list):
            ops[i] = ops[i]._replace(reply=rng.sample(ops[i].reply, len(ops[i].reply)))
    return ops, final if rng.random() < 0.7 else None


@pytest.mark.parametrize("kind", ["register", "tuple", "rename", "smove"])
def test_the_search_finds_what_trying_every_order_finds(kind):
    rng, seen = random.Random(1), set()
    group = next(group for group in make_groups(EVERYTHING) if group.kind == kind)
    for seed in range(120):
        ops, final = small_history(rng, group, seed)
        right = by_all_orders(group.keys, ops, final)
        found = linear.Search(group.keys, {}, ops, final).run().ok
        assert found == right, "\n".join(linear.tell(op, 0) for op in ops) + f"\nfinal {final}"
        seen.add(right)
    assert seen == {True, False}


def test_a_search_given_up_is_told():
    ops = [linear.Op(conn, 1, 100, ("SET", b"k", b"%d" % conn), "OK") for conn in range(8)]
    ops.append(linear.Op(9, 200, 300, ("GET", b"k"), b"9"))
    assert linear.check([b"k"], {}, ops, steps_max=20).startswith("UNDECIDED")
    assert linear.check([b"k"], {}, ops).startswith("not linearizable")
    assert model.run({}, ("GET", b"k")) is None
