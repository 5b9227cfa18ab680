"""Is a history of one group of keys linearizable? Groups share no keys and no operation spans two, so the whole
history is linearizable (and, operations being transactions, strictly serializable) if and only if each group's is:
Herlihy, Wing: Linearizability, TOPLAS 12(3), 1990, theorem 1.

The search is Wing and Gong's (Testing and verifying concurrent objects, JPDC 17, 1993) with Lowe's memory of
configurations seen (Testing for linearizability, CCPE 29(4), 2017): choose an operation that nothing must precede, run it on the
model, go on, go back when stuck. A configuration is the set of operations done and the state they left. Two things
keep it small: an operation that fits and whose reply says that it changed nothing is taken at once, which loses no solution, as
it only comes earlier than elsewhere; and the set is written as (all below `base`, bits from there on, bits of those without a reply).

What must precede: an operation answered before the other was sent; an earlier one of the same connection that
shares a key (between others a connection promises no order).

An operation without a reply (its server was killed) may have happened at any time after it was sent, or never; those
behind it on its connection that share a key, only if it had.
"""
import collections

import model

Op = collections.namedtuple("Op", "conn sent done command reply since", defaults=(None,))
# `done` is None if no reply came. `since`, of an EXEC behind WATCH: when WATCH was sent and answered.

STEPS_MAX = 400_000
SHORTEN_STEPS_MAX = 5_000  # per try
NEVER = float("inf")

Verdict = collections.namedtuple("Verdict", "ok decided steps path state stuck")
# path: the longest order found, as indexes; state: what it left; stuck: (index, reply expected) of who could come next


