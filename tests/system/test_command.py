"""COMMAND: what Moon says of its commands beside what redis-server 7.0.15 says of the same ones."""
import pytest

from moonlib.resp import ReplyError
from moonlib.server import start_moon, start_oracle

# (command, what): why it differs. Redis 7.4 is what Moon follows; the reference is 7.0.15.
KNOWN = {
    ("command|getkeys", "arity"): "-3 since 7.2: a command may have no arguments",
    ("command|getkeysandflags", "arity"): "-3 since 7.2: a command may have no arguments",
    ("config|resetstat", "tips"): "told to all nodes since 7.2",
    ("config|rewrite", "tips"): "told to all nodes since 7.2",
    ("msetnx", "tips"): "7.2 took them away: it cannot be split over shards",
    ("zrank", "arity"): "WITHSCORE since 7.2",
    ("zrevrank", "arity"): "WITHSCORE since 7.2",
}
# Accept any arguments, or none, without saying so: their syntax has no words.
SYNTAX_WITHOUT_ARGUMENTS = {"command", "quit"}


@pytest.fixture(scope="module")
def moon():
    with start_moon() as server:
        yield server


@pytest.fixture(scope="module")
def oracle():
    with start_oracle() as server:
        yield server


def entries(client):
    """Name → entry of COMMAND, subcommands included."""
    found = {}

    def walk(listed):
        for entry in listed:
            found[entry[0].decode()] = entry
            walk(entry[9])

    walk(client.call("COMMAND"))
    return found


def key_specs(entry):
    """Notes are prose: each has its own."""
    specs = [dict(zip(flat[::2], flat[1::2])) for flat in entry[8]]
    for spec in specs:
        spec.pop(b"notes", None)
    return specs


def docs(client):
    """Name → map of COMMAND DOCS, subcommands included. RESP3."""
    found = {}

    def walk(listed):
        for name, doc in listed.items():
            found[name.decode()] = doc
            walk(doc.get(b"subcommands", {}))

    walk(client.call("COMMAND", "DOCS"))
    return found


ASPECTS = {
    "arity": lambda e: e[1],
    "flags": lambda e: e[2],
    "keys": lambda e: e[3:6],
    "acl categories": lambda e: e[6],
    "tips": lambda e: e[7],
    "key specs": key_specs,
}


def test_info_agrees_with_the_reference(moon, oracle):
    ours, theirs = entries(moon.client()), entries(oracle.client())
    assert len(set(ours) & set(theirs)) > 90
    differing, unexplained = set(), []
    for name in sorted(set(ours) & set(theirs)):
        for what, read in ASPECTS.items():
            if read(ours[name]) == read(theirs[name]):
                continue
            differing.add((name, what))
            if (name, what) not in KNOWN:
                unexplained.append(f"{name} {what}: redis {read(theirs[name])}, moon {read(ours[name])}")
    assert not unexplained, "\n".join(unexplained)
    assert set(KNOWN) == differing, "differences that are gone must leave the list"


def test_docs_agree_with_the_reference(moon, oracle):
    ours, theirs = docs(moon.client(resp=3)), docs(oracle.client(resp=3))
    wrong = []
    for name in sorted(set(ours) & set(theirs)):
        for field in (b"since", b"group"):
            if ours[name][field] != theirs[name][field]:
                wrong.append(f"{name} {field}: redis {theirs[name][field]}, moon {ours[name][field]}")
        if b"arguments" in theirs[name] and b"arguments" not in ours[name]:
            wrong.append(f"{name}: no arguments")
    assert not wrong, "\n".join(wrong)


def test_every_command_is_documented(moon):
    infos, documented = entries(moon.client()), docs(moon.client(resp=3))
    assert set(infos) == set(documented)
    wrong = []
    for name, doc in documented.items():
        for field in (b"summary", b"since", b"group", b"complexity"):
            if not doc.get(field):
                wrong.append(f"{name}: no {field}")
        arity, words = infos[name][1], 1 + name.count("|")
        takes_arguments = arity < 0 or arity > words
        if takes_arguments and b"subcommands" not in doc and name not in SYNTAX_WITHOUT_ARGUMENTS:
            if not doc.get(b"arguments"):  # none, or a syntax text that cannot be parsed
                wrong.append(f"{name}: no arguments")
    assert not wrong, "\n".join(wrong)


def flat(arguments):
    """One line per tree: name:type=TOKEN with ? optional, + multiple, t multiple_token."""
    marks = {b"optional": "?", b"multiple": "+", b"multiple_token": "t"}
    words = []
    for argument in arguments:
        word = f"{argument[b'name'].decode()}:{argument[b'type'].decode()}"
        if b"token" in argument:
            word += f"={argument[b'token'].decode()}"
        word += "".join(marks[flag] for flag in argument.get(b"flags", []))
        if b"key_spec_index" in argument:
            word += f"#{argument[b'key_spec_index']}"
        if b"arguments" in argument:
            word += f"({flat(argument[b'arguments'])})"
        words.append(word)
    return " ".join(words)


