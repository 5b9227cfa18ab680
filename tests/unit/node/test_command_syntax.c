/* The argument trees that syntax texts stand for, written as text: one argument is
 * name:type[=TOKEN][?][+][t](children), ? optional, + multiple, t multiple_token. That every row's text can
 * be parsed is seen through COMMAND DOCS (tests/system/test_command.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "node/command_syntax.h"
#include "shard/base/buf.h"

static void add_args(struct buf *out, const struct syntax_arg *parent);

static void add_arg(struct buf *out, const struct syntax_arg *a)
{
    buf_add_bytes(out, a->name);
    buf_addf(out, ":%s", syntax_type_name(a->type));
    if (a->token.len > 0) buf_addf(out, "=%.*s", (int)a->token.len, (const char *)a->token.data);
    if (a->optional) buf_add_byte(out, '?');
    if (a->multiple) buf_add_byte(out, '+');
    if (a->multiple_token) buf_add_byte(out, 't');
    if (a->children_count == 0) return;
    buf_add_byte(out, '(');
    add_args(out, a);
    buf_add_byte(out, ')');
}

static void add_args(struct buf *out, const struct syntax_arg *parent)
{
    for (uint32_t i = 0; i < parent->children_count; i++) {
        if (i > 0) buf_add_byte(out, ' ');
        add_arg(out, parent->children[i]);
    }
}

static void check_keys(const char *syntax, bool has_keys, const char *want)
{
    struct arena arena;
    struct buf out;
    arena_init(&arena);
    buf_init(&out, MEM_TEST);
    const struct syntax_arg *args = syntax_parse(syntax, has_keys, &arena);
    if (want == NULL) {
        assert_null(args);
    } else {
        assert_non_null(args);
        add_args(&out, args);
        buf_add_byte(&out, 0);
        assert_string_equal((const char *)out.data, want);
    }
    buf_free(&out);
    arena_free(&arena);
}

static void check(const char *syntax, const char *want)
{
    check_keys(syntax, true, want);
}

static void test_plain(void **state)
{
    (void)state;
    check("", "");
    check("key", "key:key");
    check("key start end", "key:key start:integer end:integer");
    check("key unix-time-seconds", "key:key unix-time-seconds:unix-time");
    check_keys("source", false, "source:string");
    check_keys("[username] password", false, "username:string? password:string");
}

static void test_choices(void **state)
{
    (void)state;
    check("key [NX | XX]", "key:key condition:oneof?(nx:pure-token=NX xx:pure-token=XX)");
    check("[EX seconds | PX milliseconds | KEEPTTL]",
          "expiration:oneof?(seconds:integer=EX milliseconds:integer=PX "
          "keepttl:pure-token=KEEPTTL)");
    check("<a | b c>", "a_b_c:oneof(a:string b_c:block(b:string c:string))");
    check("[TYPE <NORMAL | PUBSUB>]",
          "normal_pubsub:oneof=TYPE?(normal:pure-token=NORMAL pubsub:pure-token=PUBSUB)");
    check("<MAXLEN | MINID> [= | ~] threshold",
          "maxlen_minid:oneof(maxlen:pure-token=MAXLEN minid:pure-token=MINID) "
          "=_~:oneof?(=:pure-token== ~:pure-token=~) threshold:string");
}

static void test_tokens(void **state)
{
    (void)state;
    check("[GET]", "get:pure-token=GET?");
    check("[LEN] [IDX]", "len:pure-token=LEN? idx:pure-token=IDX?");
    check("[LIMIT offset count]", "limit:block=LIMIT?(offset:integer count:integer)");
    check("[COUNT count [ANY]]", "count_any:block?(count:integer=COUNT any:pure-token=ANY?)");
    check("STREAMS key [key ...] id [id ...]", "streams:block=STREAMS(key:key+ id:string+)");
    check("key FIELDS numfields field [field ...]",
          "key:key fields:block=FIELDS(numfields:integer field:string+)");
    check("BYBOX width height <M | KM>",
          "bybox:block=BYBOX(width:double height:double unit:oneof(m:pure-token=M "
          "km:pure-token=KM))");
}

static void test_repeats(void **state)
{
    (void)state;
    check("key [key ...]", "key:key+");
    check("[section [section ...]]", "section:string?+");
    check("[name ...]", "name:string?+");
    check("key value [key value ...]", "key_value:block+(key:key value:string)");
    check("key field value [field value ...]",
          "key:key field_value:block+(field:string value:string)");
    check("[ID client-id [client-id ...]]", "client-id:integer=ID?+");
    check("[GET pattern [GET pattern ...]]", "pattern:pattern=GET?+t");
    check("numkeys key [key ...] [WEIGHTS weight [weight ...]]",
          "numkeys:integer key:key+ weight:integer=WEIGHTS?+");
    check("<filter [filter ...]>", "filter:string+");
    check("key [member ...]", "key:key member:string?+"); /* not the same: a thing of its own */
}

static void test_malformed(void **state)
{
    (void)state;
    check("[key", NULL);
    check("key]", NULL);
    check("<a | b]", NULL);
    check("[a | b ...]", NULL);
    check("[]", NULL);
    check("a | b", NULL);
    check("key ...", NULL);
    check("[[[[[[[[[a]]]]]]]]]", NULL); /* deeper than any row */
    check("a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a", NULL); /* 33 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),     cmocka_unit_test(test_choices),
        cmocka_unit_test(test_tokens),    cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
