"""One generator, or some, for every data command: functions that draw its arguments. Subcommands with keys
have one under their full name, as COMMAND LIST gives it: OBJECT|ENCODING.

A new command gets a line in its family's table; test_every_data_command_has_a_generator fails until
it has. Pools and chances: draw.py. How its reply is compared: compare.py, exactly unless it says otherwise.
"""
from draw import Draw

# Commands that split by key; the keys of all but blocking ones and SORT may lie anywhere.
SPREAD_FREELY = {"DEL", "UNLINK", "EXISTS", "TOUCH", "MGET", "MSET", "MSETNX"}


def expiry(d, past=True):
    return d.one(lambda: ["EX", d.seconds()], lambda: ["PX", d.milliseconds()], lambda: ["EXAT", d.at_seconds(past)],
                 lambda: ["PXAT", d.at_milliseconds(past)])()


def set_options(d):
    words = d.some(["NX"], ["XX"], ["GET"], ["KEEPTTL"], probability=0.12)
    if d.chance(0.3):
        words += expiry(d, past=False)
    if d.chance(0.03):
        words += d.one(["EX"], ["BAD"], ["EX", "0"], ["PX", "-1"])
    return words


STRINGS = {
    "APPEND": [lambda d: [d.key("s"), d.value()], lambda d: [d.exactly("b"), d.one(d.value, d.large)()]],
    "DECR": [lambda d: [d.key(d.one(*"iis"))]],
    "DECRBY": [lambda d: [d.key(d.one(*"iis")), d.int()]],
    "GET": [lambda d: [d.key("s")], lambda d: [d.key("s")], lambda d: [d.exactly(d.one(*"bi"))]],
    "GETDEL": [lambda d: [d.key("s")]],
    "GETEX": [lambda d: [d.key("s"), *(expiry(d) if d.chance(0.5) else d.maybe(0.5, "PERSIST"))],
              lambda d: [d.key("s"), *expiry(d), *d.maybe(0.1, "PERSIST")]],
    "GETRANGE": [lambda d: [d.key("s"), d.index(), d.index()], lambda d: [d.exactly("b"), d.one(0, 490, 65530, -10), d.one(3, 600, 66000, -1)]],
    "GETSET": [lambda d: [d.key("s"), d.value()]],
    "INCR": [lambda d: [d.key(d.one(*"iis"))]],
    "INCRBY": [lambda d: [d.key(d.one(*"iis")), d.int()]],
    "INCRBYFLOAT": [lambda d: [d.key(d.one(*"iis")), d.float()]],
    "LCS": [lambda d: [d.key("s"), d.key("s"), *d.some(["LEN"], ["IDX"], ["MINMATCHLEN", d.count], ["WITHMATCHLEN"])],
            lambda d: [d.exactly("s"), d.exactly("s"), "IDX", *d.some(["MINMATCHLEN", d.count], ["WITHMATCHLEN"])]],
    "MGET": [lambda d: d.several(d.any_key), lambda d: d.several(d.spread, 2, 40)],
    "MSET": [lambda d: d.several(lambda: [d.key("s"), d.value()]), lambda d: d.several(lambda: [d.spread("s"), d.value()], 2, 6),
             lambda d: d.several(lambda: [d.spread("s"), d.value()], 2, 40 if d.chance(0.1) else 6)],
    "MSETNX": [lambda d: d.several(lambda: [d.spread("s"), d.value()], 2, 6), lambda d: d.several(lambda: [d.spread("s"), d.value()], 2, 12),
               lambda d: d.several(lambda: [d.key("n"), d.value()], 1, 2)],
    "PSETEX": [lambda d: [d.key("s"), d.milliseconds(), d.value()]],
    "SET": [lambda d: [d.key("s"), d.value(), *set_options(d)],
            lambda d: [d.key("s"), d.value()],
            lambda d: [d.exactly("b"), d.large()] if d.chance(0.3) else [d.key("s"), d.value()],
            lambda d: [d.exactly("i"), d.one("10", "0", "-1", "9223372036854775800", "3.5", "-9223372036854775807", "1e3")]],
    "SETEX": [lambda d: [d.key("s"), d.seconds(), d.value()]],
    "SETNX": [lambda d: [d.key("s"), d.value()]],
    "SETRANGE": [lambda d: [d.key("s"), d.offset(), d.value()]],
    "STRLEN": [lambda d: [d.key("s")]],
    "SUBSTR": [lambda d: [d.key("s"), d.index(), d.index()]],
}


