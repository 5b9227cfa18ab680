/* Every byte of a golden log flipped, every file cut at every length: recovery refuses and says where,
 * or cuts a tail off cleanly; no unit that was not written ever comes out. And what the repair leaves
 * is a log that opens. JOURNAL_DAMAGE_STEP=1 takes every byte of the large fixture too. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/log.h"
#include "shard/base/num.h"
#include "tests/unit/shard/journal/jfix.h"

struct lines {
    struct bytes line[256];
    uint32_t count;
};

static void split(const struct buf *text, struct lines *out)
{
    const uint8_t *p = text->data;
    const uint8_t *end = p + text->len;
    out->count = 0;
    while (p < end) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        assert_non_null(nl);
        assert_true(out->count < COUNT_OF(out->line));
        out->line[out->count++] = bytes_view(p, (size_t)(nl - p));
        p = nl + 1;
    }
}

/* "log 0/2": with the counts that the script uses it also tells the generation. */
static bool same_log(struct bytes a, struct bytes b)
{
    return memcmp(a.data, b.data, 7) == 0;
}

/* Each log's first part, in order, nothing else. */
static void check_prefixes(const struct buf *found, const struct lines *golden)
{
    struct lines got;
    uint32_t at = 0;
    split(found, &got);
    for (uint32_t i = 0; i < got.count; i++) {
        if (i > 0 && !same_log(got.line[i], got.line[i - 1])) {
            while (at < golden->count && same_log(golden->line[at], got.line[i - 1]))
                at++;
        }
        /* A log of which nothing is left is skipped as a whole. */
        bool begins = i == 0 || !same_log(got.line[i], got.line[i - 1]);
        while (begins && at < golden->count && !same_log(golden->line[at], got.line[i]))
            at++;
        assert_true(at < golden->count);
        assert_true(bytes_equal(got.line[i], golden->line[at]));
        at++;
    }
}

struct target {
    char name[64];
    struct buf bytes;
};
struct golden {
    struct jworld w;
    struct buf text, found;
    struct lines lines;
    struct target file[16];
    uint32_t files;
    uint32_t refused, cut, whole;
};

static void keep_file(void *ctx, const char *name, const struct buf *bytes)
{
    struct golden *g = ctx;
    struct target *t = &g->file[g->files++];
    assert_true(g->files <= COUNT_OF(g->file));
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    buf_init(&t->bytes, MEM_TEST);
    buf_add_bytes(&t->bytes, buf_bytes(bytes));
}

static void load(struct golden *g, const char *name)
{
    *g = (struct golden){0};
    buf_init(&g->text, MEM_TEST);
    buf_init(&g->found, MEM_TEST);
    jworld_init(&g->w, io_sim_new(1, NULL));
    jfix_load(&g->w, name);
    jfix_expected(name, &g->text);
    split(&g->text, &g->lines);
    jfix_each_file(&g->w, keep_file, g);
}

static void unload(struct golden *g)
{
    for (uint32_t i = 0; i < g->files; i++)
        buf_free(&g->file[i].bytes);
    buf_free(&g->text);
    buf_free(&g->found);
    jworld_free(&g->w);
}

static void check_once(struct golden *g)
{
    enum rc rc = jfix_recover(&g->w, &g->found);
    if (rc != RC_OK) {
        assert_true(rc == RC_CORRUPT || rc == RC_UNSUPPORTED || rc == RC_INVALID);
        assert_true(g->w.why.len > 0);
        g->refused++;
        return;
    }
    check_prefixes(&g->found, &g->lines);
    bool all = g->found.len == g->text.len;
    g->whole += all;
    g->cut += !all;
}

static void flip(struct golden *g, const struct target *t, uint64_t bit)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/log/%s", JLIB_DIR, t->name);
    assert_true(io_sim_flip_bit(g->w.sim, path, bit));
}

/* Long stretches of zeros are all alike: one byte in so many of them. */
static bool is_dull(const struct buf *bytes, uint64_t at)
{
    static const uint8_t zeros[64];
    bool inside = at >= 32 && at + 32 <= bytes->len;
    return inside && memcmp(bytes->data + at - 32, zeros, sizeof zeros) == 0 && at % 29 != 0;
}

