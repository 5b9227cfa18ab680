"""Scripts on redis-server and on Moon: every reply must be the same, in RESP2 and RESP3, and afterwards all stored data. The
reference runs Lua 5.1, Moon 5.4: what a script can see of that stands in DIFFERENT, with its reason."""
import hashlib
import random

import pytest

import compare
import generators
from pair import ALONE, Pair, name_of
from test_differential import COMING, SEED

SETUP = [
    ["SET", "s", "text"], ["SET", "n", "5"], ["RPUSH", "l", "a", "b", "c"], ["HSET", "h", "f", "1", "g", "2"], ["HSET", "h1", "f", "1"],
    ["SADD", "set", "m"], ["ZADD", "z", "1.5", "a", "2", "b"],
]

# Names say nothing a script does not; keys and arguments follow it.
CONVERSIONS = [
    "return 1", "return -1", "return 3.99", "return -3.99", "return 1e15", "return 0", "return true", "return false", "return nil", "return",
    "return ''", "return 'text'", "return {}", "return {1,2,3}", "return {1,2,nil,4}", "return {1,'a',{2,{3}},true,false}",
    "return {ok='fine'}", "return {err='My error'}", "return {err='ERR my error'}", "return {1,{err='Inner'},{ok='st'}}",
    "return {err='two\\r\\nlines'}", "return {ok='two\\r\\nlines'}", "return {err=5}", "return {ok=5}", "return {err='x',ok='y'}",
    "return {double=3.5}", "return {double=3}", "return {double=1/0}", "return {double='3'}", "return {map={a=1}}", "return {map={}}",
    "return {map={a={map={b=2}}}}", "return {set={a=true}}", "return {set={}}", "return {map=1}", "return {set='x'}",
    "return {big_number='12345678901234567890'}", "return {big_number='1\\r\\n2'}", "return {big_number=5}",
    "return {verbatim_string={format='txt',string='hello'}}", "return {verbatim_string={format='txt'}}", "return {verbatim_string='x'}",
    "return {double=1,map={}}", "return {map={},set={}}", "return {set={},big_number='1'}", "return {map={},big_number='1'}",
    "return {big_number='1',verbatim_string={format='txt',string='x'}}", "return {ok='x',double=1}",
    "return function() end", "return {function() end}", "return KEYS", "return ARGV", "return {#KEYS,#ARGV}", "return {KEYS[1],ARGV[1]}",
    "return {1,2,foo='bar'}", "return {foo='bar'}", "return setmetatable({}, {__index=function() return 1 end})",
    "return redis.call('get','s')", "return redis.call('get','none')", "return redis.call('lrange','l',0,-1)", "return redis.call('hgetall','h')",
    "return redis.call('smembers','set')", "return redis.call('zscore','z','a')", "return redis.call('zrange','z',0,-1,'withscores')",
    "return redis.call('set','x','y')", "return redis.call('incr','n')", "return redis.call('mget','s','none','n')", "return redis.call('ping')",
    "return redis.call('ping','x')", "return redis.call('echo','x')", "return redis.call('exists','none')", "return redis.call('lpop','none')",
    "return redis.call('lpop','none',2)", "return type(redis.call('get','none'))", "return type(redis.call('set','x','y'))",
    "return redis.call('set','x','y').ok", "return redis.call('set','x','y')['ok'] == 'OK'", "return redis.call('type','l').ok",
    "return type(redis.call('incr','n'))", "return redis.call('incr','n') + 1", "return redis.call('incrbyfloat','n','0.5')",
    "redis.setresp(3) return redis.call('hgetall','h1')", "redis.setresp(3) return redis.call('smembers','set')",
    "redis.setresp(3) return redis.call('zscore','z','a')", "redis.setresp(3) return redis.call('get','none')", "redis.setresp(3) return true",
    "redis.setresp(3) return false", "redis.setresp(3) return type(redis.call('get','none'))", "redis.setresp(3) return redis.call('hgetall','h').map.f",
    "redis.setresp(3) return redis.call('smembers','set').set.m", "redis.setresp(3) return redis.call('zscore','z','a').double",
    "redis.setresp(3) return redis.call('zrange','z',0,-1,'withscores')", "redis.setresp(3) redis.setresp(2) return redis.call('hgetall','h')",
    "redis.setresp(3) return {true,false}", "return {true,false}", "redis.setresp(3) return redis.call('lpop','none')",
    "redis.setresp(3) return redis.call('hget','h','none')", "redis.setresp(3) return nil",
]
ARGUMENTS = [
    "return redis.call('echo', 1)", "return redis.call('echo', 1.5)", "return redis.call('echo', 10/2)", "return redis.call('echo', 10/3)",
    "return redis.call('echo', 0.1)", "return redis.call('echo', 1e20)", "return redis.call('echo', -0.0)", "return redis.call('echo', 1/0)",
    "return redis.call('echo', -1/0)", "return redis.call('echo', 2^53)", "return redis.call('echo', 2^31)", "return redis.call('echo', 3.0)",
    "return redis.call('echo', 1e15)", "return redis.call('echo', 123456789012)", "return redis.call('echo', true)", "return redis.call('echo', nil)",
    "return redis.call('echo', {})", "return redis.call()", "return redis.pcall()", "return redis.call(1)", "return redis.call('set','x',7.0) and redis.call('get','x')",
    "return redis.call('echo', 'a\\0b')", "return redis.call(unpack({'echo','x'}))", "return redis.pcall('echo', {})",
    "return redis.call('GeT','s')", "return redis.call('object','encoding','n')", "return redis.call('set','x','1','ex',100)",
]
ERRORS = [
    "return redis.call('nosuch')", "return redis.pcall('nosuch')", "return redis.call('get')", "return redis.pcall('get')",
    "return redis.call('get','a','b')", "return redis.call('object')", "return redis.call('object','nosuch','x')", "return redis.call('incr','s')",
    "return redis.pcall('incr','s')", "return redis.pcall('incr','s').err", "return redis.call('lpush','s','x')", "return redis.pcall('lpush','s','x')",
    "local e = redis.pcall('incr','s') return e['err']", "local ok, e = pcall(redis.call,'incr','s') return {ok, type(e), e.err}",
    "local ok, e = pcall(redis.call,'nosuch') return {ok, e.err}", "local ok, e = pcall(function() error('x') end) return {ok, e}",
    "return redis.call('multi')", "return redis.call('exec')", "return redis.call('watch','x')", "return redis.call('eval','return 1',0)",
    "return redis.call('script','flush')", "return redis.call('script','load','x')", "return redis.call('config','get','x')",
    "return redis.call('client','id')", "return redis.call('auth','x')", "return redis.call('hello')", "return redis.call('debug','object','s')",
    "return redis.call('shutdown')", "return redis.call('reset')", "return redis.call('quit')",
    "error('my error')", "error({err='My Err'})", "error({err='ERR x'})", "error({err=5})", "error()", "error(nil)", "error(5)",
    "error('x', 0)", "\n\nerror('line three')", "local function f() error('deep') end f()", "local function f() return redis.call('incr','s') end\nreturn f()",
    "foo = 1", "return foo", "return foo.bar", "function f() end", "local a = nil return a.b", "return 1 + {}", "return 1 + nil", "return #5",
    "return {} .. 'x'", "return {} < {}", "return nil()", "local x = 5 x()", "redis.foo = 1", "string.foo = 1", "math.pi = 3", "_G.foo = 1", "_G = {}", "KEYS = {}",
    "rawset(_G,'foo',1)", "rawset(redis,'foo',1)", "rawset(string,'foo',1)", "table.insert = nil", "return _G.foo", "return redis.foo == nil", "return string.foo == nil",
    "setmetatable(_G, {})", "setmetatable(string, {})", "return rawget(_G,'nosuch') == nil", "return rawget(_G,'redis') ~= nil", "return _G._G == _G",
    "return os.time()", "return io.open('x')", "return require('x')", "return package.path", "return debug.getinfo(1)", "return dofile('x')",
    "return loadfile('x')", "print('x')", "return redis.error_reply('My Err')", "return redis.error_reply('ERR x')", "return redis.error_reply('single')",
    "return redis.error_reply('-CODE x')", "return redis.error_reply('-')", "return redis.error_reply('')", "return redis.error_reply()", "return redis.error_reply(5)",
    "return redis.error_reply('a','b')", "return redis.status_reply('fine')", "return redis.status_reply()", "return redis.status_reply(5)",
    "return redis.status_reply('a\\r\\nb')", "return redis.error_reply('a b\\r\\nc')", "return redis.error_reply('a b\\r\\n')",
    "return redis.sha1hex('x')", "return redis.sha1hex('')", "return redis.sha1hex()", "return redis.sha1hex('a','b')", "return redis.sha1hex(5)",
    "return redis.sha1hex(string.rep('a',55))", "return redis.sha1hex(string.rep('a',56))", "return redis.sha1hex(string.rep('a',64))",
    "return redis.sha1hex(string.rep('a',119))", "return redis.sha1hex(string.rep('a',1000))", "redis.log()", "redis.log(1)", "redis.log('x','y')", "redis.log(9,'y')", "redis.log(-1,'y')",
    "return redis.log(redis.LOG_NOTICE,'y')", "return {redis.LOG_DEBUG,redis.LOG_VERBOSE,redis.LOG_NOTICE,redis.LOG_WARNING}",
    "redis.setresp()", "redis.setresp(4)", "redis.setresp('x')", "redis.setresp(2,3)", "return redis.replicate_commands()", "return redis.breakpoint()",
    "return redis.set_repl(redis.REPL_ALL)", "redis.set_repl()", "redis.set_repl(9)",
    "local t = {} t[1] = t local ok, e = pcall(tostring, t) return ok", "local function f() return f() + 1 end return f()", "return xpcall(function() error('x') end, function(e) return 'h:'..e end)",
    "return select(2, xpcall(function() error('x') end, function(e) return 'h:'..e end))", "coroutine.yield(1)", "return coroutine.wrap(function() return redis.call('get','s') end)()",
    "return coroutine.wrap(function() redis.call('incr','s') end)()", "assert(false)", "assert(false,'why')", "assert(nil)", "return assert(1)",
    "return tostring(nil)..tostring(true)", "return tonumber('0x10')", "return tonumber('z',36)", "return tonumber('x')", "return type(_VERSION)",
    "return redis.call('select',1)", "redis.call('select',1) redis.call('set','other','1') return redis.call('get','other')", "return redis.call('select',99)", "return redis.call('select','x')",
    "return #redis.call('time')",
]
LUA51 = [
    "return table.getn({1,2,3})", "return table.maxn({1,2,[10]=3})", "return unpack({1,2})", "return {unpack({1,2,3},2)}", "return {unpack({1,2,3},2,3)}",
    "return loadstring('return 5')()", "return load(function() return nil end) ~= nil", "return {math.pow(2,3),math.log10(100),math.floor(math.cosh(0)),math.floor(math.sinh(0)),math.floor(math.tanh(0))}",
    "return {math.ldexp(1,3),math.frexp(8)}", "return math.floor(math.atan2(1,1)*1000)", "return math.mod(7,3)", "return math.fmod(7,3)",
    "local n = 0 table.foreach({1,2}, function(k,v) n = n + v end) return n", "local n = 0 table.foreachi({1,2}, function(k,v) n = n + v end) return n",
    "return table.foreach({a='x'}, function(k,v) return k..v end)", "local t = {} for w in string.gfind('a b c','%a') do t[#t+1]=w end return t",
    "return string.format('%d %s %5.2f %x', 5, 'x', 1.5, 255)", "return string.format('%d', 3)", "return string.format('%i', '10')", "return {string.find('hello','l')}",
    "return string.gsub('hello','l','L')", "return string.rep('ab',3)", "return string.byte('a')", "return string.char(97,98)", "return ('x'):upper()", "return #'abc'",
    "return table.concat({1,2,3},',')", "local t = {3,1,2} table.sort(t) return t", "local t = {1,2} table.insert(t,3) table.remove(t,1) return t", "return math.floor(3.7)", "return math.ceil(3.2)", "return math.max(1,5,3)",
    "return math.abs(-5)", "return math.random(1,1)", "math.randomseed(0) return {math.random(100),tostring(math.random()),math.random(5,10)}", "math.randomseed(5) return {math.random(1000),math.random(1000)}",
    "return math.random(0)", "return math.random(5,1)", "return math.random(1,2,3)",
    "return tostring(10)", "return 10 .. ''", "return tostring(1.5)", "return 7 % 3", "return -7 % 3", "return 2^10", "return 7/2", "return math.huge > 1", "return '10'+5", "return '3'*'4'",
    "local a = {} for i=1,3 do a[i]=i*2 end return a", "local t = {a=1} local n for k,v in pairs(t) do n = k end return n", "return next({}) == nil", "for i,v in ipairs({1,2}) do if i == 2 then return v end end",
    "local t = setmetatable({}, {__gc=function() end, __call=function(t, x) return x end}) return t(5)", "goto_ = 1",
    "return cjson == nil", "local n = 0 for k in pairs(_G) do n = n + 1 end return n > 10", "return rawequal('a','a')", "return select('#',1,2,3)",
    "return math.floor(2^31 + 0.5)", "return 1e3", "return 0x10", "return tonumber('1e2')", "return tonumber('  5  ')", "return ('%5d'):format(42)",
]
# What Lua 5.4 says in other words than 5.1, or does in another way, and what is not there: docs/compatibility.md.
DIFFERENT = {  # script: how Moon's reply begins
    "error(5)": b"-ERR 5 script:",  # only text gets a line number in front
    "local a = nil return a.b": b"-ERR user_script:1: attempt to index a nil value (local 'a') script:",
    "return nil()": b"-ERR Error compiling script (new function): user_script:1: <eof> expected near '('",
    "local x = 5 x()": b"-ERR user_script:1: attempt to call a number value (local 'x') script:",
    "coroutine.yield(1)": b"-ERR attempt to yield from outside a coroutine script:",
    "return cjson == nil": b"$-1",
    # Numbers: a float is not an integer, and is written so inside of Lua.
    "return 10/2 .. ''": b"$3\r\n5.0",
    "return tostring(3.0)": b"$3\r\n3.0",
    "return string.format('%d', 2.5)": b"-ERR user_script:1: bad argument #2 to 'format' (number has no integer representation) script:",
    "return 9007199254740993": b":9007199254740993",
    "return cjson.encode({})": b"-ERR user_script:1: cjson is not available yet script:",
    "return cmsgpack.pack(1)": b"-ERR user_script:1: cmsgpack is not available yet script:",
    "return struct.pack('b',1)": b"-ERR user_script:1: struct is not available yet script:",
    "return bit.band(1,1)": b"-ERR user_script:1: bit is not available yet script:",
    "return redis.set_repl(redis.REPL_NONE)": b"-ERR redis.set_repl() of other than REPL_ALL is not available: all effects are logged script:",
    # A table without a text: the reference ends at this.
    "error({})": b"-ERR unknown error script:",
}
SCRIPTS = CONVERSIONS + ARGUMENTS + ERRORS + LUA51