def expire_condition(d):
    return d.some(["NX"], ["XX"], ["GT"], ["LT"], probability=0.15) + d.maybe(0.02, "BAD")


def scan_options(d, *more):
    return d.some(["MATCH", d.pattern], ["COUNT", d.count], *more)


def scan_cursor(d):
    return "0" if d.chance(0.95) else d.one("abc", "-1", "", "1.5", "99999999999999999999999")


GENERIC = {
    "COPY": [lambda d: [*(d.two_keys("b") if d.chance(0.1) else d.two_keys()), *d.some(["DB", d.db], ["REPLACE"], probability=0.4)]],
    "DBSIZE": [lambda d: []],
    "DEL": [lambda d: d.several(d.any_key, 1, 2), lambda d: d.several(d.spread, 2, 12)],
    "EXISTS": [lambda d: d.several(d.any_key), lambda d: d.several(d.spread, 2, 12)],
    "EXPIRE": [lambda d: [d.any_key(), d.seconds(), *expire_condition(d)]],
    "EXPIREAT": [lambda d: [d.any_key(), d.at_seconds(), *expire_condition(d)]],
    "EXPIRETIME": [lambda d: [d.any_key()]],
    "FLUSHALL": [lambda d: d.maybe(0.5, d.one("SYNC", "ASYNC", "BAD"))],
    "FLUSHDB": [lambda d: d.maybe(0.5, d.one("SYNC", "ASYNC", "BAD"))],
    "KEYS": [lambda d: [d.pattern()]],
    "MOVE": [lambda d: [d.any_key(), d.db()]],
    "OBJECT": [lambda d: [d.one("ENCODING", "REFCOUNT", "NOSUCH"), d.any_key()]],
    "OBJECT|ENCODING": [lambda d: [d.any_key()]],
    "OBJECT|FREQ": [lambda d: [d.any_key()], lambda d: [d.exactly("n")]],
    "OBJECT|IDLETIME": [lambda d: [d.any_key()]],
    "OBJECT|REFCOUNT": [lambda d: [d.any_key()]],
    "PERSIST": [lambda d: [d.any_key()]],
    "PEXPIRE": [lambda d: [d.any_key(), d.milliseconds(), *expire_condition(d)]],
    "PEXPIREAT": [lambda d: [d.any_key(), d.at_milliseconds(), *expire_condition(d)]],
    "PEXPIRETIME": [lambda d: [d.any_key()]],
    "PTTL": [lambda d: [d.any_key()]],
    "RANDOMKEY": [lambda d: []],
    "RENAME": [lambda d: d.two_keys(), lambda d: d.two_keys(), lambda d: d.two_keys(d.one(*"by"))],
    "RENAMENX": [lambda d: d.two_keys()],
    "SCAN": [lambda d: [scan_cursor(d), *scan_options(d, ["TYPE", d.one("string", "hash", "list", "set", "zset", "nosuch")])]],
    "SORT": [lambda d: [d.tagged(d.one(*"ltz")), *sort_options(d), *d.maybe(0.2, "STORE", lambda: d.tagged("l"))]],
    "SORT_RO": [lambda d: [d.tagged(d.one(*"ltz")), *sort_options(d), *d.maybe(0.05, "STORE", lambda: d.tagged("l"))]],
    "SWAPDB": [lambda d: [d.db(), d.db()]],
    "TOUCH": [lambda d: d.several(d.any_key), lambda d: d.several(d.spread, 2, 12)],
    "TTL": [lambda d: [d.any_key()]],
    "TYPE": [lambda d: [d.any_key()]],
    "UNLINK": [lambda d: d.several(d.any_key, 1, 2), lambda d: d.several(d.spread, 2, 12)],
}


def sort_options(d):
    return d.some(["ALPHA"], ["ALPHA"], ["DESC"], ["ASC"], ["LIMIT", d.index, d.index], ["GET", "#"], probability=0.3)


