"""Draws arguments from small pools, seeded. Small, so that commands meet the same keys, fields and
members again and again; with edges in them, so that every kind of refusal is met, too.

Kinds of keys: s string, i string with a number, b large string, h hash, l list, t set, z sorted set, y sorted set of equal scores, n nothing. A key bears the letter of the kind it mostly holds. Keys with {t} lie in one slot, the
others anywhere; commands that need all keys on one shard ask for `tagged` ones.
"""
import random

KINDS = "shltz"
KEYS_PER_KIND = 3
SPREAD_KEYS = 40  # of strings only: enough for every shard to own several

VALUES = ["", "a", "b", "foo", "hello world", "0", "1", "10", "-5", "3.14", "1e5", "abc", "ABC", " 7", "7 ", "007",
          "9223372036854775807", "-9223372036854775808", "9223372036854775808", "x" * 44, "y" * 45, "z" * 64,
          "w" * 65, "v" * 200, "u" * 600, b"\x00\xff\r\n\x01", "\u00e9\u4e16", "12345678901234567890"]
FIELDS = ["f1", "f2", "f3", "f4", "f5", "1", "2", "", "long" * 20, b"\x00bin\xff"]
MEMBERS = ["a", "b", "c", "d", "e", "1", "2", "3", "-4", "5", "100000", "70000000000", "", "m" * 70, b"\xfe\x00\x0a",
           "alpha", "beta", "gamma", "delta", "01"]
INTS_EDGE = ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "abc", "", "1.5", " 1", "+1",
             "010", "-0", "99999999999999999999", "2147483648", "4294967296"]
FLOATS = ["0", "1", "-1", "2", "3", "0.5", "1.5", "2.5", "3.14", "-2.25", "10", "100", "1e3", "1e-3", "0.1", "0.2",
          "17179869184", "123456.789", "1e17", "1e21", "5e-324", "1.7976931348623157e308", "inf", "-inf", "+inf"]
FLOATS_EDGE = ["nan", "abc", "", "1e309", " 1", "1 ", "0x10", "-0", "--1", "1e", "infinity", "Inf"]
PATTERNS = ["*", "?1", "[hz]?", "{t}*", "*1", "nomatch", "h*", "[^s]1", "[s-t]*", "\\*", "*[12]", "f?", "*a*", ""]
# What may stand in the place of any argument. No small positive number: it could become a time to live.
JUNK = ["", "abc", "-1", "0", "1.5", "9223372036854775807", "-9223372036854775808", "nosuch", "*"]
JUNK_TAGGED = ["{t}junk", "{t}s1", "{t}z1"]

YEAR_2100_SECONDS = 4102444800


