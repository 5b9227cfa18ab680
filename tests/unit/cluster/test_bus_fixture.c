/* The golden conversation of version 1: what each side of it says, byte for byte, is what this program says
 * and understands.
 *
 * BUS_FIXTURE_OUT=<folder> writes what is said now into that folder, for a fixture of a new version; those
 * that are there stay as they are. */
#include "cluster/bus_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FIXTURE "tests/fixtures/bus-v1/"

static const struct bus_self acceptor_self = {.cluster = {"cluster-of-test"},
                                              .node = {"acceptor-acceptor-1"},
                                              .incarnation = 0x0102030405060708,
                                              .meta_version = 300,
                                              .address = "10.0.0.2:16379",
                                              .version_min = 1,
                                              .version_max = 1};
static const struct bus_self dialler_self = {.cluster = {"cluster-of-test"},
                                             .node = {"dialler-dialler-dia"},
                                             .incarnation = 7,
                                             .meta_version = 299,
                                             .address = "[fd00::1]:16379",
                                             .version_min = 1,
                                             .version_max = 1};
static const struct bus_nonce acceptor_nonce = {"acceptor's-nonce"};
static const struct bus_nonce dialler_nonce = {"dialler's--nonce"};

/* What is told, as text. */
static bool on_message(void *ctx, struct bus_talk *t, uint16_t channel, uint8_t type,
                       struct bytes body)
{
    (void)t;
    buf_addf(ctx, "%u/%u %.*s\n", channel, type, (int)body.len, (const char *)body.data);
    return true;
}

static enum bus_refusal on_judge(void *ctx, struct bus_talk *t, const char **why_out)
{
    (void)why_out;
    buf_addf(ctx, "%s node %.20s cluster %.16s life %llx meta %llu version %u at %s\n",
             t->dialled ? "dialled" : "accepted", (const char *)t->node.id.bytes,
             (const char *)t->node.cluster.bytes, (unsigned long long)t->node.incarnation,
             (unsigned long long)t->node.meta_version, t->node.version, t->node.address);
    return BUS_REFUSALS;
}

static void on_up(void *ctx, struct bus_talk *t)
{
    (void)t;
    buf_addf(ctx, "up\n");
}

static bool on_hold(void *ctx, size_t more)
{
    (void)ctx;
    (void)more;
    return true;
}

static void on_unknown(void *ctx)
{
    buf_addf(ctx, "unknown\n");
}

/* All that one side hears, cut nowhere; its own words go to `says`. */
static void hear(struct bus_talk *t, struct bytes words, struct buf *says, struct buf *told)
{
    const struct bus_talk_events events = {.judge = on_judge,
                                           .up = on_up,
                                           .message = on_message,
                                           .hold = on_hold,
                                           .unknown = on_unknown,
                                           .ctx = told};
    const char *why = NULL;
    enum bus_refusal refusal = bus_talk_feed(t, words, says, &events, &why);
    if (refusal != BUS_REFUSALS) buf_addf(told, "%s: %s\n", bus_refusal_name(refusal), why);
}

static void put(struct buf *out, uint16_t channel, uint8_t type, uint16_t flags, const char *body)
{
    bus_frame_put(
        out, &(struct bus_head){.version = 1, .type = type, .flags = flags, .channel = channel},
        bytes_of(body));
}

/* What both say after their hellos: every kind of frame. */
static void say_more(struct buf *out, const struct bus_talk *t)
{
    size_t done = 0;
    bus_ping_put(out, t);
    bus_pong_put(out, t);
    assert_true(bus_fragment_put(out, 1, BUS_RAFT, BUS_RAFT_MESSAGE, BYTES_LIT("whole"), &done));
    put(out, BUS_META, 3, BUS_FLAG_MORE, "in three ");
    put(out, BUS_HEALTH, 1, 0, "");
    put(out, BUS_META, 3, BUS_FLAG_MORE | BUS_FLAG_CONTINUED, "frag");
    put(out, BUS_META, 3, BUS_FLAG_CONTINUED, "ments");
    put(out, BUS_GROUP, 9, 0, "beat");
}

static void converse(struct buf *by_acceptor, struct buf *by_dialler)
{
    struct bus_talk a;
    struct bus_talk d;
    struct buf told;
    buf_init(&told, MEM_TEST);
    bus_talk_accept(&a, &acceptor_self, acceptor_nonce, by_acceptor);
    bus_talk_dial(&d, &dialler_self, dialler_nonce, acceptor_self.node, false);
    size_t heard = by_acceptor->len;
    hear(&d, buf_bytes(by_acceptor), by_dialler, &told);
    hear(&a, buf_bytes(by_dialler), by_acceptor, &told);
    hear(&d, bytes_view(by_acceptor->data + heard, by_acceptor->len - heard), by_dialler, &told);
    say_more(by_acceptor, &a);
    say_more(by_dialler, &d);
    bus_talk_free(&a);
    bus_talk_free(&d);
    buf_free(&told);
}

