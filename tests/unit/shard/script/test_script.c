/* Scripts over two commands of this test: REPLY, whose reply is its argument, and ARGS, which shows what it was given. So every
 * reply there can be is converted, and every allocation of Lua fails once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "shard/script/script_priv.h"
#include "tests/lib/cmd_fixture.h"

static void cmd_reply(struct exec *x)
{
    reply_raw(x->reply, x->argv[1]);
    if (x->argv[1].data[0] == '-') x->reply->errored = true;
}

static void cmd_args(struct exec *x)
{
    struct buf b;
    buf_init(&b, MEM_TEST);
    for (uint32_t i = 1; i < x->argc; i++)
        buf_addf(&b, "%s%.*s", i > 1 ? "|" : "", (int)x->argv[i].len,
                 (const char *)x->argv[i].data);
    reply_bulk(x->reply, buf_bytes(&b));
    buf_free(&b);
}

static const struct cmd_spec own_rows[] = {
    {.name = "REPLY", .run = cmd_reply, .arity = 2, .flags = CMD_READONLY, .spread = SPREAD_KEY},
    {.name = "ARGS", .run = cmd_args, .arity = -1, .flags = CMD_WRITE, .spread = SPREAD_KEY},
    {.name = "SECRET", .run = cmd_args, .arity = -1, .flags = CMD_NOSCRIPT, .spread = SPREAD_KEY},
};
static const struct cmd_table own_cmds = {.rows = own_rows, .count = COUNT_OF(own_rows)};

static struct fixture *f;

static const struct cmd_spec *find(struct bytes name)
{
    for (uint32_t i = 0; i < f->top_count; i++)
        if (bytes_is(name, f->specs[i].name)) return &f->specs[i];
    return NULL;
}

static const struct cmd_spec *find_sub(const struct cmd_spec *container, struct bytes name)
{
    for (uint32_t i = 0; i < container->subs_count; i++)
        if (bytes_is(name, container->subs[i].name)) return &container->subs[i];
    return NULL;
}

static const char *refuse_none(const struct request *rq)
{
    (void)rq;
    return NULL;
}

static const char *refuse_no_keys(const struct request *rq, uint16_t *slot)
{
    (void)rq;
    (void)slot;
    return NULL;
}

static int set_up(void **state)
{
    (void)state;
    static const struct script_host host = {.find = find,
                                            .find_sub = find_sub,
                                            .refuse = refuse_none,
                                            .refuse_keys = refuse_no_keys,
                                            .version = "7.4.0"};
    script_set_host(&host);
    f = fixture_new(&own_cmds, &script_cmds);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    script_close(&f->core);
    script_flush();
    fixture_free(f);
    assert_int_equal(mem_live_bytes(MEM_SCRIPT), 0);
    return 0;
}

#define TRUE_(script) expect(f, ":1\r\n", "EVAL", "return " script, "0")

static void test_replies_to_lua(void **state)
{
    (void)state;
    TRUE_("redis.call('reply','+fine\\r\\n').ok == 'fine'");
    TRUE_("redis.pcall('reply','-CODE x\\r\\n').err == 'CODE x'");
    TRUE_("redis.call('reply',':-7\\r\\n') == -7");
    TRUE_("math.type(redis.call('reply',':7\\r\\n')) == 'integer'");
    TRUE_("redis.call('reply','$3\\r\\na\\0b\\r\\n') == 'a\\0b'");
    TRUE_("redis.call('reply','$0\\r\\n\\r\\n') == ''");
    TRUE_("redis.call('reply','$-1\\r\\n') == false");
    TRUE_("redis.call('reply','*-1\\r\\n') == false");
    TRUE_("redis.call('reply','_\\r\\n') == nil");
    TRUE_("redis.call('reply','#t\\r\\n') == true");
    TRUE_("redis.call('reply','#f\\r\\n') == false");
    TRUE_("redis.call('reply',',1.5\\r\\n').double == 1.5");
    TRUE_("redis.call('reply',',inf\\r\\n').double == 1/0");
    TRUE_("redis.call('reply',',-inf\\r\\n').double == -1/0");
    TRUE_(
        "redis.call('reply','(123456789012345678901\\r\\n').big_number == '123456789012345678901'");
    TRUE_("redis.call('reply','=5\\r\\ntxt:x\\r\\n').verbatim_string.format == 'txt'");
    TRUE_("redis.call('reply','=5\\r\\ntxt:x\\r\\n').verbatim_string.string == 'x'");
    TRUE_("redis.call('reply','%1\\r\\n+k\\r\\n:1\\r\\n').map ~= nil");
    TRUE_("redis.call('reply','%1\\r\\n$1\\r\\nk\\r\\n:1\\r\\n').map.k == 1");
    TRUE_("redis.call('reply','~2\\r\\n$1\\r\\na\\r\\n$1\\r\\nb\\r\\n').set.b == true");
    TRUE_("#redis.call('reply','*0\\r\\n') == 0");
    TRUE_("redis.call('reply','*3\\r\\n:1\\r\\n$-1\\r\\n*1\\r\\n:5\\r\\n')[3][1] == 5");
    TRUE_("redis.call('reply','*2\\r\\n:1\\r\\n-ERR in it\\r\\n')[2].err == 'ERR in it'");
}

static void test_values_to_replies(void **state)
{
    (void)state;
    expect(f, ":3\r\n", "EVAL", "return 3.99", "0");
    expect(f, ":-9223372036854775808\r\n", "EVAL", "return 1e300", "0");
    expect(f, ":-9223372036854775808\r\n", "EVAL", "return 0/0", "0");
    expect(f, ":9223372036854775807\r\n", "EVAL", "return 9223372036854775807", "0");
    expect(f, "*2\r\n:1\r\n$-1\r\n", "EVAL", "return {true,false,nil,4}", "0");
    expect(f, "*1\r\n-In it\r\n", "EVAL", "return {{err='In it'}}", "0");
    expect(f, "*2\r\n$1\r\nk\r\n:1\r\n", "EVAL", "return {map={k=1}}", "0");
    expect(f, "$3\r\n1.5\r\n", "EVAL", "return {double=1.5}", "0");
    f->proto = 3;
    expect(f, "%1\r\n$1\r\nk\r\n:1\r\n", "EVAL", "return {map={k=1}}", "0");
    expect(f, "~1\r\n:7\r\n", "EVAL", "return {set={[7]=true}}", "0");
    expect(f, ",1.5\r\n", "EVAL", "return {double=1.5}", "0");
    expect(f, "(12  3\r\n", "EVAL", "return {big_number='12\\r\\n3'}", "0");
    expect(f, "=5\r\ntxt:x\r\n", "EVAL", "return {verbatim_string={format='txt',string='x'}}", "0");
    expect(f, "_\r\n", "EVAL", "return nil", "0");
    expect(f, "_\r\n", "EVAL", "return false", "0");
    expect(f, "#f\r\n", "EVAL", "redis.setresp(3) return false", "0");
    f->proto = 2;
}

static void test_arguments(void **state)
{
    (void)state;
    expect(f, "$43\r\n1|1.5|x|5|1e+20|-3|0.10000000000000001|inf|\r\n", "EVAL",
           "return redis.call('args',1,1.5,'x',5.0,1e20,-3,0.1,1/0,'')", "0");
}

static void test_bounds(void **state)
{
    (void)state;
    /* Of itself: the inner end is an error, the reply as a whole is one of 1001 levels. */
    struct bytes deep = run(f, "EVAL", "local t = {} t[1] = t return t", "0");
    assert_int_equal(deep.data[0], '*');
    assert_non_null(memmem(deep.data, deep.len, "-ERR reached lua stack limit", 28));
    expect(f, "-ERR the reply of this script is too large\r\n", "EVAL",
           "local t = {} for i = 1, 30 do t = {t, t} end return t", "0");
    struct bytes deep_call =
        run(f, "EVAL", "local function g() return 1 + g() end return g()", "0");
    assert_non_null(memmem(deep_call.data, deep_call.len, "stack overflow", 14));
    lua_gc(f->core.script->lua, LUA_GCCOLLECT);
    script__bytes_max = 64u << 20; /* the same sooner */
    struct bytes oom = run(f, "EVAL", "local s = 'x' while true do s = s .. s end", "0");
    assert_true(bytes_equal(oom, BYTES_LIT("-" NOT_ENOUGH_MEMORY "\r\n")));
    oom = run(f, "EVAL", "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end", "0");
    assert_true(bytes_equal(oom, BYTES_LIT("-" NOT_ENOUGH_MEMORY "\r\n")));
    expect(f, ":1\r\n", "EVAL", "return 1", "0");
    script__bytes_max = SCRIPT_STATE_BYTES_MAX;
    assert_true(mem_live_bytes(MEM_SCRIPT) < SCRIPT_STATE_BYTES_MAX / 2);
}

