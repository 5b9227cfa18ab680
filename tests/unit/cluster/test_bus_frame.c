/* Frames and fragments of the bus: the bytes as documented, any cut of the stream, every limit, every
 * damaged byte. */
#include "cluster/bus_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "shard/base/crc.h"
#include "shard/base/rng.h"

/* What a reader told, as text: "1/1 abc;" per message, "-;" per ignored fragment. */
struct told {
    struct buf text;
    size_t longest;
    uint32_t messages;
    size_t hold_max, held;
    bool stop;
};

static bool on_message(void *ctx, uint16_t channel, uint8_t type, struct bytes body)
{
    struct told *t = ctx;
    t->messages++;
    if (body.len > t->longest) t->longest = body.len;
    buf_addf(&t->text, "%u/%u ", channel, type);
    buf_add(&t->text, body.data, body.len < 40 ? body.len : 40);
    buf_add(&t->text, ";", 1);
    return !t->stop;
}

static bool on_hold(void *ctx, size_t more)
{
    struct told *t = ctx;
    if (t->held + more > t->hold_max) return false;
    t->held += more;
    return true;
}

static void on_ignored(void *ctx)
{
    buf_addf(&((struct told *)ctx)->text, "-;");
}

struct fix {
    struct bus_reader r;
    struct told told;
    struct bus_reader_events events;
    struct buf out;
};

static void fix_open(struct fix *f)
{
    memset(f, 0, sizeof *f);
    bus_reader_init(&f->r);
    buf_init(&f->told.text, MEM_TEST);
    buf_init(&f->out, MEM_TEST);
    f->told.hold_max = SIZE_MAX / 2;
    f->events = (struct bus_reader_events){
        .message = on_message, .hold = on_hold, .ignored = on_ignored, .ctx = &f->told};
}

static void fix_close(struct fix *f)
{
    bus_reader_free(&f->r);
    buf_free(&f->told.text);
    buf_free(&f->out);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

static void fix_expect(struct fix *f, const char *text)
{
    assert_true(bytes_equal(buf_bytes(&f->told.text), bytes_of(text)));
    f->told.text.len = 0;
}

static enum bus_refusal feed(struct fix *f, const char **why)
{
    *why = NULL;
    enum bus_refusal refusal = bus_reader_feed(&f->r, buf_bytes(&f->out), &f->events, why);
    f->out.len = 0;
    assert_true((refusal != BUS_REFUSALS) == (*why != NULL));
    return refusal;
}

static void put(struct fix *f, uint16_t channel, uint8_t type, uint16_t flags, const char *body)
{
    bus_frame_put(
        &f->out, &(struct bus_head){.version = 1, .type = type, .flags = flags, .channel = channel},
        bytes_of(body));
}

static void expect_refused(struct fix *f, enum bus_refusal wanted)
{
    const char *why = NULL;
    assert_int_equal(feed(f, &why), wanted);
    fix_close(f);
}

static void test_bytes_are_as_documented(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, MEM_TEST);
    bus_frame_put(&out, &(struct bus_head){.version = 1, .type = 7, .flags = 2, .channel = 0x0304},
                  bytes_of("ab"));
    const uint8_t head[] = {'b', 'M', 1, 7, 2, 0, 4, 3, 2, 0, 0, 0};
    assert_int_equal(out.len, 18);
    assert_memory_equal(out.data, head, sizeof head);
    uint32_t crc = crc32c(crc32c(0, head, sizeof head), "ab", 2);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(out.data[12 + i], crc >> (8 * i) & 0xff);
    buf_free(&out);
}