@pytest.mark.parametrize("name", ["set", "getex", "mset", "mget", "scan", "expire", "copy", "smove", "object|encoding",
                                  "config|set", "info", "ping", "auth", "srandmember", "sintercard", "sunionstore", "zunion",
                                  "zinterstore", "zdiff", "zdiffstore", "zintercard", "lmpop", "zmpop"])
def test_argument_trees_are_those_of_the_reference(moon, oracle, name):
    ours, theirs = (s.client(resp=3).call("COMMAND", "DOCS", name)[name.encode()] for s in (moon, oracle))
    assert flat(ours[b"arguments"]) == flat(theirs[b"arguments"])


def test_a_plain_argument_has_a_display_text(moon):
    arguments = moon.client(resp=3).call("COMMAND", "DOCS", "set")[b"set"][b"arguments"]
    key, condition = arguments[0], arguments[2]
    assert key[b"display_text"] == b"key"
    assert b"display_text" not in condition
    assert condition[b"arguments"][0][b"display_text"] == b"nx"


def test_history_is_pairs(moon, oracle):
    ours, theirs = (s.client(resp=3).call("COMMAND", "DOCS", "set")[b"set"][b"history"] for s in (moon, oracle))
    assert ours == theirs


SAME_BYTES = [
    "COMMAND INFO mset get nosuch", "COMMAND INFO config|get", "COMMAND INFO CONFIG|GET config|nosuch nosuch|get",
    "COMMAND INFO object|encoding", "COMMAND GETKEYS mset a b c d", "COMMAND GETKEYS mset a b a b",
    "COMMAND GETKEYS mset a b c", "COMMAND GETKEYS object encoding k", "COMMAND GETKEYS object nosuch k",
    "COMMAND GETKEYS nosuch a", "COMMAND GETKEYS ping a", "COMMAND GETKEYS config get a", "COMMAND GETKEYS get a b c",
    "COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS set a b", "COMMAND GETKEYSANDFLAGS set a b get",
    "COMMAND GETKEYS zunionstore d 2 a b weights 1 2", "COMMAND GETKEYS zunionstore d x a b", "COMMAND GETKEYS zunionstore d 3 a b",
    "COMMAND GETKEYS zunionstore d 0 a", "COMMAND GETKEYS zunionstore d -1 a", "COMMAND GETKEYS zunion 2 a b", "COMMAND GETKEYS zunion 3 a b",
    "COMMAND GETKEYS sintercard 1 a limit 1", "COMMAND GETKEYSANDFLAGS lmpop 2 a b left", "COMMAND GETKEYS zmpop 1 a min count 2", "COMMAND GETKEYSANDFLAGS zinterstore d 1 a", "COMMAND GETKEYSANDFLAGS sdiffstore d a b",
    "COMMAND GETKEYSANDFLAGS mset a b c d", "COMMAND GETKEYSANDFLAGS smove a b c", "COMMAND LIST FILTERBY",
    "COMMAND LIST FILTERBY ACLCAT nosuch", "COMMAND LIST FILTERBY MODULE x", "COMMAND LIST FILTERBY NOSUCH x",
    "COMMAND LIST FILTERBY PATTERN msetn?", "COMMAND LIST FILTERBY PATTERN CONFIG|GE*", "COMMAND LIST a b c",
    "COMMAND NOSUCH", "COMMAND COUNT 1", "COMMAND DOCS nosuch",
]


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("line", SAME_BYTES)
def test_replies_are_those_of_the_reference(moon, oracle, resp, line):
    ours, theirs = (s.client(resp=resp).call_raw(*line.split()) for s in (moon, oracle))
    assert ours == theirs


def kinds(node):
    return [node.kind, [kinds(held) for held in node.held]] if node.is_aggregate else node.kind


@pytest.mark.parametrize("resp", [2, 3])
def test_a_container_has_the_shape_of_the_reference(moon, oracle, resp):
    """Subcommands are an array of entries where there are some, else an empty set."""
    def shape(server):
        (entry,) = server.client(resp=resp).call_node("COMMAND", "INFO", "config").held
        return [kinds(held) for held in entry.held[:9]] + [entry.held[9].kind, entry.held[9].held[0].kind]

    assert shape(moon) == shape(oracle)


def test_list_and_count(moon):
    client = moon.client()
    names = client.call("COMMAND", "LIST")
    assert len(names) == len(set(names))
    assert set(names) == {name.encode() for name in entries(client)}
    assert client.call("COMMAND", "COUNT") == len([name for name in names if b"|" not in name])
    assert client.call("COMMAND", "COUNT") == len(client.call("COMMAND", "INFO"))
    writes = client.call("COMMAND", "LIST", "FILTERBY", "ACLCAT", "write")
    assert b"set" in writes
    assert b"get" not in writes


def test_getkeys_of_a_command_without_arguments(moon):
    with pytest.raises(ReplyError, match="Invalid number of arguments"):
        moon.client().call("COMMAND", "GETKEYS", "get")


def test_help(moon):
    lines = moon.client().call("COMMAND", "HELP")
    assert lines[0] == b"COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
