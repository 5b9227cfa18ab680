/* The format is frozen: the golden logs in tests/fixtures/journal-v1 read as they always did, and the
 * same script writes the same bytes. JOURNAL_FIXTURE_OUT=<folder> writes what the scripts give now
 * into that folder instead: for fixtures of a new version; those that are there stay as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "shard/base/log.h"
#include "tests/unit/shard/journal/jfix.h"

static void world(struct jworld *w)
{
    jworld_init(w, io_sim_new(1, NULL));
}

static void test_fixtures_read_as_ever(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < jfix_count; i++) {
        struct jworld w;
        struct buf units;
        struct buf expected;
        buf_init(&units, MEM_TEST);
        buf_init(&expected, MEM_TEST);
        world(&w);
        jfix_load(&w, jfix_all[i].name);
        jfix_expected(jfix_all[i].name, &expected);
        assert_int_equal(jfix_recover(&w, &units), RC_OK);
        assert_true(units.len > 0);
        assert_int_equal(units.len, expected.len);
        assert_memory_equal(units.data, expected.data, units.len);
        jworld_free(&w);
        buf_free(&units);
        buf_free(&expected);
    }
}

struct same {
    struct jworld *golden;
    uint32_t files;
};

struct find {
    const char *name;
    struct buf bytes;
    bool found;
};

static void find_one(void *ctx, const char *name, const struct buf *bytes)
{
    struct find *f = ctx;
    if (strcmp(name, f->name) != 0) return;
    f->found = true;
    buf_add_bytes(&f->bytes, buf_bytes(bytes));
}

static void compare_one(void *ctx, const char *name, const struct buf *bytes)
{
    struct same *s = ctx;
    struct find f = {.name = name};
    buf_init(&f.bytes, MEM_TEST);
    jfix_each_file(s->golden, find_one, &f);
    if (!f.found) fail_msg("%s is no part of the fixture", name);
    assert_int_equal(f.bytes.len, bytes->len);
    for (size_t i = 0; i < bytes->len; i++)
        if (f.bytes.data[i] != bytes->data[i]) fail_msg("%s differs at %zu", name, i);
    buf_free(&f.bytes);
    s->files++;
}

static void count_one(void *ctx, const char *name, const struct buf *bytes)
{
    (void)name;
    (void)bytes;
    ++*(uint32_t *)ctx;
}

static void test_same_script_same_bytes(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < jfix_count; i++) {
        struct jworld w;
        struct jworld golden;
        uint32_t files = 0;
        world(&w);
        world(&golden);
        jfix_all[i].write(&w);
        jfix_load(&golden, jfix_all[i].name);
        struct same s = {.golden = &golden};
        jfix_each_file(&w, compare_one, &s);
        jfix_each_file(&golden, count_one, &files);
        assert_int_equal(s.files, files);
        jworld_free(&w);
        jworld_free(&golden);
    }
}

/* ---- the tool */

static void put_file(const char *dir, const char *name, struct bytes bytes)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wbx"); /* never over one that is there */
    if (f == NULL || fwrite(bytes.data, 1, bytes.len, f) != bytes.len || fclose(f) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

static void put_one(void *ctx, const char *name, const struct buf *bytes)
{
    put_file(ctx, name, buf_bytes(bytes));
}

static void write_fixtures(const char *out)
{
    for (uint32_t i = 0; i < jfix_count; i++) {
        char dir[256];
        char log[300];
        struct jworld w;
        struct buf units;
        buf_init(&units, MEM_TEST);
        world(&w);
        (void)snprintf(dir, sizeof dir, "%s/%s", out, jfix_all[i].name);
        (void)snprintf(log, sizeof log, "%s/log", dir);
        (void)mkdir(out, 0755);
        (void)mkdir(dir, 0755);
        (void)mkdir(log, 0755);
        jfix_all[i].write(&w);
        jfix_each_file(&w, put_one, log);
        assert_int_equal(jfix_recover(&w, &units), RC_OK);
        put_file(dir, "units.txt", buf_bytes(&units));
        jworld_free(&w);
        buf_free(&units);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures_read_as_ever),
        cmocka_unit_test(test_same_script_same_bytes),
    };
    log_set_level(LOG_NOTHING);
    const char *out = getenv("JOURNAL_FIXTURE_OUT");
    if (out != NULL) {
        write_fixtures(out);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