static void test_any_cut_of_the_stream(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct fix f;
        struct rng rng;
        fix_open(&f);
        rng_seed(&rng, seed);
        put(&f, BUS_RAFT, 1, 0, "one");
        put(&f, BUS_HEALTH, 2, 0, "");
        put(&f, BUS_RAFT, 1, BUS_FLAG_MORE, "two ");
        put(&f, BUS_HEALTH, 3, 0, "between");
        put(&f, BUS_META, 9, BUS_FLAG_MORE, "three ");
        put(&f, BUS_RAFT, 1, BUS_FLAG_MORE | BUS_FLAG_CONTINUED, "goes ");
        put(&f, BUS_META, 9, BUS_FLAG_CONTINUED, "too");
        put(&f, BUS_RAFT, 1, BUS_FLAG_CONTINUED, "on");
        put(&f, 77, 1, BUS_FLAG_MORE, "of a later version");
        put(&f, 77, 1, 0, "whole");
        for (size_t at = 0; at < f.out.len;) {
            size_t most = seed == 0 ? 1 : 1 + rng_below(&rng, 40);
            size_t n = f.out.len - at < most ? f.out.len - at : most;
            const char *why = NULL;
            assert_int_equal(bus_reader_feed(&f.r, bytes_view(f.out.data + at, n), &f.events, &why),
                             BUS_REFUSALS);
            at += n;
        }
        fix_expect(&f, "1/1 one;3/2 ;3/3 between;2/9 three too;1/1 two goes on;-;77/1 whole;");
        assert_int_equal(f.r.frames, 10);
        assert_int_equal(f.r.assembled, 0);
        fix_close(&f);
    }
}

static void test_longest_message_and_one_more(void **state)
{
    (void)state;
    struct fix f;
    size_t size = BUS_MESSAGE_BYTES_MAX + 1;
    uint8_t *big = mem_zalloc(MEM_TEST, size);
    const char *why = NULL;
    for (uint32_t over = 0; over < 2; over++) {
        fix_open(&f);
        bus_reader_grow(&f.r, 1);
        size_t done = 0;
        uint32_t frames = 1;
        while (!bus_fragment_put(&f.out, 1, BUS_META, 4,
                                 bytes_view(big, BUS_MESSAGE_BYTES_MAX + over), &done))
            frames++;
        assert_int_equal(frames, (BUS_MESSAGE_BYTES_MAX + over + BUS_BODY_BYTES_MAX - 1) /
                                     BUS_BODY_BYTES_MAX);
        assert_int_equal(feed(&f, &why), over == 0 ? BUS_REFUSALS : BUS_REFUSED_OVERSIZED);
        assert_int_equal(f.told.messages, 1 - over);
        assert_true(f.told.longest == (over == 0 ? BUS_MESSAGE_BYTES_MAX : 0));
        fix_close(&f);
    }
    mem_free(MEM_TEST, big, size);
}

static void test_a_length_over_the_limit_is_judged_by_its_head(void **state)
{
    (void)state;
    struct fix f;
    const char *why = NULL;
    for (uint32_t grown = 0; grown < 2; grown++) {
        uint32_t max = grown == 0 ? BUS_HELLO_BYTES_MAX : BUS_BODY_BYTES_MAX;
        fix_open(&f);
        if (grown == 1) bus_reader_grow(&f.r, 1);
        put(&f, BUS_LINK, 1, 0, "");
        f.out.data[8] = (uint8_t)(max + 1);
        f.out.data[9] = (uint8_t)((max + 1) >> 8);
        f.out.data[10] = (uint8_t)((max + 1) >> 16);
        assert_int_equal(feed(&f, &why), BUS_REFUSED_OVERSIZED);
        assert_true(f.r.held.cap <= 64);
        fix_close(&f);
    }
}

static void test_before_the_hello_a_frame_holds_little(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    uint8_t body[BUS_HELLO_BYTES_MAX] = {0};
    bus_frame_put(&f.out, &(struct bus_head){.version = 1, .type = 1},
                  bytes_view(body, sizeof body));
    f.out.len--;
    const char *why = NULL;
    assert_int_equal(feed(&f, &why), BUS_REFUSALS);
    assert_int_equal(f.told.messages, 0);
    assert_true(f.r.held.cap <= 1024);
    fix_close(&f);
}