def digest(text):
    return hashlib.sha1(text.encode()).hexdigest()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def pair(oracle, moons, request):
    pair = Pair(oracle, moons.get(1), request.param)
    pair.reset()
    for command in SETUP:
        pair.run([command])
    yield pair
    pair.close()


def test_table(pair):
    failures = []
    for text in SCRIPTS:
        if text in DIFFERENT:
            continue
        for words in (["EVAL", text, 0], ["EVAL", text, 2, "s", "l", "x", "5"], ["EVALSHA", digest(text), 1, "k"], ["EVAL_RO", text, 0]):
            (oracle,), (moon,) = pair.both([words])
            if oracle != moon and not compare.same_reply("EVAL", oracle, moon):
                failures.append(f"{words[0]} {text!r}\n  redis {oracle[:300]!r}\n  moon  {moon[:300]!r}")
                break
    assert not failures, f"{len(failures)} of {len(SCRIPTS)}\n" + "\n".join(failures)
    assert pair.compare_data() is None


@pytest.mark.parametrize("text", DIFFERENT)
def test_what_differs(moons, text):
    with moons.get(1).client() as c:
        assert c.call_raw("EVAL", text, 0).startswith(DIFFERENT[text])


# ---- drawn commands, each called by a script

BLOCKS = 3000
UNFIT = set(ALONE) | set(COMING) | {"OBJECT|ENCODING", "OBJECT|FREQ", "OBJECT|IDLETIME", "OBJECT|REFCOUNT", "ZRANK", "ZREVRANK"}
NAMES = [name for name in generators.GENERATORS if name not in UNFIT]
CALLERS = ["return redis.call(unpack(ARGV))", "return redis.pcall(unpack(ARGV))", "local r = redis.call(unpack(ARGV)) return r",
           "local ok, r = pcall(redis.call, unpack(ARGV)) return r"]