HASHES = {
    "HDEL": [lambda d: [d.key("h"), *d.several(d.field, 1, 3)]],
    "HEXISTS": [lambda d: [d.key("h"), d.field()]],
    "HGET": [lambda d: [d.key("h"), d.field()]],
    "HGETALL": [lambda d: [d.key("h")]],
    "HINCRBY": [lambda d: [d.key("h"), d.field(), d.int()]],
    "HINCRBYFLOAT": [lambda d: [d.key("h"), d.field(), d.float()]],
    "HKEYS": [lambda d: [d.key("h")]],
    "HLEN": [lambda d: [d.key("h")]],
    "HMGET": [lambda d: [d.key("h"), *d.several(d.field)]],
    "HMSET": [lambda d: [d.key("h"), *d.several(lambda: [d.field(), d.value()])]],
    "HRANDFIELD": [lambda d: [d.key("h"), *d.maybe(0.8, d.signed_count), *d.maybe(0.3, "WITHVALUES")]],
    "HSCAN": [lambda d: [d.key("h"), scan_cursor(d), *scan_options(d)]],
    "HSET": [lambda d: [d.key("h"), *d.several(lambda: [d.field(), d.value()])],
             lambda d: [d.key("h"), *d.several(lambda: [d.field(), d.value()])],
             lambda d: [d.key("h"), *d.several(lambda: [d.field(), d.one("1", "2.5", "100")])],
             lambda d: [d.key("h"), *(d.many(lambda: [f"field{d.below(600)}", d.below(9)]) if d.chance(0.1) else [d.field(), d.value()])]],
    "HSETNX": [lambda d: [d.key("h"), d.field(), d.value()]],
    "HSTRLEN": [lambda d: [d.key("h"), d.field()]],
    "HVALS": [lambda d: [d.key("h")]],
}


def end(d):
    return d.one("LEFT", "RIGHT", "LEFT", "RIGHT", "left", "MIDDLE") if d.chance(0.95) else d.value()


def timeout(d):
    return d.one("0.01", "0.02") if d.chance(0.85) else d.one("-1", "abc", "", "inf")


LISTS = {
    "BLMOVE": [lambda d: [d.tagged("l"), d.tagged("l"), end(d), end(d), timeout(d)]],
    "BLMPOP": [lambda d: [timeout(d), *d.counted_keys("l", tagged=True), end(d), *d.maybe(0.4, "COUNT", d.count)]],
    "BLPOP": [lambda d: [*d.keys("l", tagged=True), timeout(d)]],
    "BRPOP": [lambda d: [*d.keys("l", tagged=True), timeout(d)]],
    "BRPOPLPUSH": [lambda d: [d.tagged("l"), d.tagged("l"), timeout(d)]],
    "LINDEX": [lambda d: [d.key("l"), d.index()]],
    "LINSERT": [lambda d: [d.key("l"), d.one("BEFORE", "AFTER", "before", "BESIDE"), d.member(), d.member()]],
    "LLEN": [lambda d: [d.key("l")]],
    "LMOVE": [lambda d: [d.key("l"), d.key("l"), end(d), end(d)]],
    "LMPOP": [lambda d: [*d.counted_keys("l"), end(d), *d.maybe(0.4, "COUNT", d.count)]],
    "LPOP": [lambda d: [d.key("l"), *d.maybe(0.5, d.count)]],
    "LPOS": [lambda d: [d.key("l"), d.member(), *d.some(["RANK", d.index], ["COUNT", d.count], ["MAXLEN", d.count])]],
    "LPUSH": [lambda d: [d.key("l"), *d.several(d.member)], lambda d: [d.key("l"), *d.several(d.value)]],
    "LPUSHX": [lambda d: [d.key("l"), *d.several(d.member, 1, 2)]],
    "LRANGE": [lambda d: [d.key("l"), d.index(), d.index()], lambda d: [d.key("l"), 0, -1]],
    "LREM": [lambda d: [d.key("l"), d.index(), d.member()]],
    "LSET": [lambda d: [d.key("l"), d.index(), d.one(d.member(), d.value())]],
    "LTRIM": [lambda d: [d.key("l"), d.index(), d.index()], lambda d: [d.key("l"), d.one(0, 1), d.one(-1, -2)]],
    "RPOP": [lambda d: [d.key("l"), *d.maybe(0.5, d.count)]],
    "RPOPLPUSH": [lambda d: [d.key("l"), d.key("l")]],
    "RPUSH": [lambda d: [d.key("l"), *d.several(d.member)], lambda d: [d.key("l"), *d.several(d.member)],
              lambda d: [d.key("l"), *(d.many(d.value) if d.chance(0.15) else [d.value()])]],
    "RPUSHX": [lambda d: [d.key("l"), *d.several(d.member, 1, 2)]],
}

