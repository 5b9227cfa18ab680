"""What each command means: a plain function over one dict of keys, all at once.

Values never change in place, so that states can be compared and remembered: strings are bytes, lists tuples,
sets frozensets, sorted sets frozensets of (member, score). A key that is not there is not in the dict. Replies
are int, bytes, None, "OK", Err, list, or frozenset where order means nothing.
"""
import collections

TYPES = {"s": bytes, "l": tuple, "e": frozenset, "z": frozenset}  # by the letter in a key's name: workload.py


class Err(collections.namedtuple("Err", "text")):
    """An error reply."""
    __slots__ = ()


NO_KEY = Err("ERR no such key")


class Exec(collections.namedtuple("Exec", "watched commands")):
    """MULTI … EXEC as one operation. `watched`: pairs of a key and the value that its client read behind WATCH."""
    __slots__ = ()


def put(db, key, value):
    """A container that became empty is no key."""
    if value or isinstance(value, bytes):
        db[key] = value
    else:
        db.pop(key, None)


# ---- strings

def cmd_get(db, key):
    return db.get(key)


def cmd_set(db, key, value):
    db[key] = value
    return "OK"


def cmd_getset(db, key, value):
    old, db[key] = db.get(key), value
    return old


def cmd_getdel(db, key):
    return db.pop(key, None)


def cmd_setnx(db, key, value):
    if key in db:
        return 0
    db[key] = value
    return 1


def cmd_incrby(db, key, by):
    value = int(db.get(key, b"0")) + int(by)
    db[key] = b"%d" % value
    return value


def cmd_decrby(db, key, by):
    return cmd_incrby(db, key, -int(by))


def cmd_incr(db, key):
    return cmd_incrby(db, key, 1)


def cmd_append(db, key, value):
    db[key] = db.get(key, b"") + value
    return len(db[key])


def cmd_strlen(db, key):
    return len(db.get(key, b""))


def cmd_mget(db, *keys):
    return [db.get(key) for key in keys]


def cmd_mset(db, *pairs):
    db.update(zip(pairs[::2], pairs[1::2]))
    return "OK"


def cmd_msetnx(db, *pairs):
    if any(key in db for key in pairs[::2]):
        return 0
    cmd_mset(db, *pairs)
    return 1


# ---- keys

def cmd_del(db, *keys):
    return sum(db.pop(key, None) is not None for key in keys)


def cmd_exists(db, *keys):
    return sum(key in db for key in keys)


def cmd_rename(db, source, target):
    if source not in db:
        return NO_KEY
    db[target] = db[source] if source == target else db.pop(source)
    return "OK"


def cmd_renamenx(db, source, target):
    if source not in db:
        return NO_KEY
    if target in db:
        return 0
    db[target] = db.pop(source)
    return 1


def cmd_copy(db, source, target, *replace):
    if source not in db or (target in db and not replace):
        return 0
    db[target] = db[source]
    return 1


# ---- lists

def cmd_rpush(db, key, *items):
    db[key] = db.get(key, ()) + items
    return len(db[key])


def cmd_lpush(db, key, *items):
    db[key] = items[::-1] + db.get(key, ())
    return len(db[key])


def take(db, key, side):
    """Pops one item, which must be there."""
    items = db[key]
    put(db, key, items[1:] if side == b"LEFT" else items[:-1])
    return items[0] if side == b"LEFT" else items[-1]


def cmd_lpop(db, key):
    return take(db, key, b"LEFT") if key in db else None


def cmd_rpop(db, key):
    return take(db, key, b"RIGHT") if key in db else None


def cmd_llen(db, key):
    return len(db.get(key, ()))


def cmd_lrange(db, key, _first=b"0", _last=b"-1"):
    return list(db.get(key, ()))


def cmd_lmove(db, source, target, side, where):
    if source not in db:
        return None
    item = take(db, source, side)
    items = db.get(target, ())
    db[target] = (item,) + items if where == b"LEFT" else items + (item,)
    return item


def cmd_rpoplpush(db, source, target):
    return cmd_lmove(db, source, target, b"RIGHT", b"LEFT")


def cmd_lmpop(db, _numkeys, *rest):
    """One item; `rest` is keys and a side."""
    for key in rest[:-1]:
        if key in db:
            return [key, [take(db, key, rest[-1])]]
    return None


# What waits for an element: it comes at some moment, or there was a moment without any.

def cmd_blmpop(db, _timeout, *rest):
    return cmd_lmpop(db, *rest)


def cmd_blpop(db, *rest):
    """`rest`: keys and how long."""
    return next(([key, take(db, key, b"LEFT")] for key in rest[:-1] if key in db), None)


