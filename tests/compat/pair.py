"""Runs the same commands on the reference and on Moon and finds where they part.

Commands go out in batches to both at once. Those whose reply is drawn by chance, comes in portions or
needs the type of its key to be judged run alone (ALONE below): their reply is checked against what the
reference holds, and where chance changed the data (SPOP) the reference is made to follow Moon.
"""
import collections
import time

import compare
from moonlib.resp import Disconnected, encode_one, parse

SCAN_CALLS_MAX = 20000
DEATH_SECONDS_MAX = 5.0
DATABASES = range(4)  # as many as generators name
LISTPACK_ENTRIES_MAX, LISTPACK_BYTES_MAX = 128, 64

Mismatch = collections.namedtuple("Mismatch", "index command oracle moon why")


class Died(Exception):
    """The subject closed the connection or hung."""


def name_of(command):
    return encode_one(command[0]).decode("latin-1").upper()


class Pair:
    """`oracle` and `subject` are servers (moonlib.server). `start_subject` replaces one that died."""

    def __init__(self, oracle, subject, resp, start_subject=None, timeout=5.0, batch=64):
        self.oracle, self.subject, self.resp, self.timeout = oracle, subject, resp, timeout
        self.start_subject, self.batch = start_subject, batch
        self.last_words = ""
        self.connect()

    def connect(self):
        self.o = self.oracle.client(resp=self.resp, timeout=self.timeout)
        self.m = self.subject.client(resp=self.resp, timeout=self.timeout)

    def close(self):
        self.o.close()
        self.m.close()

    def revive(self):
        """After a death: what the log said last is kept for the report."""
        self.close()
        if self.died_soon():
            self.last_words = self.subject.log_tail()
            self.subject.stop()
            if self.start_subject is None:
                raise Died(self.last_words)
            self.subject = self.start_subject()
        self.connect()

    def died_soon(self):
        """A process that ends closes its connections first."""
        deadline = time.monotonic() + DEATH_SECONDS_MAX
        while self.subject.is_alive() and time.monotonic() < deadline:
            try:
                self.subject.client(timeout=1.0).call("PING")
                return False
            except (OSError, Disconnected):
                time.sleep(0.01)
        return not self.subject.is_alive()

    def reset(self):
        try:
            self.empty()
        except Disconnected:  # of the end of a run before, seen only now
            self.revive()
            self.empty()

    def empty(self):
        for client in (self.o, self.m):
            client.call("FLUSHALL")
            client.call("SELECT", 0)

    # ---- running

    def both(self, commands):
        """Raw replies of both, commands overlapping in time."""
        data = b"".join(map(encode_command, commands))
        self.o.send(data)
        try:
            self.m.send(data)
            moon = [self.m.read_raw() for _ in commands]
        except (Disconnected, ValueError) as error:  # gone, silent, or not RESP
            raise Died(str(error)) from error
        return [self.o.read_raw() for _ in commands], moon

    def run(self, commands):
        """The first Mismatch, or None. After one the two hold different data: reset()."""
        batch = []
        for index, command in enumerate(commands):
            alone = ALONE.get(name_of(command))
            if alone is None:
                batch.append(command)
                if len(batch) < self.batch:
                    continue
            found = self.run_batch(batch, index + (alone is None))
            batch = []
            if found is None and alone is not None:
                found = self.run_alone(alone, command, index)
            if found is not None:
                return found
        return self.run_batch(batch, len(commands))

    def run_batch(self, batch, end):
        """`end`: index behind the batch's last command."""
        if not batch:
            return None
        try:
            oracle, moon = self.both(batch)
        except Died as died:
            self.revive()
            return Mismatch(end - 1, batch[-1], b"", b"", f"died, or hung: {died}")
        for i, command in enumerate(batch):
            if not compare.same_reply(name_of(command), oracle[i], moon[i]):
                return Mismatch(end - len(batch) + i, command, oracle[i], moon[i], "replies differ")
        return None

    def run_alone(self, check, command, index):
        try:
            (oracle,), (moon,) = self.both([command])
            why = check(self, command, oracle, moon)
        except (Died, Disconnected) as died:
            self.revive()
            return Mismatch(index, command, b"", b"", f"died, or hung: {died}")
        return Mismatch(index, command, oracle, moon, why) if why else None

    # ---- all that is stored

    def compare_data(self):
        """What differs in the stored data, as text, or None."""
        try:
            return self.compare_databases()
        except (Disconnected, ValueError) as error:
            self.revive()
            return f"db ? key ?: died, or hung: {error}"

    def compare_databases(self):
        for db in DATABASES:
            for client in (self.o, self.m):
                client.call("SELECT", db)
            oracle, moon = dump(self.o), dump(self.m)
            for client in (self.o, self.m):
                client.call("SELECT", 0)
            for key in sorted(set(oracle) | set(moon)):
                why = compare_key(oracle.get(key), moon.get(key))
                if why:
                    return f"db {db} key {key!r}: {why}"
        return None


