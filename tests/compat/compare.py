"""When two replies count as the same. Byte for byte, unless the command's row in RULES or an entry of
KNOWN_DIFFERENCES says otherwise.

The reference is redis-server 7.0.15, the one Debian has; Moon follows 7.4. What changed between the two
and shows in replies is an entry of KNOWN_DIFFERENCES, with its reason, and is counted: an entry that a
full run never meets is an error, so the list cannot outlive its reasons.
"""
import collections
import re

from moonlib.resp import parse

TIME_SLACK_SECONDS = 2
TIME_SLACK_MS = 2000
NUMBER = re.compile(rb"-?(\d+(\.\d+)?(e[+-]?\d+)?|inf|nan)\Z")


# ---- known differences

class KnownDifference:
    def __init__(self, name, reason, applies):
        self.name, self.reason, self.applies = name, reason, applies
        self.hits = 0


def digits(number):
    """How many a number's text has that count."""
    return len(number.split(b"e")[0].replace(b".", b"").strip(b"-0"))


def is_score_text(oracle, moon):
    """Both print the same double, the reference with 17 digits, Moon with fewest, and integers in full."""
    if oracle.kind != moon.kind or oracle.kind not in "$,":
        return False
    if not isinstance(oracle.held, bytes) or not isinstance(moon.held, bytes):
        return False
    if not NUMBER.match(oracle.held) or not NUMBER.match(moon.held):
        return False
    value = float(oracle.held)
    in_full = abs(value) < 2**62 and value == int(value) and moon.held == b"%d" % int(value)
    return value == float(moon.held) and b"%.17g" % value == oracle.held and (in_full or digits(moon.held) <= digits(oracle.held))


KNOWN_DIFFERENCES = [
    KnownDifference("score-digits", "7.2 and later print doubles as the shortest text that reads back equal and integers up to 2^62 "
                    "in full, 7.0 with 17 digits",
                    lambda fact, oracle, moon: fact == "leaf" and is_score_text(oracle, moon)),
    KnownDifference("set-listpack", "7.2 and later keep small sets of strings in a listpack, 7.0 in a hash table",
                    lambda fact, oracle, moon: fact == "set encoding" and (oracle, moon) == (b"hashtable", b"listpack")),
    KnownDifference("list-listpack", "7.2 and later keep small lists in one listpack, 7.0 in a quicklist of one node",
                    lambda fact, oracle, moon: fact == "list encoding" and (oracle, moon) == (b"quicklist", b"listpack")),
    KnownDifference("shared-integers", "Redis shares the objects of integers below 10000 between keys, but for copies: their OBJECT "
                    "REFCOUNT and IDLETIME are those of the shared object. Moon shares none",
                    lambda fact, oracle, moon: fact == "small integer" and oracle.kind == moon.kind == ":"),
    KnownDifference("scan-cursor", "7.4 refuses cursors that are empty or negative, 7.0 reads them with strtoul",
                    lambda fact, oracle, moon: fact == "lax cursor" and moon.held == b"ERR invalid cursor"),
    KnownDifference("lpos-rank", "7.2 and later refuse LPOS RANK -9223372036854775808, which cannot be negated; 7.0 takes it as it is",
                    lambda fact, oracle, moon: fact == "lpos" and moon.held == b"ERR value is out of range, value must between "
                    b"-9223372036854775807 and 9223372036854775807"),
    KnownDifference("rank-withscore", "7.2 and later take a word after ZRANK's member: WITHSCORE, or a syntax error",
                    lambda fact, oracle, moon: fact == "leaf" and moon.held == b"ERR syntax error" and
                    oracle.held in (b"ERR wrong number of arguments for 'zrank' command", b"ERR wrong number of arguments for 'zrevrank' command")),
    KnownDifference("endless-timeout", "7.2 and later say that a blocking command's timeout is out of range, 7.0 that it is negative",
                    lambda fact, oracle, moon: fact == "leaf" and moon.held == b"ERR timeout is out of range" and
                    oracle.held == b"ERR timeout is negative"),
]


def known(fact, oracle, moon):
    for difference in KNOWN_DIFFERENCES:
        if difference.applies(fact, oracle, moon):
            difference.hits += 1
            return True
    return False


# ---- replies

def same_tree(oracle, moon):
    """Equal nodes, but for what is known."""
    if oracle == moon:
        return True
    if oracle.kind == moon.kind and oracle.is_aggregate and moon.is_aggregate:
        return len(oracle.held) == len(moon.held) and all(map(same_tree, oracle.held, moon.held))
    return known("leaf", oracle, moon)


def in_pairs(node):
    return list(zip(node.held[::2], node.held[1::2]))


def same_bag(oracle, moon, elements=lambda node: node.held):
    """Equal elements in any order."""
    if oracle.kind != moon.kind or not oracle.is_aggregate or not moon.is_aggregate:
        return oracle == moon
    return collections.Counter(elements(oracle)) == collections.Counter(elements(moon))


def same_pairs(oracle, moon):
    return same_bag(oracle, moon, in_pairs)


def same_time(slack):
    """Integers at most `slack` apart; negative ones (no key, no expiry) must be equal."""
    def same(oracle, moon):
        if oracle.kind != ":" or moon.kind != ":" or oracle.held < 0 or moon.held < 0:
            return oracle == moon
        return abs(oracle.held - moon.held) <= slack
    return same


# Replies whose order is the server's own affair, and those that depend on the moment.
RULES = {
    "LPOS": lambda oracle, moon: known("lpos", oracle, moon),
    "SMEMBERS": same_bag, "SINTER": same_bag, "SUNION": same_bag, "SDIFF": same_bag, "KEYS": same_bag,
    "HKEYS": same_bag, "HVALS": same_bag, "HGETALL": same_pairs,
    "TTL": same_time(TIME_SLACK_SECONDS), "PTTL": same_time(TIME_SLACK_MS),
    "EXPIRETIME": same_time(TIME_SLACK_SECONDS), "PEXPIRETIME": same_time(TIME_SLACK_MS),
    "OBJECT": same_time(TIME_SLACK_SECONDS),  # IDLETIME; encodings are compared with their type known
}


def same_reply(name, oracle_raw, moon_raw):
    if oracle_raw == moon_raw:
        return True
    oracle, moon = parse(oracle_raw), parse(moon_raw)
    rule = RULES.get(name)
    if rule is not None and rule(oracle, moon):
        return True
    return same_tree(oracle, moon)


def same_encoding(type_name, oracle, moon):
    """Names that OBJECT ENCODING gives, as bytes."""
    return oracle == moon or known(f"{type_name} encoding", oracle, moon)


def unused_differences():
    return [difference for difference in KNOWN_DIFFERENCES if difference.hits == 0]


def differences_report():
    return "\n".join(f"  {d.hits:7} × {d.name}: {d.reason}" for d in KNOWN_DIFFERENCES)
