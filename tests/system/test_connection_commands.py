"""Commands about connections and the server answer as redis-server does, to good and to bad arguments."""
import pytest

from moonlib.server import start_moon, start_oracle

SAME_BYTES = """
    SELECT / SELECT 0 / SELECT 15 / SELECT 16 / SELECT -1 / SELECT abc / SELECT 1.5 / SELECT 2147483647
    SELECT 2147483648 / SELECT -2147483649 / SELECT 99999999999999999999 / SELECT 0 1
    MOVE k abc / MOVE k 99 / MOVE k 0 / SWAPDB a 1 / SWAPDB 1 b / SWAPDB 1 99 / SWAPDB 99999999999 1
    CLIENT / CLIENT NOSUCH / CLIENT ID x / CLIENT GETNAME x / CLIENT SETNAME / CLIENT REPLY / CLIENT REPLY NOSUCH
    CLIENT NO-EVICT / CLIENT NO-EVICT nosuch / CLIENT NO-EVICT on / CLIENT INFO x
    CLIENT LIST nosuch / CLIENT LIST TYPE / CLIENT LIST TYPE nosuch / CLIENT LIST TYPE replica / CLIENT LIST TYPE pubsub
    CLIENT LIST ID / CLIENT LIST ID abc / CLIENT LIST ID 0 / CLIENT LIST ID -1 / CLIENT LIST ID 0 -5 999999
    CLIENT LIST ID 999999 x / CLIENT LIST ID 99999999999999999999
    CLIENT KILL / CLIENT KILL nosuch / CLIENT KILL 1.2.3.4:55 / CLIENT KILL ID abc / CLIENT KILL ID 0 / CLIENT KILL ID -1
    CLIENT KILL ID 12345678 / CLIENT KILL TYPE nosuch / CLIENT KILL TYPE replica / CLIENT KILL USER nosuch / CLIENT KILL USER
    CLIENT KILL ADDR / CLIENT KILL ADDR 1.2.3.4:1 / CLIENT KILL LADDR 1.2.3.4:1 / CLIENT KILL SKIPME nosuch
    CLIENT KILL SKIPME yes ID 99999 / CLIENT KILL NOSUCH bar / CLIENT KILL ID 99999 TYPE
    HELLO 1 / HELLO 4 / HELLO abc / HELLO 99999999999999999999 / HELLO 2 AUTH / HELLO 2 AUTH default / HELLO 2 SETNAME
    HELLO 2 NOSUCH / HELLO 3 SETNAME ok NOSUCH / AUTH / AUTH x / AUTH default x / AUTH a b c / AUTH u p
    SHUTDOWN NOSUCH / SHUTDOWN ABORT / SHUTDOWN ABORT NOW / SHUTDOWN ABORT ABORT / SHUTDOWN SAVE NOSAVE / SHUTDOWN NOSAVE SAVE
    SHUTDOWN SAVE ABORT / SHUTDOWN NOSAVE ABORT / SHUTDOWN NOW NOSUCH
    FLUSHALL nosuch / FLUSHALL ASYNC SYNC / FLUSHDB nosuch / DBSIZE x / TIME x / PING a b / ECHO / ECHO a b / LASTSAVE x
    RESET x / INFO nosuch
"""
LINES = [line.strip() for row in SAME_BYTES.strip().splitlines() for line in row.split(" / ")]


@pytest.fixture(scope="module", params=[1, 2], ids=["shards1", "shards2"])
def moon(request):
    with start_moon(shards=request.param) as server:
        yield server


@pytest.fixture(scope="module")
def oracle():
    with start_oracle() as server:
        yield server


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("line", LINES)
def test_replies_are_those_of_the_reference(moon, oracle, resp, line):
    ours, theirs = (s.client(resp=resp).call_raw(*line.split()) for s in (moon, oracle))
    assert ours == theirs


def test_more_ids_than_any_table_of_fixed_size(moon):
    """Ids over the 1,024th were once left out without a word."""
    asker, other = moon.client(), moon.client()
    me, wanted = asker.call("CLIENT", "ID"), other.call("CLIENT", "ID")
    nobody = [str(10**9 + i) for i in range(3000)]
    listed = asker.call("CLIENT", "LIST", "ID", *nobody, str(wanted), str(me))
    assert sorted(int(line.split(b" ")[0][3:]) for line in listed.splitlines()) == sorted((me, wanted))
    assert asker.call("CLIENT", "KILL", *(word for i in [*nobody, str(wanted)] for word in ("ID", i))) == 1
    assert asker.call("CLIENT", "LIST", "ID", str(wanted)) == b""