static void test_too_long(void **state)
{
    (void)state;
    f->shared.script_ms_max = 20;
    static const char *const endless[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do coroutine.wrap(function() pcall(function() while true do end end) end)() "
        "end",
        "while true do pcall(redis.call, 'reply', ':1\\r\\n') end",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do "
        "pcall(function() return t[1] end) end",
    };
    for (size_t i = 0; i < COUNT_OF(endless); i++) {
        struct bytes got = run(f, "EVAL", endless[i], "0");
        if (memmem(got.data, got.len, SCRIPT_TOO_LONG, strlen(SCRIPT_TOO_LONG)) == NULL)
            fail_msg("%s: %.*s", endless[i], (int)got.len, (const char *)got.data);
    }
    /* What has written goes on to its end. */
    expect(f, "$4\r\ndone\r\n", "EVAL",
           "redis.call('args') for i = 1, 3000000 do end return 'done'", "0");
    f->shared.script_ms_max = 0;
    expect(f, ":5\r\n", "EVAL", "return 5", "0");
}

static void test_nothing_is_left_behind(void **state)
{
    (void)state;
    static const char *const tries[] = {
        "leak = 1",
        "_G.leak = 1",
        "rawset(_G, 'leak', 1)",
        "_ENV = setmetatable({}, {__index = _G}) leak = 1 return leak",
        "string.leak = 1",
        "getmetatable('').__index.leak = 1",
        "setmetatable(_G, nil) leak = 1",
        "table.insert(_G, 1)",
        "for k, v in pairs(_G) do if type(v) == 'table' then pcall(rawset, v, 'leak', 1) end end",
        "coroutine.wrap(function() leak = 1 end)()",
        "load('leak = 1')()",
        "load('leak = 1', 'x', 't', setmetatable({}, {__index = _G}))()",
        "table.sort(_G, function() return true end)",
        "table.move({1}, 1, 1, 1, _G)",
        "setmetatable({}, {__gc = function() string.leak = 1 end})",
    };
    for (size_t i = 0; i < COUNT_OF(tries); i++) {
        (void)run(f, "EVAL", tries[i], "0");
        (void)run(f, "EVAL", tries[i], "0");
        struct bytes got =
            run(f, "EVAL",
                "return {rawget(_G,'leak') == nil, string.leak == nil, ('').leak == nil, "
                "redis.leak == nil, math.leak == nil, rawget(_G,1) == nil}",
                "0");
        if (!bytes_equal(got, BYTES_LIT("*6\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n")))
            fail_msg("%s: %.*s", tries[i], (int)got.len, (const char *)got.data);
    }
    /* Bytecode is not text. */
    struct bytes got = run(f, "EVAL", "return load('\\27Lua')", "0");
    assert_true(bytes_equal(got, BYTES_LIT("$-1\r\n")));
    got = run(f, "EVAL", "\033Lua", "0");
    assert_non_null(memmem(got.data, got.len, "attempt to load a binary chunk", 30));
    expect(f, ":1\r\n", "EVAL", "return string.dump == nil", "0");
}