class Draw:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.unique = 0

    # ---- chance

    def chance(self, probability):
        return self.rng.random() < probability

    def one(self, *choices):
        return self.rng.choice(choices)

    def below(self, bound):
        return self.rng.randrange(bound)

    def maybe(self, probability, *words):
        """The words, or nothing."""
        return [w() if callable(w) else w for w in words] if self.chance(probability) else []

    def some(self, *groups, probability=0.25):
        """Some of the groups of words, in any order."""
        chosen = [g for g in groups if self.chance(probability)]
        self.rng.shuffle(chosen)
        return [w() if callable(w) else w for group in chosen for w in group]

    def several(self, draw, least=1, most=4):
        """`draw()` some times; where it returns lists, they are joined."""
        items = []
        for _ in range(self.rng.randint(least, most)):
            item = draw()
            items += item if isinstance(item, list) else [item]
        return items

    # ---- keys

    def key(self, kind, tagged=False):
        roll = self.rng.random()
        if roll > 0.97:
            kind = "n"  # seldom written
        elif roll > 0.92:
            kind = self.rng.choice(KINDS)
        return self.exactly(kind, tagged)

    def exactly(self, kind, tagged=False):
        """A key of that letter and no other."""
        name = f"{kind}{self.rng.randint(1, KEYS_PER_KIND)}"
        return "{t}" + name if tagged or self.chance(0.4) else name

    def tagged(self, kind):
        return self.key(kind, tagged=True)

    def any_key(self):
        return self.key(self.rng.choice(KINDS))

    def spread(self, kind=None):
        """A key without tag: two of them mostly lie in different slots and on different shards."""
        if self.chance(0.5):
            return f"{kind or self.rng.choice(KINDS)}{self.rng.randint(1, KEYS_PER_KIND)}"
        return f"s{self.rng.randint(1, SPREAD_KEYS)}"

    def any_tagged(self):
        return self.key(self.rng.choice(KINDS), tagged=True)

    def two_keys(self, kind=None):
        """Mostly of one kind, so that moving keys about does not mix all types."""
        if kind is not None:
            return [self.exactly(kind), self.exactly(kind)]
        kind = self.rng.choice(KINDS)
        return [self.key(kind), self.key(kind)]

    def keys(self, kinds, most=3, tagged=False):
        return self.several(lambda: self.key(self.one(*kinds), tagged), 1, most)

    def counted_keys(self, kinds, most=3, tagged=False):
        """numkeys key [key …], numkeys wrong at times."""
        keys = self.keys(kinds, most, tagged)
        count = len(keys) if self.chance(0.93) else self.one(0, -1, len(keys) + 1, len(keys) - 1, "abc", "")
        return [count, *keys]

    # ---- what keys hold

    def value(self):
        return self.rng.choice(VALUES) if self.chance(0.8) else str(self.rng.randint(-1000, 1000))

    def large(self):
        """Over what a record holds inline, or over what is sent or freed in one piece."""
        return self.one("L", "M", "N") * self.one(500, 1000, 5000, 70000)

    def field(self):
        return self.rng.choice(FIELDS)

    def member(self):
        roll = self.rng.random()
        if roll > 0.95:
            return str(self.rng.randint(-300, 300))
        return self.rng.choice(MEMBERS[:8] if roll < 0.6 else MEMBERS)

    def score(self):
        if self.chance(0.02):
            return self.rng.choice(FLOATS_EDGE)
        return self.rng.choice(FLOATS) if self.chance(0.6) else str(self.rng.randint(-50, 50))

    def float(self):
        return self.score()

    def many(self, draw, most=300):
        """Enough elements to cross an encoding's threshold."""
        return self.several(draw, most // 3, most)

    def many_different(self, draw, most):
        """Many, no two of them equal: a command of so many elements that it names its value's encoding
        before it looks at them does as one that counts those it added."""
        return list(dict.fromkeys(draw() for _ in range(self.rng.randint(most // 3, most))))

    # ---- numbers

    def int(self):
        """An integer argument: small, or one of the edges."""
        return self.rng.choice(INTS_EDGE) if self.chance(0.1) else self.rng.randint(-10, 20)

    def index(self):
        return self.rng.choice(INTS_EDGE) if self.chance(0.05) else self.rng.randint(-8, 8)

    def count(self):
        if self.chance(0.08):
            return self.rng.choice(["-1", "abc", "", "9223372036854775808", "-9223372036854775808", "1.5"])
        return self.rng.randint(0, 6)

    def signed_count(self):
        """Of RANDMEMBER: never so negative that the answer fills memory."""
        if self.chance(0.08):
            return self.rng.choice(["abc", "", "9223372036854775808", "-9223372036854775808", "1.5"])
        return self.rng.randint(-8, 8)

    def offset(self):
        """Into a string: small, or refused. What lies between would allocate gigabytes."""
        if self.chance(0.1):
            return self.rng.choice(["-1", "abc", "", "9223372036854775807", "4294967296", "1.5", "536870912"])
        return self.rng.choice([0, 0, 1, 2, 5, 10, 60, 300])

    def db(self):
        return self.rng.choice([0, 1, 1, 2, 2, 3]) if self.chance(0.9) else self.rng.choice(["-1", "16", "abc", "", "1.5"])

    # ---- time. Every time to live is drawn once only, so that GT and LT never depend on which of the
    # servers was asked a millisecond earlier; none is so short that it could pass during a run.

    def seconds(self):
        if self.chance(0.08):
            return self.rng.choice(["0", "-1", "abc", "", "9223372036854775807", "9223372036854775", "1.5", "-9223372036854775808"])
        self.unique += 1
        return self.rng.choice([2000, 50000, 1000000]) + 7 * self.unique

    def milliseconds(self):
        seconds = self.seconds()
        return seconds * 1000 if isinstance(seconds, int) else seconds

    def at_seconds(self, past=True):
        """SET keeps a key whose time has passed until somebody looks, so DBSIZE may count it for a
        while: no past for SET."""
        if self.chance(0.15):
            return self.rng.choice(["0", "-1", "abc", "", "9223372036854775807", "1.5", *(["1", "1000000000"] if past else [])])
        self.unique += 1
        return YEAR_2100_SECONDS + 7 * self.unique

    def at_milliseconds(self, past=True):
        seconds = self.at_seconds(past)
        return seconds * 1000 if isinstance(seconds, int) else seconds

    def pattern(self):
        return self.rng.choice(PATTERNS)

    # ---- words as users write them

    def case(self, word):
        roll = self.rng.random()
        return word if roll < 0.8 else word.lower() if roll < 0.95 else word.capitalize()

    def spoil(self, args, tagged, may_replace):
        """The arguments, made wrong in one place."""
        junk = self.rng.choice(JUNK_TAGGED if tagged else JUNK)
        roll = self.rng.random()
        args = list(args)
        if roll < 0.35:
            return args[:-1]
        if roll < 0.45:
            return []
        if roll < 0.7 or not may_replace or not args:
            return args + [junk]
        args[self.below(len(args))] = junk
        return args