class Search:
    """Operations by index: first those with a reply, by the time they were sent, then those without."""

    def __init__(self, keys, initial, ops, final=None):
        """`initial`, `final`: dicts. `final` was read when all was quiet; None: not read."""
        self.keys, self.known_keys = tuple(keys), frozenset(keys)
        self.start = tuple(initial.get(key) for key in keys)
        self.end = None if final is None else tuple(final.get(key) for key in keys)
        told = [op for op in ops if op.done is not None]
        # Without a reply a read says nothing.
        untold = [op for op in ops if op.done is None and not model.is_read(op.command)]
        self.told = len(told)
        self.ops = sorted(told, key=lambda op: op.sent) + sorted(untold, key=lambda op: op.sent)
        self.sent = [op.sent for op in self.ops]
        self.done = [NEVER if op.done is None else op.done for op in self.ops]
        self.idle = [op.done is not None and model.changed_nothing(op.command, op.reply) for op in self.ops]
        self.before = self.find_before()
        self.awaited = {j for before in self.before for j in before}
        self.applied = {}

    def find_before(self):
        """Per operation, those of its connection that come first though they were under way at the same time."""
        before, under_way = [None] * len(self.ops), collections.defaultdict(list)
        for i in sorted(range(len(self.ops)), key=lambda i: (self.sent[i], i)):
            op = self.ops[i]
            mine = model.declared_of(op.command, self.known_keys)
            behind = [(j, keys) for j, keys in under_way[op.conn] if self.done[j] >= op.sent]
            before[i] = [j for j, keys in behind if keys & mine]
            under_way[op.conn] = behind + [(i, mine)]
        return before

    def apply(self, i, state):
        """(the state after it or None if it does not fit, the reply expected)"""
        found = self.applied.get((i, state))
        if found is None:
            found = self.applied[i, state] = self.apply_new(i, state)
        return found

    def apply_new(self, i, state):
        op = self.ops[i]
        db = {key: value for key, value in zip(self.keys, state) if value is not None}
        expected = model.run(db, op.command)
        if op.done is not None and expected != op.reply:
            refused = op.reply is None and isinstance(op.command, model.Exec) and op.command.watched
            return (state if refused else None), expected  # needless refusals: see wrong_refusals()
        after = tuple(map(db.get, self.keys))
        return (state if after == state else after), expected

    def is_ready(self, i, base, bits, extra):
        for j in self.before[i]:
            if j >= self.told:
                if not extra >> (j - self.told) & 1:
                    return False
            elif j >= base and not bits >> (j - base) & 1:
                return False
        return True

    def look(self, base, bits, extra, state, path):
        """Takes what changes nothing. Returns what is done then, and who may come next: choices (by the time of
        their replies) and those whose replies do not fit."""
        while True:
            horizon, i, choices, stuck, took = NEVER, base, [], [], False
            while i < self.told and self.sent[i] <= horizon:
                if not bits >> (i - base) & 1:
                    horizon = min(horizon, self.done[i])
                    if self.is_ready(i, base, bits, extra):
                        after, expected = self.apply(i, state)
                        if after is None:
                            stuck.append((i, expected))
                        elif self.idle[i]:
                            bits |= 1 << (i - base)
                            path, took = (i, path), True
                        else:
                            choices.append((self.done[i], i, after))
                i += 1
            while bits & 1:
                bits >>= 1
                base += 1
            if not took:
                break
        for i in range(self.told, len(self.ops)):
            if self.sent[i] <= horizon and not extra >> (i - self.told) & 1 and self.is_ready(i, base, bits, extra):
                after, _ = self.apply(i, state)
                if after != state or i in self.awaited:
                    choices.append((NEVER, i, after))
        return base, bits, path, choices, stuck

    def run(self, steps_max=STEPS_MAX):
        stack, seen, steps = [(0, 0, 0, self.start, None)], set(), 0
        best = (-1, None, self.start, [])
        while stack:
            base, bits, extra, state, path = stack.pop()
            steps += 1
            if steps > steps_max:
                return self.verdict(False, False, steps, best)
            base, bits, path, choices, stuck = self.look(base, bits, extra, state, path)
            if (base, bits, extra, state) in seen:
                continue
            seen.add((base, bits, extra, state))
            if base == self.told and self.end in (None, state):
                return Verdict(True, True, steps, [], None, [])
            count = base + bits.bit_count()
            if count > best[0]:
                best = (count, path, state, stuck)
            choices.sort(reverse=True)  # who was answered first is tried first
            for _, i, after in choices:
                if i < self.told:
                    stack.append((base, bits | 1 << (i - base), extra, after, (i, path)))
                else:
                    stack.append((base, bits, extra | 1 << (i - self.told), after, (i, path)))
        return self.verdict(False, True, steps, best)

    @staticmethod
    def verdict(ok, decided, steps, best):
        _, path, state, stuck = best
        order = []
        while path is not None:
            i, path = path
            order.append(i)
        return Verdict(ok, decided, steps, order[::-1], state, stuck)


def check(keys, initial, ops, final=None, steps_max=STEPS_MAX):
    """None if linearizable, else what to tell: text. A search given up is told too: it proves nothing."""
    search = Search(keys, initial, ops, final)
    verdict = search.run(steps_max)
    if verdict.ok:
        return wrong_refusals(keys, ops)
    if not verdict.decided:
        return f"UNDECIDED after {verdict.steps} steps: make the windows of this workload smaller"
    return explain(*shortest_failing(keys, initial, ops, final, search, verdict))


def shortest_failing(keys, initial, ops, final, search, verdict):
    """The shortest prefix in time that fails alone: what is under way at its end counts as not answered."""
    ends = sorted(op.done for op in ops if op.done is not None)
    low, high = 0, len(ends)  # high: the whole, with `final`
    while low < high:
        middle = (low + high) // 2
        cut = ends[middle]
        part = [op if op.done is not None and op.done <= cut else op._replace(done=None, reply=None)
                for op in ops if op.sent <= cut]
        shorter = Search(keys, initial, part)
        found = shorter.run(SHORTEN_STEPS_MAX)
        if found.ok or not found.decided:
            low = middle + 1
        else:
            high, search, verdict = middle, shorter, found
    return search, verdict, final if high == len(ends) else None