static void load(const char *path, struct buf *out)
{
    buf_init(out, MEM_TEST);
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s is missing", path);
    out->len = fread(buf_room(out, 1 << 16), 1, 1 << 16, f);
    (void)fclose(f);
}

static void store(const char *folder, const char *name, struct bytes bytes)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, f), bytes.len);
    (void)fclose(f);
}

static void test_what_is_said(void **state)
{
    (void)state;
    struct buf said[2];
    static const char *const names[] = {"acceptor", "dialler"};
    buf_init(&said[0], MEM_TEST);
    buf_init(&said[1], MEM_TEST);
    converse(&said[0], &said[1]);
    for (uint32_t i = 0; i < 2; i++) {
        char path[128];
        struct buf golden;
        const char *folder = getenv("BUS_FIXTURE_OUT");
        if (folder != NULL) store(folder, names[i], buf_bytes(&said[i]));
        (void)snprintf(path, sizeof path, FIXTURE "%s", names[i]);
        load(path, &golden);
        assert_true(bytes_equal(buf_bytes(&golden), buf_bytes(&said[i])));
        buf_free(&golden);
        buf_free(&said[i]);
    }
}

#define MORE "1/1 whole\n3/1 \n2/3 in three fragments\n4/9 beat\n"

static void test_what_is_understood(void **state)
{
    (void)state;
    struct buf golden;
    struct buf says;
    struct buf told;
    struct bus_talk t;
    buf_init(&says, MEM_TEST);
    buf_init(&told, MEM_TEST);
    load(FIXTURE "acceptor", &golden);
    bus_talk_dial(&t, &dialler_self, dialler_nonce, acceptor_self.node, false);
    hear(&t, buf_bytes(&golden), &says, &told);
    buf_add_byte(&told, 0);
    assert_string_equal(told.data,
                        "dialled node acceptor-acceptor-1 cluster cluster-of-test life "
                        "102030405060708 meta 300 version 1 at 10.0.0.2:16379\nup\n" MORE);
    bus_talk_free(&t);
    buf_free(&golden);
    told.len = 0;
    load(FIXTURE "dialler", &golden);
    bus_talk_accept(&t, &acceptor_self, acceptor_nonce, &says);
    hear(&t, buf_bytes(&golden), &says, &told);
    buf_add_byte(&told, 0);
    assert_string_equal(told.data,
                        "accepted node dialler-dialler-dia cluster cluster-of-test life 7 "
                        "meta 299 version 1 at [fd00::1]:16379\nup\n" MORE);
    assert_true(t.pong_owed);
    bus_talk_free(&t);
    buf_free(&golden);
    told.len = 0;
    load(FIXTURE "reject", &golden); /* of a hello with a wrong cluster */
    bus_talk_dial(&t, &dialler_self, dialler_nonce, acceptor_self.node, false);
    hear(&t, buf_bytes(&golden), &says, &told);
    buf_add_byte(&told, 0);
    assert_string_equal(told.data,
                        "refused-by-peer: the other end refuses us: it belongs to cluster "
                        "636c75737465722d6f662d7465737400, we to "
                        "616e6f746865722d636c757374657200\n");
    bus_talk_free(&t);
    buf_free(&golden);
    buf_free(&says);
    buf_free(&told);
}

static void test_what_a_rejection_says(void **state)
{
    (void)state;
    struct buf acceptor;
    struct buf dialler;
    struct buf told;
    struct buf golden;
    struct bus_talk a;
    struct bus_talk d;
    struct bus_self other = acceptor_self;
    other.cluster = (struct topo_cluster_id){"another-cluster"};
    buf_init(&acceptor, MEM_TEST);
    buf_init(&dialler, MEM_TEST);
    buf_init(&told, MEM_TEST);
    bus_talk_accept(&a, &other, acceptor_nonce, &acceptor);
    bus_talk_dial(&d, &dialler_self, dialler_nonce, acceptor_self.node, false);
    hear(&d, buf_bytes(&acceptor), &dialler, &told);
    hear(&a, buf_bytes(&dialler), &acceptor, &told);
    const char *folder = getenv("BUS_FIXTURE_OUT");
    if (folder != NULL) store(folder, "reject", buf_bytes(&acceptor));
    load(FIXTURE "reject", &golden);
    assert_true(bytes_equal(buf_bytes(&golden), buf_bytes(&acceptor)));
    buf_free(&golden);
    bus_talk_free(&a);
    bus_talk_free(&d);
    buf_free(&acceptor);
    buf_free(&dialler);
    buf_free(&told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said),
        cmocka_unit_test(test_what_a_rejection_says),
        cmocka_unit_test(test_what_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