static void flip_all(struct golden *g, uint32_t step)
{
    for (uint32_t f = 0; f < g->files; f++) {
        const struct target *t = &g->file[f];
        for (uint64_t at = 0; at < t->bytes.len; at += step) {
            if (step > 1 || !is_dull(&t->bytes, at)) {
                uint64_t bit = at * 8 + at % 8;
                flip(g, t, bit);
                check_once(g);
                flip(g, t, bit);
            }
        }
    }
}

static uint32_t step_from(uint32_t usual)
{
    const char *text = getenv("JOURNAL_DAMAGE_STEP");
    uint64_t v = 0;
    return text != NULL && num_parse_u64(bytes_of(text), &v) && v > 0 ? (uint32_t)v : usual;
}

static void test_every_byte_flipped(void **state)
{
    (void)state;
    struct golden g;
    load(&g, "basic");
    flip_all(&g, step_from(1));
    print_message("basic: %u refused, %u cut, %u whole\n", g.refused, g.cut, g.whole);
    assert_true(g.refused > g.cut);
    unload(&g);
    load(&g, "chain");
    flip_all(&g, step_from(20011));
    print_message("chain: %u refused, %u cut, %u whole\n", g.refused, g.cut, g.whole);
    assert_true(g.refused > 0);
    unload(&g);
}

static void cut_all(struct golden *g, uint32_t step)
{
    for (uint32_t f = 0; f < g->files; f++) {
        const struct target *t = &g->file[f];
        for (uint64_t len = 0; len < t->bytes.len; len += step) {
            jfix_write_file(&g->w, t->name, bytes_view(t->bytes.data, len));
            check_once(g);
        }
        jfix_write_file(&g->w, t->name, buf_bytes(&t->bytes));
    }
}

static void test_every_length(void **state)
{
    (void)state;
    struct golden g;
    load(&g, "basic");
    cut_all(&g, step_from(11));
    assert_true(g.refused > 0);
    assert_true(g.cut > 0);
    unload(&g);
    load(&g, "chain");
    cut_all(&g, step_from(40009));
    assert_true(g.refused + g.cut > 0);
    unload(&g);
}

static void test_missing_files(void **state)
{
    (void)state;
    struct golden g;
    load(&g, "basic");
    for (uint32_t f = 0; f < g.files; f++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/log/%s", JLIB_DIR, g.file[f].name);
        assert_int_equal(g.w.io->ops->file_unlink(g.w.io, path), 0);
        check_once(&g);
        jfix_write_file(&g.w, g.file[f].name, buf_bytes(&g.file[f].bytes));
    }
    assert_int_equal(g.refused + g.cut, g.files);
    assert_in_range(g.cut, 0,
                    1); /* the only file of the last generation looks as if never written */
    unload(&g);
}

/* Damage in ended and open generations, by repair; then without. */
static void test_repair(void **state)
{
    (void)state;
    struct golden g;
    load(&g, "basic");
    for (uint32_t f = 0; f < g.files; f++) {
        if (strcmp(g.file[f].name, "MANIFEST") == 0) continue;
        for (uint64_t at = 40; at < g.file[f].bytes.len; at += 509) {
            struct jworld w;
            struct buf after;
            buf_init(&after, MEM_TEST);
            flip(&g, &g.file[f], at * 8);
            jworld_init(&w, io_sim_crash_copy(g.w.sim, at));
            flip(&g, &g.file[f], at * 8);
            w.repair = true;
            struct journal_opts opts = jworld_opts(&w, 2);
            memset(opts.cluster_id, 0, sizeof opts.cluster_id);
            memset(opts.node_id, 0, sizeof opts.node_id);
            assert_int_equal(journal_set_open(&opts, w.io, &w.set, &w.why), RC_OK);
            jfix_units(&w, &g.found);
            check_prefixes(&g.found, &g.lines);
            assert_int_equal(journal_set_start(w.set, &w.why), RC_OK);
            journal_set_close(w.set);
            w.set = NULL;
            w.repair = false;
            if (jfix_recover(&w, &after) != RC_OK)
                fail_msg("%s byte %llu: %.*s", g.file[f].name, (unsigned long long)at,
                         (int)w.why.len, (const char *)w.why.data);
            assert_int_equal(after.len, g.found.len);
            assert_memory_equal(after.data, g.found.data, after.len);
            jworld_free(&w);
            buf_free(&after);
        }
    }
    unload(&g);
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_flipped),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_repair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