SETS = {
    "SADD": [lambda d: [d.key("t"), *d.several(d.member)], lambda d: [d.key("t"), *d.several(d.member)],
             lambda d: [d.key("t"), *d.several(lambda: d.below(30))],
             lambda d: [d.key("t"), *(d.many_different(lambda: d.below(100000), 700) if d.chance(0.1) else [d.below(99)])],
             lambda d: [d.key("t"), *(d.many(lambda: f"m{d.below(1000)}", 200) if d.chance(0.1) else [d.member()])]],
    "SCARD": [lambda d: [d.key("t")]],
    "SDIFF": [lambda d: d.keys("t", most=6)],
    "SDIFFSTORE": [lambda d: [d.key("t"), *d.keys("t", most=6)]],
    "SINTER": [lambda d: d.keys("t")],
    "SINTERCARD": [lambda d: [*d.counted_keys("t"), *d.maybe(0.4, "LIMIT", d.count)]],
    "SINTERSTORE": [lambda d: [d.key("t"), *d.keys("t")]],
    "SISMEMBER": [lambda d: [d.key("t"), d.member()]],
    "SMEMBERS": [lambda d: [d.key("t")]],
    "SMISMEMBER": [lambda d: [d.key("t"), *d.several(d.member)]],
    "SMOVE": [lambda d: [d.key("t"), d.key("t"), d.member()]],
    "SPOP": [lambda d: [d.key("t"), *d.maybe(0.5, d.count)]],
    "SRANDMEMBER": [lambda d: [d.key("t"), *d.maybe(0.7, d.signed_count)]],
    "SREM": [lambda d: [d.key("t"), *d.several(d.member)]],
    "SSCAN": [lambda d: [d.key("t"), scan_cursor(d), *scan_options(d)]],
    "SUNION": [lambda d: d.keys("t", most=5)],
    "SUNIONSTORE": [lambda d: [d.key("t"), *d.keys("t", most=5)]],
}


def zadd_options(d):
    return d.some(["NX"], ["XX"], ["GT"], ["LT"], ["CH"], probability=0.12)


def many_scored(d):
    return [word for member in d.many_different(lambda: f"m{d.below(400)}", 300) for word in (d.below(50), member)]


def score_bound(d):
    if d.chance(0.03):
        return [d.one("(abc", "((1", "(", "")]
    return d.maybe(0.3, "(") + [d.one("-inf", "+inf", d.score(), d.below(20), d.below(20) - 10)]


def bound(d):
    return "".join(str(part) for part in score_bound(d))


def lex_key(d, tagged=False):
    """Of a set whose members all have score 0: what a range by name means elsewhere is left open. Only
    these keys have the letter y, and no command that sets scores draws them. At times a string: i, since
    the other letters come to hold any type when keys are copied and renamed."""
    return d.exactly("y" if d.chance(0.9) else "i", tagged)


def lex_bound(d):
    word = d.member()
    if isinstance(word, bytes):
        word = "c"
    return d.one("-", "+", "[" + word, "(" + word, "[", "(") if d.chance(0.95) else d.one("", "abc", "++", word)


def limit(d, probability=0.35):
    return d.maybe(probability, "LIMIT", d.index, d.index)


def zrange_body(d):
    form = d.below(3)
    if form == 0:
        return [d.index(), d.index(), *d.some(["REV"], ["WITHSCORES"], probability=0.4), *limit(d, 0.05)]
    if form == 1:
        return [bound(d), bound(d), "BYSCORE", *d.some(["REV"], ["WITHSCORES"], probability=0.4), *limit(d)]
    return d.one([0, -1], ["-inf", "+inf", "BYSCORE"], ["+inf", "-inf", "BYSCORE", "REV"])


def lex_body(d):
    if d.chance(0.2):
        return d.one(["-", "+", "BYLEX"], ["+", "-", "REV", "BYLEX"])
    return [lex_bound(d), lex_bound(d), "BYLEX", *d.some(["REV"], ["WITHSCORES"]), *limit(d)]


def combine_options(d, keys, store=False):
    words = []
    if d.chance(0.4):
        words += ["WEIGHTS", *[d.score() for _ in range(len(keys) - 1 + (d.below(3) - 1 if d.chance(0.1) else 0))]]
    if d.chance(0.4):
        words += ["AGGREGATE", d.one("SUM", "MIN", "MAX", "min", "AVG")]
    if not store or d.chance(0.03):
        words += d.maybe(0.4, "WITHSCORES")
    return words


def combine(d, store=False):
    keys = d.counted_keys(d.one("z", "z", "zt", "t"), most=4)
    return [*d.maybe(1.0 if store else 0.0, lambda: d.key("z")), *keys, *combine_options(d, keys, store)]