def wrong_refusals(keys, ops):
    """EXEC answered nil though nobody else can have touched a watched key since WATCH, or did not though somebody
    must have (the search sees values only, which may be as before): text, or None."""
    known = frozenset(keys)
    writes = [(op, model.keys_of(op.command, known)) for op in ops if not model.is_read(op.command)]
    for op in ops:
        if op.since is None or op.done is None:
            continue
        watched = {key for key, _ in op.command.watched}
        near = [other for other, touched in writes if touched & watched and other is not op
                and other.sent <= op.done and (other.done is None or other.done >= op.since[0])]
        told = "\n".join(tell(other, op.since[0]) for other in near + [op])
        if op.reply is None and not near:
            return f"EXEC was refused though nobody touched a watched key:\n{told}"
        if op.reply is not None and any(must_touch(other, watched) and other.done is not None
                                        and other.sent > op.since[1] and other.done < op.sent for other in near):
            return f"EXEC was not refused though a watched key was written between WATCH and EXEC:\n{told}"
    return None


PLAIN_WRITES = {"SET", "MSET", "INCR", "INCRBY", "DECRBY", "GETSET", "RPUSH", "LPUSH"}


def must_touch(op, watched):
    """Whether it wrote one of these keys whatever was there."""
    if isinstance(op.command, model.Exec):
        return op.reply is not None and any(must_touch(op._replace(command=one), watched) for one in op.command.commands)
    return op.command[0] in PLAIN_WRITES and not watched.isdisjoint(op.command[1:])


# ---- telling

TOLD_BEFORE = 12
SHOWN_MAX = 20  # items of a list


def explain(search, verdict, final):
    ops, origin = search.ops, min(search.sent, default=0)
    lines = [f"not linearizable; keys {', '.join(show(key) for key in search.keys)}",
             "an order as far as one can be found, its last steps:"]
    lines += [f"  {tell(ops[i], origin)}" for i in verdict.path[-TOLD_BEFORE:]]
    lines.append("which leaves " + show_state(search.keys, verdict.state))
    if verdict.stuck:
        lines.append("and now none of these fits:")
        lines += [f"  {tell(ops[i], origin)}   fits if it answered {show(expected)}" for i, expected in verdict.stuck]
    if final is not None:
        lines.append("while what was read at the end is " + show_state(search.keys, search.end))
        lines.append("though without a reply there are only:")
        lines += [f"  {tell(op, origin)}" for op in ops[search.told:]]
    return "\n".join(lines)


def show(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)) and not isinstance(value, (model.Err, model.Exec)):
        if len(value) > SHOWN_MAX:
            some = [*map(show, value[:3]), f"… {len(value)} in all …", *map(show, value[-8:])]
            return "[" + " ".join(some) + "]"
        return "[" + " ".join(map(show, value)) + "]"
    if isinstance(value, frozenset):
        return "{" + " ".join(sorted(map(show, value))) + "}"
    if isinstance(value, model.Err):
        return f"({value.text})"
    return "nil" if value is None else str(value)


def show_command(command):
    if isinstance(command, model.Exec):
        inner = "; ".join(map(show_command, command.commands))
        watch = "".join(f"WATCH {show(key)} (was {show(value)}) " for key, value in command.watched)
        return f"{watch}MULTI [{inner}] EXEC"
    return " ".join(show(word).replace("\n", " ") for word in command)


def show_state(keys, state):
    return ", ".join(f"{show(key)}={show(value)}" for key, value in zip(keys, state))


def tell(op, origin):
    """Times in µs since `origin`."""
    sent = (op.sent - origin) // 1000
    if op.done is None:
        return f"[{sent} … no reply] conn {op.conn}: {show_command(op.command)}"
    return f"[{sent} … {(op.done - origin) // 1000}] conn {op.conn}: {show_command(op.command)} → {show(op.reply)}"
