/* Two ends of a talk without sockets: what each accepts, what each refuses and says about it. */
#include "cluster/bus_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "shard/base/rng.h"

/* One end. */
struct end {
    struct bus_self self;
    struct bus_talk talk;
    struct buf out;
    uint32_t ups, messages, unknown;
    enum bus_refusal verdict; /* of judge() */
    enum bus_refusal refusal;
    const char *why;
};

static enum bus_refusal on_judge(void *ctx, struct bus_talk *t, const char **why_out)
{
    const struct end *e = ctx;
    (void)t;
    *why_out = "the test says so";
    return e->verdict;
}

static void on_up(void *ctx, struct bus_talk *t)
{
    (void)t;
    ((struct end *)ctx)->ups++;
}

static bool on_message(void *ctx, struct bus_talk *t, uint16_t channel, uint8_t type,
                       struct bytes body)
{
    (void)t;
    (void)channel;
    (void)body;
    ((struct end *)ctx)->messages++;
    return type != 99;
}

static bool on_hold(void *ctx, size_t more)
{
    (void)ctx;
    (void)more;
    return true;
}

static void on_unknown(void *ctx)
{
    ((struct end *)ctx)->unknown++;
}

static const struct bus_talk_events no_events = {
    .judge = on_judge, .up = on_up, .message = on_message, .hold = on_hold, .unknown = on_unknown};

struct pair {
    struct end dialler, acceptor;
};

static void end_init(struct end *e, uint8_t n)
{
    memset(e, 0, sizeof *e);
    e->self = (struct bus_self){.cluster = {{1}},
                                .incarnation = n,
                                .meta_version = 40u + n,
                                .version_min = 1,
                                .version_max = 1};
    memset(e->self.node.bytes, n, sizeof e->self.node.bytes);
    (void)snprintf(e->self.address, sizeof e->self.address, "10.0.0.%u:1", n);
    e->verdict = e->refusal = BUS_REFUSALS;
    buf_init(&e->out, MEM_TEST);
}

static struct bus_nonce nonce_of(uint8_t n)
{
    struct bus_nonce nonce;
    memset(nonce.bytes, n, sizeof nonce.bytes);
    return nonce;
}

static void pair_init(struct pair *p)
{
    end_init(&p->dialler, 1);
    end_init(&p->acceptor, 2);
}

static void pair_begin(struct pair *p, bool meet)
{
    bus_talk_accept(&p->acceptor.talk, &p->acceptor.self, nonce_of(0xa), &p->acceptor.out);
    bus_talk_dial(&p->dialler.talk, &p->dialler.self, nonce_of(0xd),
                  meet ? (struct topo_id){{0}} : p->acceptor.self.node, meet);
}

static void give(struct end *to, struct bytes bytes)
{
    struct bus_talk_events events = no_events;
    events.ctx = to;
    enum bus_refusal refusal = bus_talk_feed(&to->talk, bytes, &to->out, &events, &to->why);
    if (refusal != BUS_REFUSALS) to->refusal = refusal;
}

static void pass(struct end *from, struct end *to)
{
    struct buf bytes = from->out;
    buf_init(&from->out, MEM_TEST);
    give(to, buf_bytes(&bytes));
    buf_free(&bytes);
}

static void pair_run(struct pair *p)
{
    for (uint32_t i = 0; i < 4; i++) {
        pass(&p->acceptor, &p->dialler);
        pass(&p->dialler, &p->acceptor);
    }
}