ZSETS = {
    "BZMPOP": [lambda d: [timeout(d), *d.counted_keys("z", tagged=True), d.one("MIN", "MAX", "MID"), *d.maybe(0.4, "COUNT", d.count)]],
    "BZPOPMAX": [lambda d: [*d.keys("z", tagged=True), timeout(d)]],
    "BZPOPMIN": [lambda d: [*d.keys("z", tagged=True), timeout(d)]],
    "ZADD": [lambda d: [d.key("z"), *zadd_options(d), *d.several(lambda: [d.score(), d.member()])],
             lambda d: [d.key("z"), *d.several(lambda: [d.score(), d.member()])],
             lambda d: [d.exactly("y"), *d.several(lambda: [0, d.member()], 2, 6)],
             lambda d: [d.key("z"), *zadd_options(d), "INCR", d.score(), d.member(), *d.maybe(0.1, "1", "x")],
             lambda d: [d.key("z"), *(many_scored(d) if d.chance(0.2) else [d.score(), d.member()])]],
    "ZCARD": [lambda d: [d.key("z")]],
    "ZCOUNT": [lambda d: [d.key("z"), bound(d), bound(d)]],
    "ZDIFF": [lambda d: [*d.counted_keys(d.one("z", "zt"), most=5), *d.maybe(0.4, "WITHSCORES")]],
    "ZDIFFSTORE": [lambda d: [d.key("z"), *d.counted_keys(d.one("z", "zt"), most=5), *d.maybe(0.03, "WITHSCORES")]],
    "ZINCRBY": [lambda d: [d.key("z"), d.score(), d.member()]],
    "ZINTER": [combine],
    "ZINTERCARD": [lambda d: [*d.counted_keys(d.one("z", "zt")), *d.maybe(0.4, "LIMIT", d.count), *d.maybe(0.03, "WITHSCORES")]],
    "ZINTERSTORE": [lambda d: combine(d, store=True)],
    "ZLEXCOUNT": [lambda d: [lex_key(d), lex_bound(d), lex_bound(d)]],
    "ZMPOP": [lambda d: [*d.counted_keys("z"), d.one("MIN", "MAX", "MID"), *d.maybe(0.4, "COUNT", d.count)]],
    "ZMSCORE": [lambda d: [d.key("z"), *d.several(d.member)]],
    "ZPOPMAX": [lambda d: [d.key("z"), *d.maybe(0.5, d.count)]],
    "ZPOPMIN": [lambda d: [d.key("z"), *d.maybe(0.5, d.count)]],
    "ZRANDMEMBER": [lambda d: [d.key("z"), *d.maybe(0.8, d.signed_count), *d.maybe(0.3, "WITHSCORES")]],
    "ZRANGE": [lambda d: [d.key("z"), *zrange_body(d)], lambda d: [d.key("z"), 0, -1, "WITHSCORES"],
               lambda d: [lex_key(d), *lex_body(d)]],
    "ZRANGEBYLEX": [lambda d: [lex_key(d), lex_bound(d), lex_bound(d), *limit(d)]],
    "ZRANGEBYSCORE": [lambda d: [d.key("z"), bound(d), bound(d), *d.maybe(0.4, "WITHSCORES"), *limit(d)]],
    "ZRANGESTORE": [lambda d: [d.key("z"), d.key("z"), *zrange_body(d)],
                    lambda d: [d.key("z"), lex_key(d), *lex_body(d)]],
    "ZRANK": [lambda d: [d.key("z"), d.member()]],
    "ZREM": [lambda d: [d.key("z"), *d.several(d.member, 1, 3)]],
    "ZREMRANGEBYLEX": [lambda d: [lex_key(d), lex_bound(d), lex_bound(d)]],
    "ZREMRANGEBYRANK": [lambda d: [d.key("z"), d.index(), d.index()]],
    "ZREMRANGEBYSCORE": [lambda d: [d.key("z"), bound(d), bound(d)]],
    "ZREVRANGE": [lambda d: [d.key("z"), d.index(), d.index(), *d.maybe(0.4, "WITHSCORES")]],
    "ZREVRANGEBYLEX": [lambda d: [lex_key(d), lex_bound(d), lex_bound(d), *limit(d)]],
    "ZREVRANGEBYSCORE": [lambda d: [d.key("z"), bound(d), bound(d), *d.maybe(0.4, "WITHSCORES"), *limit(d)]],
    "ZREVRANK": [lambda d: [d.key("z"), d.member()]],
    "ZSCAN": [lambda d: [d.key("z"), scan_cursor(d), *scan_options(d)]],
    "ZSCORE": [lambda d: [d.key("z"), d.member()]],
    "ZUNION": [combine],
    "ZUNIONSTORE": [lambda d: combine(d, store=True)],
}