def encode_command(command):
    words = [encode_one(word) for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


# ---- commands that run alone: check(pair, command, oracle_raw, moon_raw) → why not, or None

def shapes_differ(oracle, moon):
    """Two drawn replies that cannot both be right, whatever was drawn."""
    if oracle.kind != moon.kind:
        return "replies are of different types"
    if oracle.is_error:
        return None if oracle == moon else "errors differ"
    if (oracle.held is None) != (moon.held is None):
        return "one is null"
    if oracle.is_aggregate and len(oracle.held) != len(moon.held):
        return f"{len(oracle.held)} and {len(moon.held)} elements"
    return None


def elements(node):
    return node.held if node.is_aggregate else [node]


def drawn_from(moon, population, distinct):
    """`moon` and `population` are lists of values."""
    strange = [item for item in moon if item not in population]
    if strange:
        return f"drew what is not there: {strange[:3]!r}"
    if distinct and len(set(moon)) != len(moon):
        return "drew the same twice"
    return None


def is_positive(command, at):
    """The count of a RANDMEMBER: without sign all drawn are different."""
    return len(command) <= at or not encode_one(command[at]).startswith(b"-")


def check_spop(pair, command, oracle_raw, moon_raw):
    oracle, moon = parse(oracle_raw), parse(moon_raw)
    why = shapes_differ(oracle, moon)
    if why or oracle.is_error or oracle.held is None or not elements(oracle):
        return why
    key = command[1]
    popped_o = [node.held for node in elements(oracle)]
    popped_m = [node.held for node in elements(moon)]
    if not pair.o.call("EXISTS", key):
        return None if set(popped_o) == set(popped_m) else "emptied the set, but popped something else"
    pair.o.call("SADD", key, *popped_o)
    if not all(pair.o.call("SMISMEMBER", key, *popped_m)):
        return "popped what was not in the set"
    if pair.o.call("SREM", key, *popped_m) != len(popped_m):
        return "popped the same twice"
    return None


def check_srandmember(pair, command, oracle_raw, moon_raw):
    oracle, moon = parse(oracle_raw), parse(moon_raw)
    why = shapes_differ(oracle, moon)
    if why or oracle.is_error or oracle.held is None:
        return why
    members = set(pair.o.call("SMEMBERS", command[1]))
    return drawn_from([node.held for node in elements(moon)], members, is_positive(command, 2))


def pairs_drawn(node):
    """[(first, second), …] of a flat RESP2 or a nested RESP3 reply."""
    if node.held and node.held[0].is_aggregate:
        return [tuple(item.held) for item in node.held]
    return in_flat_pairs(node)


def in_flat_pairs(node):
    return list(zip(node.held[::2], node.held[1::2]))


def check_hrandfield(pair, command, oracle_raw, moon_raw):
    oracle, moon = parse(oracle_raw), parse(moon_raw)
    why = shapes_differ(oracle, moon)
    if why or oracle.is_error or oracle.held is None:
        return why
    stored = dict(in_flat_pairs(pair.o.call_node("HGETALL", command[1])))
    if len(command) < 4:
        return drawn_from(elements(moon), stored, is_positive(command, 2))
    drawn = pairs_drawn(moon)
    if any(stored.get(field) != value for field, value in drawn):
        return "a field with another value"
    return drawn_from([field for field, _ in drawn], stored, is_positive(command, 2))


def check_zrandmember(pair, command, oracle_raw, moon_raw):
    oracle, moon = parse(oracle_raw), parse(moon_raw)
    why = shapes_differ(oracle, moon)
    if why or oracle.is_error or oracle.held is None:
        return why
    stored = scores(pair.o.call_node("ZRANGE", command[1], 0, -1, "WITHSCORES"))
    if len(command) < 4:
        return drawn_from([node.held for node in elements(moon)], stored, is_positive(command, 2))
    drawn = [(member.held, float(score.held)) for member, score in pairs_drawn(moon)]
    if any(stored.get(member) != score for member, score in drawn):
        return "a member with another score"
    return drawn_from([member for member, _ in drawn], stored, is_positive(command, 2))


def scores(node):
    return {member.held: float(score.held) for member, score in pairs_drawn(node)}


def check_randomkey(pair, _, oracle_raw, moon_raw):
    oracle, moon = parse(oracle_raw), parse(moon_raw)
    why = shapes_differ(oracle, moon)
    if why or oracle.is_error or oracle.held is None:
        return why
    return drawn_from([moon.held], pair.o.call("KEYS", "*"), True)


def scan_all(client, command, first, cursor_at):
    """All elements of a scan that began with reply `first`."""
    items, reply = [], first
    for _ in range(SCAN_CALLS_MAX):
        cursor = reply.held[0].held
        items += reply.held[1].held
        if cursor == b"0":
            return items
        reply = client.call_node(*command[:cursor_at], cursor, *command[cursor_at + 1:])
        if reply.is_error:
            raise Disconnected(f"the cursor {cursor!r} that it gave was refused: {reply.held!r}")
    raise Disconnected(f"a scan did not end in {SCAN_CALLS_MAX} calls")


def cursor_fact(command, cursor_at):
    cursor = encode_one(command[cursor_at]) if len(command) > cursor_at else b"none"
    return "lax cursor" if cursor == b"" or cursor[:1] == b"-" else "cursor"


def scan_of(kind):
    cursor_at = 1 if kind == "keys" else 2

    def check(pair, command, oracle_raw, moon_raw):
        oracle, moon = parse(oracle_raw), parse(moon_raw)
        why = shapes_differ(oracle, moon)
        if why and compare.known(cursor_fact(command, cursor_at), oracle, moon):
            return None
        if why or oracle.is_error:
            return why
        if encode_one(command[cursor_at]) != b"0":
            return None  # a cursor that nobody gave: any portion is right
        found_o = scan_all(pair.o, command, oracle, cursor_at)
        found_m = scan_all(pair.m, command, moon, cursor_at)
        if kind == "pairs":
            found_o, found_m = (set(zip(f[::2], f[1::2])) for f in (found_o, found_m))
        if kind == "scores":
            found_o, found_m = ({(m.held, float(s.held)) for m, s in zip(f[::2], f[1::2])} for f in (found_o, found_m))
        missing, extra = set(found_o) - set(found_m), set(found_m) - set(found_o)
        return f"missing {sorted(missing, key=repr)[:3]!r}, extra {sorted(extra, key=repr)[:3]!r}" if missing or extra else None
    return check


def check_object(pair, command, oracle_raw, moon_raw):
    if compare.same_reply("OBJECT", oracle_raw, moon_raw):
        return None
    oracle, moon = parse(oracle_raw), parse(moon_raw)
    word = encode_one(command[1]).upper() if len(command) == 3 else b""
    if word in (b"REFCOUNT", b"IDLETIME") and pair.o.call("OBJECT", "ENCODING", command[2]) == b"int":
        return None if compare.known("small integer", oracle, moon) else "replies differ"
    if word != b"ENCODING" or oracle.kind != "$" or moon.kind != "$" or None in (oracle.held, moon.held):
        return "replies differ"
    type_name = pair.o.call("TYPE", command[2]).decode()
    if not compare.same_encoding(type_name, oracle.held, moon.held):
        return f"encodings of a {type_name} differ"
    if type_name == "set" and moon.held == b"listpack":
        members = pair.o.call("SMEMBERS", command[2])
        if len(members) > LISTPACK_ENTRIES_MAX or max(map(len, members)) > LISTPACK_BYTES_MAX:
            return "too large for a listpack"
    return None


ALONE = {
    "SPOP": check_spop, "SRANDMEMBER": check_srandmember, "HRANDFIELD": check_hrandfield,
    "ZRANDMEMBER": check_zrandmember, "RANDOMKEY": check_randomkey, "SCAN": scan_of("keys"),
    "SSCAN": scan_of("members"), "HSCAN": scan_of("pairs"), "ZSCAN": scan_of("scores"), "OBJECT": check_object,
}

# ---- the whole data set

CONTENTS = {
    b"string": ("GET",), b"hash": ("HGETALL",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"), b"stream": ("XRANGE", "-", "+"),
}
ORDERED_ENCODINGS = {b"listpack", b"intset"}  # of hashes and sets: order of insertion, order of value

Stored = collections.namedtuple("Stored", "type encoding pttl content")


def dump(client):
    """{key: Stored} of the selected database."""
    keys = [node.held for node in client.call_node("KEYS", "*").held]
    facts = [client_nodes(client, [(*head, key) for key in keys]) for head in (("TYPE",), ("OBJECT", "ENCODING"), ("PTTL",))]
    reads = [(CONTENTS[kind.held][0], key, *CONTENTS[kind.held][1:]) for key, kind in zip(keys, facts[0])]
    contents = client_nodes(client, reads)
    return {key: Stored(facts[0][i].held, facts[1][i].held, facts[2][i], contents[i]) for i, key in enumerate(keys)}


def client_nodes(client, commands):
    return [parse(raw) for raw in client.pipeline_raw(commands)]


def compare_key(oracle, moon):
    if oracle is None or moon is None:
        return "only Moon has it" if oracle is None else "Moon lacks it"
    if oracle.type != moon.type:
        return f"type {oracle.type!r}, Moon {moon.type!r}"
    if not compare.same_encoding(oracle.type.decode(), oracle.encoding, moon.encoding):
        return f"encoding {oracle.encoding!r}, Moon {moon.encoding!r}"
    if not compare.RULES["PTTL"](oracle.pttl, moon.pttl):
        return f"PTTL {oracle.pttl!r}, Moon {moon.pttl!r}"
    ordered = oracle.encoding == moon.encoding and oracle.encoding in ORDERED_ENCODINGS
    if ordered or oracle.type not in (b"hash", b"set"):
        same = compare.same_tree(oracle.content, moon.content)
    else:
        same = (compare.same_pairs if oracle.type == b"hash" else compare.same_bag)(oracle.content, moon.content)
    return None if same else f"content {str(oracle.content)[:300]}, Moon {str(moon.content)[:300]}"