static void pair_free(struct pair *p)
{
    bus_talk_free(&p->dialler.talk);
    bus_talk_free(&p->acceptor.talk);
    buf_free(&p->dialler.out);
    buf_free(&p->acceptor.out);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

static void expect(struct pair *p, enum bus_refusal of_dialler, enum bus_refusal of_acceptor)
{
    assert_int_equal(p->dialler.refusal, of_dialler);
    assert_int_equal(p->acceptor.refusal, of_acceptor);
    assert_int_equal(p->dialler.ups, of_dialler == BUS_REFUSALS);
    pair_free(p);
}

static void test_tables_fit(void **state)
{
    (void)state;
    const struct wire_type *types[] = {&bus_challenge_wire, &bus_hello_wire, &bus_hello_ok_wire,
                                       &bus_hello_reject_wire};
    for (uint32_t i = 0; i < COUNT_OF(types); i++)
        assert_null(wire_type_check(types[i]));
}

static void test_both_learn_who_the_other_is(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    pair_begin(&p, false);
    pair_run(&p);
    const struct bus_node *seen = &p.acceptor.talk.node;
    assert_int_equal(p.acceptor.ups, 1);
    assert_true(topo_id_equal(seen->id, p.dialler.self.node));
    assert_string_equal(seen->address, "10.0.0.1:1");
    assert_int_equal(seen->meta_version, 41);
    assert_false(seen->dialled);
    seen = &p.dialler.talk.node;
    assert_true(topo_id_equal(seen->id, p.acceptor.self.node));
    assert_int_equal(seen->incarnation, 2);
    assert_int_equal(seen->version, 1);
    assert_true(seen->dialled);
    expect(&p, BUS_REFUSALS, BUS_REFUSALS);
}

static void test_version_is_the_lower_of_both(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    p.acceptor.self.version_max = 3;
    p.dialler.self.version_max = 2;
    pair_begin(&p, false);
    pair_run(&p);
    assert_int_equal(p.acceptor.talk.node.version, 2);
    assert_int_equal(p.dialler.talk.node.version, 2);
    /* and frames of another one are refused from then on */
    bus_frame_put(&p.dialler.out, &(struct bus_head){.version = 2, .type = 1, .channel = BUS_RAFT},
                  BYTES_LIT("x"));
    pass(&p.dialler, &p.acceptor);
    assert_int_equal(p.acceptor.messages, 1);
    bus_frame_put(&p.dialler.out, &(struct bus_head){.version = 1, .type = 1, .channel = BUS_RAFT},
                  BYTES_LIT("x"));
    pass(&p.dialler, &p.acceptor);
    expect(&p, BUS_REFUSALS, BUS_REFUSED_VERSION);
}

static void test_no_common_version(void **state)
{
    (void)state;
    struct pair p;
    for (uint32_t newer = 0; newer < 2; newer++) {
        pair_init(&p);
        struct bus_self *s = newer == 0 ? &p.acceptor.self : &p.dialler.self;
        s->version_min = s->version_max = 2;
        pair_begin(&p, false);
        pair_run(&p); /* the challenge tells: no hello is even sent */
        assert_non_null(strstr(p.dialler.why, "versions"));
        expect(&p, BUS_REFUSED_VERSION, BUS_REFUSALS);
    }
    /* A dialler that does not look at the challenge. */
    pair_init(&p);
    pair_begin(&p, false);
    p.dialler.self.version_min = p.dialler.self.version_max = 2;
    struct bus_hello hello = {.answer = nonce_of(0xa),
                              .version_min = 2,
                              .version_max = 9,
                              .cluster = {{1}},
                              .node = p.dialler.self.node};
    struct buf body;
    buf_init(&body, MEM_TEST);
    assert_int_equal(wire_encode(&bus_hello_wire, &hello, &body), RC_OK);
    bus_frame_put(&p.dialler.out, &(struct bus_head){.version = 1, .type = BUS_HELLO},
                  buf_bytes(&body));
    buf_free(&body);
    pass(&p.dialler, &p.acceptor);
    p.dialler.refusal = BUS_REFUSED_VERSION;
    expect(&p, BUS_REFUSED_VERSION, BUS_REFUSED_VERSION);
}

static void test_another_cluster(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    p.dialler.self.cluster.bytes[3] = 9;
    pair_begin(&p, false);
    pair_run(&p);
    assert_non_null(strstr(p.acceptor.why, "it belongs to cluster 01000009"));
    assert_non_null(strstr(p.dialler.why, "it belongs to cluster 01000009"));
    expect(&p, BUS_REFUSED_BY_PEER, BUS_REFUSED_CLUSTER);
    pair_init(&p); /* who asks to be met is up to judge() */
    p.dialler.self.cluster.bytes[3] = 9;
    pair_begin(&p, true);
    pair_run(&p);
    assert_int_equal(p.acceptor.talk.node.cluster.bytes[3], 9);
    expect(&p, BUS_REFUSALS, BUS_REFUSALS);
    pair_init(&p);
    p.dialler.self.cluster.bytes[3] = 9;
    p.acceptor.verdict = BUS_REFUSED_CLUSTER;
    pair_begin(&p, true);
    pair_run(&p);
    expect(&p, BUS_REFUSED_BY_PEER, BUS_REFUSED_CLUSTER);
}

static void test_a_hello_of_another_connection(void **state)
{
    (void)state;
    struct pair p;
    struct end later;
    pair_init(&p);
    pair_begin(&p, false);
    pass(&p.acceptor, &p.dialler);
    end_init(&later, 2);
    bus_talk_accept(&later.talk, &later.self, nonce_of(0xb), &later.out);
    give(&later, buf_bytes(&p.dialler.out));
    assert_int_equal(later.refusal, BUS_REFUSED_REPLAY);
    assert_int_equal(later.ups, 0);
    give(&later, buf_bytes(&p.dialler.out)); /* once over, it stays over */
    assert_int_equal(later.ups, 0);
    bus_talk_free(&later.talk);
    buf_free(&later.out);
    pair_run(&p); /* while here it is good … */
    assert_int_equal(p.acceptor.ups, 1);
    expect(&p, BUS_REFUSALS, BUS_REFUSALS);
}

static void test_an_answer_of_another_connection(void **state)
{
    (void)state;
    struct pair p;
    struct end later;
    pair_init(&p);
    pair_begin(&p, false);
    pass(&p.acceptor, &p.dialler);
    pass(&p.dialler, &p.acceptor); /* its HELLO_OK waits */
    end_init(&later, 1);
    bus_talk_dial(&later.talk, &later.self, nonce_of(0xe), p.acceptor.self.node, false);
    struct buf challenge;
    struct bus_talk other;
    buf_init(&challenge, MEM_TEST);
    bus_talk_accept(&other, &p.acceptor.self, nonce_of(0xa), &challenge);
    give(&later, buf_bytes(&challenge));
    give(&later, buf_bytes(&p.acceptor.out));
    assert_int_equal(later.refusal, BUS_REFUSED_REPLAY);
    bus_talk_free(&other);
    bus_talk_free(&later.talk);
    buf_free(&challenge);
    buf_free(&later.out);
    pair_run(&p);
    expect(&p, BUS_REFUSALS, BUS_REFUSALS);
}

static void test_ourselves_and_others_than_expected(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    p.dialler.self.node = p.acceptor.self.node;
    pair_begin(&p, false);
    pair_run(&p);
    expect(&p, BUS_REFUSED_BY_PEER, BUS_REFUSED_NODE);
    pair_init(&p);
    pair_begin(&p, false);
    p.dialler.talk.expected.bytes[0] = 77;
    pair_run(&p);
    assert_non_null(strstr(p.dialler.why, "another node answers"));
    expect(&p, BUS_REFUSED_NODE, BUS_REFUSED_BY_PEER);
    pair_init(&p);
    memset(&p.dialler.self.node, 0, sizeof p.dialler.self.node);
    pair_begin(&p, false);
    pair_run(&p);
    expect(&p, BUS_REFUSED_BY_PEER, BUS_REFUSED_FRAME);
}

static void test_messages_before_and_after(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    pair_begin(&p, false);
    bus_frame_put(&p.dialler.out, &(struct bus_head){.version = 1, .type = 1, .channel = BUS_RAFT},
                  BYTES_LIT("early"));
    pass(&p.dialler, &p.acceptor);
    assert_int_equal(p.acceptor.messages, 0);
    p.dialler.refusal = BUS_REFUSED_FRAME;
    expect(&p, BUS_REFUSED_FRAME, BUS_REFUSED_FRAME);

    pair_init(&p);
    pair_begin(&p, false);
    pair_run(&p);
    bus_ping_put(&p.dialler.out, &p.dialler.talk);
    bus_pong_put(&p.dialler.out, &p.dialler.talk);
    const uint8_t types[][2] = {{BUS_LINK, 50}, {BUS_RAFT, 99}, {BUS_META, 3}, {60, 99}};
    for (uint32_t i = 0; i < COUNT_OF(types); i++)
        bus_frame_put(&p.dialler.out,
                      &(struct bus_head){.version = 1, .channel = types[i][0], .type = types[i][1]},
                      BYTES_LIT("body"));
    pass(&p.dialler, &p.acceptor);
    assert_true(p.acceptor.talk.pong_owed);
    assert_int_equal(p.acceptor.messages, 3);
    assert_int_equal(p.acceptor.unknown, 3);
    bus_frame_put(&p.dialler.out, &(struct bus_head){.version = 1, .type = BUS_HELLO},
                  BYTES_LIT("again"));
    pass(&p.dialler, &p.acceptor);
    expect(&p, BUS_REFUSALS, BUS_REFUSED_FRAME);
}

/* Nothing that a stranger says crashes, grows, or brings a link up. */
static void test_damaged_hellos(void **state)
{
    (void)state;
    struct pair p;
    struct rng rng;
    rng_seed(&rng, 5);
    for (uint32_t round = 0; round < 3000; round++) {
        pair_init(&p);
        pair_begin(&p, false);
        pass(&p.acceptor, &p.dialler);
        size_t at = BUS_FRAME_HEAD_BYTES +
                    (size_t)rng_below(&rng, p.dialler.out.len - BUS_FRAME_HEAD_BYTES);
        p.dialler.out.data[at] ^= (uint8_t)(1 + rng_below(&rng, 255));
        struct buf again;
        buf_init(&again, MEM_TEST);
        bus_frame_put(&again, &(struct bus_head){.version = 1, .type = BUS_HELLO},
                      bytes_view(p.dialler.out.data + BUS_FRAME_HEAD_BYTES,
                                 p.dialler.out.len - BUS_FRAME_HEAD_BYTES));
        give(&p.acceptor, buf_bytes(&again));
        buf_free(&again);
        assert_true((p.acceptor.ups == 1) == (p.acceptor.refusal == BUS_REFUSALS));
        assert_true(p.acceptor.talk.reader.held.cap <= 2 * BUS_HELLO_BYTES_MAX);
        pair_free(&p);
    }
}

static void test_texts_of_a_rejection_are_made_harmless(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    pair_begin(&p, false);
    pass(&p.acceptor, &p.dialler);
    const struct bus_hello_reject reject = {.reason = 1, .text = BYTES_LIT("a\nb\x1b[31m\xff")};
    struct buf body;
    buf_init(&body, MEM_TEST);
    assert_int_equal(wire_encode(&bus_hello_reject_wire, &reject, &body), RC_OK);
    bus_frame_put(&p.acceptor.out, &(struct bus_head){.version = 1, .type = BUS_HELLO_REJECT},
                  buf_bytes(&body));
    buf_free(&body);
    pass(&p.acceptor, &p.dialler);
    assert_string_equal(p.dialler.why, "the other end refuses us: a?b?[31m?");
    expect(&p, BUS_REFUSED_BY_PEER, BUS_REFUSALS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_fit),
        cmocka_unit_test(test_both_learn_who_the_other_is),
        cmocka_unit_test(test_version_is_the_lower_of_both),
        cmocka_unit_test(test_no_common_version),
        cmocka_unit_test(test_another_cluster),
        cmocka_unit_test(test_a_hello_of_another_connection),
        cmocka_unit_test(test_an_answer_of_another_connection),
        cmocka_unit_test(test_ourselves_and_others_than_expected),
        cmocka_unit_test(test_messages_before_and_after),
        cmocka_unit_test(test_damaged_hellos),
        cmocka_unit_test(test_texts_of_a_rejection_are_made_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