def is_large(oracle, moon):
    """Integers beyond 2^53 are exact in Lua 5.4; in 5.1 they are floats."""
    return oracle[:1] == moon[:1] == b":" and abs(int(moon[1:])) > 2**53 and (float(oracle[1:]) == float(moon[1:]) or int(oracle[1:]) == -2**63)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("shards", [1, 4], ids=["shards1", "shards4"])
def test_drawn_commands_in_scripts(oracle, moons, full, shards, resp):
    """Keys are declared or not: on several shards such a script is run again with all of them."""
    rng = random.Random(f"{SEED} scripts {shards} {resp}")
    commands = generators.draw_sequence(f"{SEED} scripts {shards} {resp}", BLOCKS * (10 if full else 1), NAMES)
    pair = Pair(oracle, moons.get(shards), resp)
    pair.reset()
    failures = []
    for command in commands:
        text = rng.choice(CALLERS)
        words = ["EVAL", text, 0, *command] if rng.random() < 0.9 else [*command]
        if rng.random() < 0.05:
            words = ["EVAL_RO", *words[1:]] if words[0] == "EVAL" else words
        (a,), (b,) = pair.both([words])
        if a != b and not compare.same_reply(name_of(command), a, b) and not is_large(a, b):
            failures.append(f"{words}\n  redis {a[:300]!r}\n  moon  {b[:300]!r}")
            break
    difference = pair.compare_data()
    pair.close()
    assert not failures, "\n".join(failures)
    assert difference is None, difference