def cmd_brpop(db, *rest):
    return next(([key, take(db, key, b"RIGHT")] for key in rest[:-1] if key in db), None)


def cmd_blmove(db, *rest):
    return cmd_lmove(db, *rest[:-1])


def cmd_brpoplpush(db, source, target, _timeout):
    return cmd_rpoplpush(db, source, target)


# ---- sets

def cmd_sadd(db, key, *members):
    old = db.get(key, frozenset())
    db[key] = old | set(members)
    return len(db[key]) - len(old)


def cmd_srem(db, key, *members):
    old = db.get(key, frozenset())
    put(db, key, old - set(members))
    return len(old & set(members))


def cmd_smembers(db, key):
    return db.get(key, frozenset())


def cmd_sismember(db, key, member):
    return int(member in db.get(key, ()))


def cmd_scard(db, key):
    return len(db.get(key, ()))


def cmd_smove(db, source, target, member):
    if member not in db.get(source, ()):
        return 0
    if source != target:
        cmd_srem(db, source, member)
        cmd_sadd(db, target, member)
    return 1


def cmd_sunion(db, *keys):
    return frozenset().union(*(db.get(key, ()) for key in keys))


def cmd_sinter(db, *keys):
    return db.get(keys[0], frozenset()).intersection(*(db.get(key, ()) for key in keys))


def cmd_sdiff(db, *keys):
    return db.get(keys[0], frozenset()).difference(*(db.get(key, ()) for key in keys[1:]))


def cmd_sintercard(db, _numkeys, *keys):
    return len(cmd_sinter(db, *keys))


def storing(algebra):
    def cmd(db, target, *keys):
        put(db, target, algebra(db, *keys))
        return len(db.get(target, ()))
    return cmd


# ---- sorted sets; scores are whole numbers

def cmd_zadd(db, key, score, member):
    old = dict(db.get(key, ()))
    new = {**old, member: int(score)}
    db[key] = frozenset(new.items())
    return len(new) - len(old)


def cmd_zrem(db, key, *members):
    old = dict(db.get(key, ()))
    put(db, key, frozenset((m, s) for m, s in old.items() if m not in members))
    return len(old) - len(db.get(key, ()))


def ranked(pairs):
    """As ZRANGE 0 -1 WITHSCORES answers."""
    return [x for member, score in sorted(pairs, key=lambda p: (p[1], p[0])) for x in (member, b"%d" % score)]


def cmd_zrange(db, key, _first=b"0", _last=b"-1", _withscores=b"WITHSCORES"):
    return ranked(db.get(key, ()))


def united(db, keys):
    scores = {}
    for key in keys:
        for member, score in db.get(key, ()):
            scores[member] = scores.get(member, 0) + score
    return scores


def crossed(db, keys):
    held = set.intersection(*({member for member, _ in db.get(key, ())} for key in keys))
    return {member: score for member, score in united(db, keys).items() if member in held}


def cmd_zunion(db, _numkeys, *rest):
    """`rest`: keys and WITHSCORES."""
    return ranked(united(db, rest[:-1]).items())


def cmd_zinter(db, _numkeys, *rest):
    return ranked(crossed(db, rest[:-1]).items())


def cmd_zmpop(db, _numkeys, *rest):
    """The member of the lowest score; `rest` is keys and MIN."""
    for key in rest[:-1]:
        if key in db:
            member, score = ranked(db[key])[:2]
            cmd_zrem(db, key, member)
            return [key, [[member, score]]]
    return None


def cmd_zdiffstore(db, target, _numkeys, *keys):
    out = {member for key in keys[1:] for member, _ in db.get(key, ())}
    put(db, target, frozenset(pair for pair in db.get(keys[0], ()) if pair[0] not in out))
    return len(db.get(target, ()))


def cmd_zunionstore(db, target, _numkeys, *keys):
    put(db, target, frozenset(united(db, keys).items()))
    return len(db.get(target, ()))


def cmd_zinterstore(db, target, _numkeys, *keys):
    put(db, target, frozenset(crossed(db, keys).items()))
    return len(db.get(target, ()))


# ---- scripts

TRANSFER = b"redis.call('DECRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[2], ARGV[1])"
SWAP = b"""local a, b = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if b then redis.call('SET', KEYS[1], b) else redis.call('DEL', KEYS[1]) end
if a then redis.call('SET', KEYS[2], a) else redis.call('DEL', KEYS[2]) end
return {a, b}"""
# The same, of keys that turn up when it has written, or read.
LATE_TRANSFER = b"redis.call('DECRBY', KEYS[1], ARGV[2]) return redis.call('INCRBY', ARGV[1], ARGV[2])"
LATE_READ_ALL = b"""local out = {redis.call('GET', KEYS[1])}
for i, k in ipairs(ARGV) do out[i + 1] = redis.call('GET', k) end return out"""
READ_ALL = b"local out = {} for i, k in ipairs(KEYS) do out[i] = redis.call('GET', k) end return out"