static void test_every_flipped_bit_is_found(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    put(&f, BUS_RAFT, 1, 0, "a message");
    struct buf whole = f.out;
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        struct fix g;
        fix_open(&g);
        buf_add_bytes(&g.out, buf_bytes(&whole));
        g.out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        put(&g, BUS_RAFT, 1, 0,
            "filler for lengths that grew .....................................");
        for (uint32_t i = 0; i < 10; i++)
            put(&g, BUS_RAFT, 1, 0,
                "filler for lengths that grew ................................");
        const char *why = NULL;
        enum bus_refusal refusal = feed(&g, &why);
        assert_true(refusal == BUS_REFUSED_FRAME || refusal == BUS_REFUSED_VERSION ||
                    refusal == BUS_REFUSED_OVERSIZED);
        assert_int_equal(g.told.messages, 0);
        fix_close(&g);
    }
    fix_close(&f);
}

static void test_fragments_out_of_order(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f); /* goes on without a beginning */
    put(&f, BUS_RAFT, 1, BUS_FLAG_CONTINUED, "x");
    expect_refused(&f, BUS_REFUSED_FRAME);
    fix_open(&f); /* begins twice */
    put(&f, BUS_RAFT, 1, BUS_FLAG_MORE, "x");
    put(&f, BUS_RAFT, 1, BUS_FLAG_MORE, "x");
    expect_refused(&f, BUS_REFUSED_FRAME);
    fix_open(&f); /* a whole one inside */
    put(&f, BUS_META, 1, BUS_FLAG_MORE, "x");
    put(&f, BUS_META, 1, 0, "x");
    expect_refused(&f, BUS_REFUSED_FRAME);
    fix_open(&f); /* another type */
    put(&f, BUS_META, 1, BUS_FLAG_MORE, "x");
    put(&f, BUS_META, 2, BUS_FLAG_CONTINUED, "x");
    expect_refused(&f, BUS_REFUSED_FRAME);
    fix_open(&f); /* where there are none */
    put(&f, BUS_HEALTH, 1, BUS_FLAG_MORE, "x");
    expect_refused(&f, BUS_REFUSED_FRAME);
    fix_open(&f); /* type 0 means none */
    put(&f, BUS_RAFT, 0, BUS_FLAG_MORE, "x");
    expect_refused(&f, BUS_REFUSED_FRAME);
    fix_open(&f); /* a flag of the future */
    put(&f, BUS_RAFT, 1, 4, "x");
    expect_refused(&f, BUS_REFUSED_FRAME);
}

static void test_the_sum_of_half_messages_is_the_callers(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    f.told.hold_max = 7;
    put(&f, BUS_RAFT, 1, BUS_FLAG_MORE, "1234567");
    const char *why = NULL;
    assert_int_equal(feed(&f, &why), BUS_REFUSALS);
    assert_int_equal(f.r.assembled, 7);
    put(&f, BUS_META, 1, BUS_FLAG_MORE, "8");
    expect_refused(&f, BUS_REFUSED_MEMORY);
    fix_open(&f);
    put(&f, BUS_RAFT, 1, BUS_FLAG_MORE, "1234567");
    mem_fault_arm(1);
    enum bus_refusal refusal = feed(&f, &why);
    assert_true(mem_fault_disarm());
    assert_int_equal(refusal, BUS_REFUSED_MEMORY);
    fix_close(&f);
}

static void test_a_stop_ends_the_reading(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    f.told.stop = true;
    put(&f, BUS_RAFT, 1, 0, "one");
    put(&f, BUS_RAFT, 1, 0, "two");
    const char *why = NULL;
    assert_int_equal(feed(&f, &why), BUS_REFUSALS);
    fix_expect(&f, "1/1 one;");
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_as_documented),
        cmocka_unit_test(test_any_cut_of_the_stream),
        cmocka_unit_test(test_longest_message_and_one_more),
        cmocka_unit_test(test_a_length_over_the_limit_is_judged_by_its_head),
        cmocka_unit_test(test_before_the_hello_a_frame_holds_little),
        cmocka_unit_test(test_every_flipped_bit_is_found),
        cmocka_unit_test(test_fragments_out_of_order),
        cmocka_unit_test(test_the_sum_of_half_messages_is_the_callers),
        cmocka_unit_test(test_a_stop_ends_the_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