FAMILIES = {"strings": STRINGS, "generic": GENERIC, "hashes": HASHES, "lists": LISTS, "sets": SETS, "zsets": ZSETS}
GENERATORS = {name: draws for family in FAMILIES.values() for name, draws in family.items()}

# How often, 1.0 if not named. What empties the key space is rare, what fills it frequent.
WEIGHTS = {
    "FLUSHALL": 0.01, "FLUSHDB": 0.02, "SWAPDB": 0.03, "DEL": 0.3, "UNLINK": 0.2, "GETDEL": 0.2, "RENAME": 0.5, "MOVE": 0.2,
    "SET": 5, "MSET": 2, "HSET": 6, "RPUSH": 5, "LPUSH": 4, "SADD": 7, "ZADD": 14, "SUNIONSTORE": 1.5, "ZUNIONSTORE": 1.5,
    "EXPIRE": 2, "PEXPIRE": 2, "EXPIREAT": 1.5, "PEXPIREAT": 1.5, "PERSIST": 0.7, "OBJECT": 0.5, "OBJECT|ENCODING": 1.5, "OBJECT|FREQ": 0.2, "SMEMBERS": 1.5, "ZRANGE": 3,
    "LTRIM": 0.3, "LPOP": 0.5, "RPOP": 0.5, "LMPOP": 0.4, "LREM": 0.7, "SPOP": 0.5, "SREM": 0.6, "SDIFFSTORE": 0.5,
    "SINTERSTORE": 0.5, "ZPOPMIN": 0.4, "ZPOPMAX": 0.4, "ZMPOP": 0.4, "ZREM": 0.6, "ZREMRANGEBYLEX": 0.3, "ZREMRANGEBYRANK": 0.3,
    "ZREMRANGEBYSCORE": 0.3, "ZDIFFSTORE": 0.4, "ZINTERSTORE": 0.4, "ZRANGESTORE": 0.6, "SCAN": 0.4, "KEYS": 0.4, "MSETNX": 0.5,
    "BLMOVE": 0.15, "BLMPOP": 0.15, "BLPOP": 0.15, "BRPOP": 0.15, "BRPOPLPUSH": 0.15, "BZMPOP": 0.15, "BZPOPMAX": 0.15,
    "BZPOPMIN": 0.15,
}
SPOIL_CHANCE = 0.05


def is_blocking(name):
    return name.startswith("B") and name[1:] in {"LMOVE", "LMPOP", "LPOP", "RPOP", "RPOPLPUSH", "ZMPOP", "ZPOPMAX", "ZPOPMIN"}


def keys_are_tagged(name, args):
    """True if this command's keys were drawn from one slot, so that junk must be, too."""
    return (is_blocking(name) or name.startswith("SORT")) and sum(str(a).startswith("{t}") for a in args if not isinstance(a, bytes)) > 0


def needs_equal_scores(name, args):
    """Writes a key of lex_key() or reads one by name: junk in place of a score, a source or the key itself would make
    ranges by name undefined."""
    return (name in ("ZADD", "RENAME") and "y" in args[0]) or "LEX" in name or "BYLEX" in args


def draw_command(d, name):
    """[name, argument, …], the arguments as bytes, str or int."""
    args = d.one(*GENERATORS[name])(d)
    if d.chance(SPOIL_CHANCE):
        may_replace = not is_blocking(name) and not needs_equal_scores(name, args)
        args = d.spoil(args, keys_are_tagged(name, args), may_replace)
    words = [d.case(word) for word in name.split("|")]
    for arg in args:
        # Options are written in capitals above; users write them as they like.
        plain = isinstance(arg, str) and arg.isalpha() and arg.isupper() and len(arg) > 1
        words.append(d.case(arg) if plain and arg != "ABC" else arg)
    return words


def draw_sequence(seed, length, names=None, exclude=()):
    """`length` commands of the given names (all, if not given)."""
    d = Draw(seed)
    chosen = [n for n in (names or GENERATORS) if n not in exclude]
    weights = [WEIGHTS.get(name, 1.0) for name in chosen]
    return [draw_command(d, name) for name in d.rng.choices(chosen, weights, k=length)]
