"""DEBUG OBJECT and DEBUG DIGEST-VALUE: their texts hold what is each server's own (addresses, digits), so it
is compared what they say about each other."""
import pytest

import generators

DRAWN = 2500
KEYS = [f"{{t}}{kind}{n}" for kind in "shltzn" for n in (1, 2, 3)]


def filled(*clients):
    """The same data in all of them, with some values twice."""
    names = [name for name in generators.GENERATORS if name in {
        "SET", "HSET", "RPUSH", "LPUSH", "SADD", "ZADD", "LPOP", "SREM", "HDEL", "ZREM", "COPY", "RENAME", "APPEND", "INCR"}]
    commands = generators.draw_sequence("debug", DRAWN, names)
    for client in clients:
        client.call("FLUSHALL")
        client.pipeline_raw(commands)
        client.pipeline_raw([["COPY", key, "{t}copy of " + key, "REPLACE"] for key in KEYS])
        client.call("PEXPIREAT", "{t}copy of {t}s1", 4102444800000)


@pytest.mark.parametrize("shards", [1, 4])
def test_digests_are_equal_where_the_reference_s_are(oracle, moons, shards):
    with oracle.client() as o, moons.get(shards).client() as m:
        filled(o, m)
        keys = [key.decode() for key in sorted(o.call("KEYS", "*"))] + ["absent"]
        theirs, ours = (client.call("DEBUG", "DIGEST-VALUE", *keys) for client in (o, m))
    assert len(keys) > 40
    assert ours[-1] == theirs[-1] == b"0" * 40
    assert all(len(digest) == 40 for digest in ours)
    alike = [(a, b) for a in range(len(keys)) for b in range(a) if (theirs[a] == theirs[b]) != (ours[a] == ours[b])]
    assert not alike, [(keys[a], keys[b]) for a, b in alike]
    assert len(set(ours)) < len(ours), "no two equal: the test shows nothing"


@pytest.mark.parametrize("shards", [1, 4])
def test_object_agrees_with_object_encoding(oracle, moons, shards):
    with oracle.client() as o, moons.get(shards).client() as m:
        filled(o, m)
        for key in m.call("KEYS", "*"):
            said = dict(word.split(b":", 1) for word in m.call("DEBUG", "OBJECT", key).split()[1:])
            assert said[b"encoding"] == m.call("OBJECT", "ENCODING", key)
            assert int(said[b"serializedlength"]) > 0
            assert int(said[b"lru_seconds_idle"]) < 60
        for wrong in (["absent"], [], ["a", "b"]):
            assert m.call_raw("DEBUG", "OBJECT", *wrong)[:4] == o.call_raw("DEBUG", "OBJECT", *wrong)[:4]
        assert m.call_raw("DEBUG", "OBJECT", "absent") == o.call_raw("DEBUG", "OBJECT", "absent")