static void test_sha1(void **state)
{
    (void)state;
    /* FIPS 180 examples, and every length around a block's end beside each other. */
    char sha[SHA1_TEXT];
    script__sha1_text(BYTES_LIT("abc"), sha);
    assert_memory_equal(sha, "a9993e364706816aba3e25717850c26c9cd0d89d", SHA1_TEXT);
    script__sha1_text(BYTES_LIT(""), sha);
    assert_memory_equal(sha, "da39a3ee5e6b4b0d3255bfef95601890afd80709", SHA1_TEXT);
    script__sha1_text(BYTES_LIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), sha);
    assert_memory_equal(sha, "84983e441c3bd26ebaae4aa1f95129e5e54670f1", SHA1_TEXT);
}

static void test_names_of_scripts(void **state)
{
    (void)state;
    expect(f, "-NOSCRIPT No matching script. Please use EVAL.\r\n", "EVALSHA", "x", "0");
    expect(f, "$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n", "SCRIPT", "LOAD", "return 1");
    expect(f, ":1\r\n", "EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "0");
    expect(f, "*2\r\n:1\r\n:0\r\n", "SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
           "x");
    /* More than are kept: what was loaded stays. */
    char text[64];
    for (uint32_t i = 0; i < 2 * SCRIPT_FUNCTIONS_MAX; i++) {
        (void)snprintf(text, sizeof text, "return %u", i + 2);
        struct bytes got = run(f, "EVAL", text, "0");
        assert_int_equal(got.data[0], ':');
    }
    expect(f, ":1\r\n", "EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0");
    expect(f, "*1\r\n:0\r\n", "SCRIPT", "EXISTS",
           "7f923f79fe76194c868d7e1d0820de36700eb649"); /* return 2 */
    expect(f, "+OK\r\n", "SCRIPT", "FLUSH");
    expect(f, "-NOSCRIPT No matching script. Please use EVAL.\r\n", "EVALSHA",
           "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0");
    struct bytes got = run(f, "SCRIPT", "LOAD", "return +");
    assert_int_equal(got.data[0], '-');
}

static void test_refusals(void **state)
{
    (void)state;
    struct bytes got = run(f, "EVAL", "return redis.call('secret')", "0");
    assert_non_null(memmem(got.data, got.len, "not allowed from script", 23));
    got = run(f, "EVAL_RO", "return redis.call('args')", "0");
    assert_non_null(memmem(got.data, got.len,
                           "-ERR Write commands are not allowed from read-only scripts.", 59));
    expect(f, "-ERR Can not execute a script with write flag using *_ro command.\r\n", "EVAL_RO",
           "#!lua\nreturn 1", "0");
    expect(f, ":1\r\n", "EVAL_RO", "#!lua flags=no-writes\nreturn 1", "0");
    expect(f, "-ERR Unexpected engine in script shebang: #!js\r\n", "EVAL", "#!js\nreturn 1", "0");
    expect(f, "-ERR Unexpected flag in script shebang: x\r\n", "EVAL", "#!lua flags=x\nreturn 1",
           "0");
    expect(f, "-ERR Unknown lua shebang option: x=1\r\n", "EVAL", "#!lua x=1\nreturn 1", "0");
    expect(f, "-ERR Invalid script shebang\r\n", "EVAL", "#!lua", "0");
}

static const char busy[] =
    "local t = {} for i = 1, 20 do t[i] = redis.call('args', KEYS[1], i .. ARGV[1]) end "
    "local ok, e = pcall(function() error('x' .. #t) end) "
    "local c = coroutine.wrap(function() return redis.call('reply', '%1\r\n+a\r\n*1\r\n,1.5\r\n') "
    "end)() "
    "return {t, e, string.format('%s', t[20]), c, {err = 'x' .. t[1]}}";

static struct buf right_reply;

static bool is_oom(struct bytes got)
{
    return bytes_equal(got, BYTES_LIT("-" NOT_ENOUGH_MEMORY "\r\n"));
}

/* Runs it; true: it was refused for want of memory. Whatever it met, the next script is well. */
static bool run_busy(void)
{
    struct bytes got = run(f, "EVAL", busy, "1", "k", "a");
    bool refused = is_oom(got);
    /* Caught by the script's own pcall. */
    bool caught = got.data[0] == '*' && memmem(got.data, got.len, "not enough memory", 17) != NULL;
    if (!refused && !caught && !bytes_equal(got, buf_bytes(&right_reply)))
        fail_msg("%.*s", (int)got.len, (const char *)got.data);
    return refused;
}

static void expect_well(void)
{
    expect(f, "*2\r\n$1\r\nk\r\n$1\r\nb\r\n", "EVAL", "return {KEYS[1], ARGV[1]}", "1", "k", "b");
}

/* Each allocation fails once: Lua collects and tries again, but not for a state's first block. */
static void test_every_allocation_fails(void **state)
{
    (void)state;
    buf_init(&right_reply, MEM_TEST);
    buf_add_bytes(&right_reply, run(f, "EVAL", busy, "1", "k", "a"));
    bool fired = true;
    uint32_t nth = 1;
    for (; fired; nth++) {
        script_flush();
        mem_fault_arm(nth);
        bool refused = run_busy();
        fired = mem_fault_disarm();
        assert_true(fired || !refused);
        expect_well();
    }
    assert_true(nth > 200);
    buf_free(&right_reply);
}

/* Memory ends at any point and stays at its end: while a state is made, a script compiled, run, answered. */
static void test_memory_ends_anywhere(void **state)
{
    (void)state;
    buf_init(&right_reply, MEM_TEST);
    buf_add_bytes(&right_reply, run(f, "EVAL", busy, "1", "k", "a"));
    uint32_t refused = 0, ran = 0;
    for (size_t max = 0; ran < 20; max += 149) {
        script_flush();
        script__bytes_max = max;
        *(run_busy() ? &refused : &ran) += 1;
        script__bytes_max = SCRIPT_STATE_BYTES_MAX;
        expect_well();
    }
    assert_true(refused > 100);
    script_flush();
    run_busy();
    for (size_t more = refused = ran = 0; ran < 20; more += 17) {
        lua_gc(f->core.script->lua, LUA_GCCOLLECT);
        script__bytes_max = f->core.script->bytes + more;
        *(run_busy() ? &refused : &ran) += 1;
        script__bytes_max = SCRIPT_STATE_BYTES_MAX;
        expect_well();
    }
    assert_true(refused > 20);
    buf_free(&right_reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replies_to_lua, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_to_replies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_left_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sha1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_of_scripts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_ends_anywhere, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
