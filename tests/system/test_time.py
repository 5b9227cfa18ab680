"""The time at which commands run: one for all of a pass, but a key lives as long as its client asks, whatever ran before."""
import time

from moonlib.resp import encode, parse, to_python


def read(client):
    return to_python(parse(client.read_raw()))


def test_time_does_not_go_back(pair):
    """A shard comes out of a pass that took long, and works on one that has worked since: not earlier than that."""
    late, writer = pair.on(0), pair.on(1)
    for _ in range(3):
        time.sleep(0.05)  # they fall asleep
        late.send(encode(["DEBUG", "SLEEP", "0.3"]) + encode(["GET", pair.b2]) + encode(["PTTL", pair.b]))
        time.sleep(0.15)
        assert writer.pipeline([["SET", pair.b, "v", "PX", 10000], ["SET", pair.b2, "seen"]]) == [b"OK"] * 2
        assert [read(late), read(late)] == [b"OK", b"seen"]
        assert 9000 < read(late) <= 10000
        assert writer.call("DEL", pair.b, pair.b2) == 2