def transfer(db, a, b, amount):
    cmd_decrby(db, a, amount)
    return cmd_incrby(db, b, amount)


def swap(db, a, b):
    before = [db.pop(a, None), db.pop(b, None)]
    db.update((key, value) for key, value in zip((b, a), before) if value is not None)
    return before


SCRIPTS = {TRANSFER: transfer, LATE_TRANSFER: transfer, SWAP: swap, READ_ALL: cmd_mget, LATE_READ_ALL: cmd_mget}


def cmd_eval(db, script, _numkeys, *rest):
    return SCRIPTS[script](db, *rest)


# ---- all of them

TABLE = {name[len("cmd_"):].upper(): function for name, function in list(globals().items()) if name.startswith("cmd_")}
TABLE.update(UNLINK=cmd_del, TOUCH=cmd_exists, SUNIONSTORE=storing(cmd_sunion), SINTERSTORE=storing(cmd_sinter),
             SDIFFSTORE=storing(cmd_sdiff))
UNORDERED = {"SMEMBERS", "SUNION", "SINTER", "SDIFF"}
READS = {"GET", "STRLEN", "MGET", "EXISTS", "TOUCH", "LLEN", "LRANGE", "SMEMBERS", "SISMEMBER", "SCARD", "SUNION",
         "SINTER", "SDIFF", "SINTERCARD", "ZRANGE", "ZUNION", "ZINTER"}


def run(db, command):
    """The reply; what it changes is changed in `db`. Of an Exec whose watched keys changed: None, and nothing is."""
    if not isinstance(command, Exec):
        return TABLE[command[0]](db, *command[1:])
    if any(db.get(key) != value for key, value in command.watched):
        return None
    return [run(db, one) for one in command.commands]


def is_read(command):
    if isinstance(command, Exec):
        return all(one[0] in READS for one in command.commands)
    return command[0] in READS


NOTHING_DONE = {"SETNX", "MSETNX", "RENAMENX", "COPY", "DEL", "UNLINK", "SADD", "SREM", "SMOVE", "ZREM", "LPOP", "RPOP", "LMOVE",
                "RPOPLPUSH", "LMPOP", "GETDEL", "ZMPOP", "BLPOP", "BRPOP", "BLMPOP", "BLMOVE", "BRPOPLPUSH"}  # by a reply of 0 or nil


def changed_nothing(command, reply):
    """True if the reply says so, whatever the state was."""
    if isinstance(reply, Err):
        return True
    if isinstance(command, Exec):
        return reply is None or all(map(changed_nothing, command.commands, reply))
    return command[0] in READS or (command[0] in NOTHING_DONE and reply in (0, None))


def shape(command, reply):
    """A reply as it came, in the form that run() answers."""
    if isinstance(command, Exec):
        if not isinstance(reply, list):
            return reply
        return [shape(one, held) for one, held in zip(command.commands, reply)]
    if command[0] in UNORDERED and isinstance(reply, list):
        return frozenset(reply)
    return reply


def value_read(command, reply):
    """The value of a key as a dict of keys holds it (None: no key), from the reply of what read it whole."""
    if command[0] == "ZRANGE":
        reply = frozenset((m, int(s)) for m, s in zip(reply[::2], reply[1::2]))
    elif command[0] == "LRANGE":
        reply = tuple(reply)
    return reply if reply or isinstance(reply, bytes) else None


def reader_of(kind, key):
    """The command that reads a key of this type whole."""
    return {"s": ("GET", key), "l": ("LRANGE", key, b"0", b"-1"), "e": ("SMEMBERS", key),
            "z": ("ZRANGE", key, b"0", b"-1", b"WITHSCORES")}[kind]


def keys_of(command, known):
    """The keys among the arguments: `known` holds all keys there are."""
    if isinstance(command, Exec):
        return {key for one in command.commands for key in keys_of(one, known)} | {key for key, _ in command.watched}
    return {word for word in command[1:] if word in known}


def declared_of(command, known):
    """Those by which a connection's order is kept: a script may use more."""
    if isinstance(command, Exec):
        return {key for one in command.commands for key in declared_of(one, known)} | {key for key, _ in command.watched}
    return keys_of(command[:3 + int(command[2])] if command[0] == "EVAL" else command, known)