@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
def test_in_transactions(oracle, moons, resp):
    pair = Pair(oracle, moons.get(1), resp)
    pair.reset()
    for text in ("return redis.call('incr','n')", "redis.call('set','s','x') return redis.call('incr','s')", "return {1,{err='X y'},{map={a=1}}}", "return foo", "return )"):
        words = [["MULTI"], ["SET", "k", "1"], ["EVAL", text, "0"], ["EVALSHA", digest(text), "0"], ["EVAL", text, "5"], ["SCRIPT", "EXISTS", digest(text)],
                 ["SCRIPT", "LOAD", text], ["EXEC"], ["GET", "n"]]
        oracle_raw, moon_raw = pair.both(words)
        assert oracle_raw == moon_raw
    assert pair.compare_data() is None
    pair.close()


COMMANDS = [
    ["EVAL"], ["EVAL", "return 1"], ["EVAL", "return 1", "x"], ["EVAL", "return 1", "-1"], ["EVAL", "return 1", "1"], ["EVAL", "return 1", "1.5"], ["EVAL", "return 1", "99999999999999999999"],
    ["EVALSHA", "x", "0"], ["EVALSHA", "f" * 40, "0"], ["EVALSHA", "f" * 40, "x"], ["EVALSHA", "x", "x"], ["EVALSHA", "F" * 40, "-1"], ["EVALSHA_RO", "x", "0"], ["EVAL_RO", "return 1", "0"],
    ["EVAL", "", "0"], ["EVAL", "return redis.call('set','x','1')", "0"], ["EVAL_RO", "return redis.call('set','x','1')", "0"], ["EVAL_RO", "return redis.call('get','x')", "0"],
    ["EVALSHA_RO", hashlib.sha1(b"return 1").hexdigest(), "0"], ["EVALSHA", hashlib.sha1(b"return 1").hexdigest().upper(), "0"],
    ["SCRIPT"], ["SCRIPT", "NOSUCH"], ["SCRIPT", "LOAD"], ["SCRIPT", "LOAD", "return 5"], ["SCRIPT", "LOAD", "return 5", "x"], ["SCRIPT", "EXISTS"], ["SCRIPT", "EXISTS", "x"],
    ["SCRIPT", "EXISTS", hashlib.sha1(b"return 5").hexdigest(), hashlib.sha1(b"none").hexdigest()], ["SCRIPT", "KILL"],
    ["SCRIPT", "EXISTS", hashlib.sha1(b"return 5").hexdigest().upper()], ["EVALSHA", hashlib.sha1(b"return 5").hexdigest().upper(), "0"], ["SCRIPT", "FLUSH", "x"], ["SCRIPT", "FLUSH", "sync", "x"],
    ["SCRIPT", "FLUSH", "SYNC"], ["EVALSHA", hashlib.sha1(b"return 5").hexdigest(), "0"], ["SCRIPT", "FLUSH", "ASYNC"], ["SCRIPT", "FLUSH"], ["SCRIPT", "LOAD", "#!lua\nreturn 1"],
    ["EVAL", "#!lua\nreturn 1", "0"], ["EVAL_RO", "#!lua\nreturn 1", "0"], ["EVAL_RO", "#!lua flags=no-writes\nreturn 1", "0"], ["EVAL", "#!lua flags=no-writes\nreturn redis.call('set','x','1')", "0"],
    ["EVAL", "#!lua flags=no-writes,allow-oom,allow-stale,no-cluster,allow-cross-slot-keys\nreturn 1", "0"], ["EVAL", "#!lua flags=bad\nreturn 1", "0"], ["EVAL", "#!lua bad=1\nreturn 1", "0"],
    ["EVAL", "#!lua flags=\nreturn 1", "0"], ["EVAL", "#!python\nreturn 1", "0"], ["EVAL", "#!lua", "0"], ["EVAL", "#!\nreturn 1", "0"], ["EVAL", "#!lua\n\nerror('x')", "0"], ["EVAL", "#!lua\tflags=no-writes \nreturn 1", "0"],
    ["EVAL", "return {KEYS,ARGV}", "2", "a", "b", "c", "d"],
]


@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
def test_commands(oracle, moons, resp):
    pair = Pair(oracle, moons.get(1), resp)
    pair.reset()
    replies = [(words, *(raws[0] for raws in pair.both([words]))) for words in COMMANDS]
    pair.close()
    differing = [f"{words}\n  redis {a!r}\n  moon  {b!r}" for words, a, b in replies if a != b]
    assert not differing, "\n".join(differing)
