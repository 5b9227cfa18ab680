/* The files of a member: the golden fixtures read as ever and are written as ever; every byte of them
 * flipped, every length they can be cut to, every file missing, is seen and named; after a power loss at
 * any moment a start finds all that was reported as stored.
 *
 * RAFTLOG_FIXTURE_OUT=<folder> writes what the script gives now instead: for fixtures of a new version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "shard/base/log.h"
#include "shard/base/rng.h"
#include "tests/unit/raftlog/rfix.h"

#define FIXTURE "tests/fixtures/raftlog-v1/basic"
#define EXPECTED "tests/fixtures/raftlog-v1/basic.txt"

static char log_path[64];

/* What was logged since the last call. */
static void take_log(struct buf *out)
{
    FILE *in = fopen(log_path, "r+");
    assert_non_null(in);
    out->len = fread(buf_room(out, 65536), 1, 65535, in);
    buf_add_byte(out, 0);
    assert_int_equal(ftruncate(fileno(in), 0), 0);
    (void)fclose(in);
}

static void expected(struct buf *out)
{
    FILE *in = fopen(EXPECTED, "rb");
    assert_non_null(in);
    out->len = fread(buf_room(out, 65536), 1, 65535, in);
    buf_add_byte(out, 0);
    (void)fclose(in);
}

static void test_fixture_reads_as_ever(void **state)
{
    (void)state;
    struct rworld w;
    struct rfiles golden;
    struct buf got, want;
    buf_init(&got, MEM_TEST);
    buf_init(&want, MEM_TEST);
    rworld_open(&w, 1);
    rfix_load(FIXTURE, &golden);
    assert_true(golden.count >= 6);
    rfix_place(&w, &golden);
    assert_int_equal(rfix_start(&w, &got), RC_OK);
    expected(&want);
    assert_string_equal((const char *)got.data, (const char *)want.data);
    rfiles_free(&golden);
    rworld_free(&w);
    buf_free(&got);
    buf_free(&want);
}

static void test_fixture_is_written_as_ever(void **state)
{
    (void)state;
    struct rworld w;
    struct rfiles fresh, golden;
    rworld_open(&w, 1);
    rfix_script(&w);
    rfix_read(&w, &fresh);
    const char *folder = getenv("RAFTLOG_FIXTURE_OUT");
    if (folder != NULL) {
        struct buf text;
        buf_init(&text, MEM_TEST);
        rfix_save(folder, &fresh);
        assert_int_equal(rfix_start(&w, &text), RC_OK);
        print_message("%s", (const char *)text.data);
        buf_free(&text);
    }
    rfix_load(FIXTURE, &golden);
    assert_int_equal(fresh.count, golden.count);
    for (uint32_t i = 0; i < fresh.count; i++) {
        uint32_t j = 0;
        while (j < golden.count && strcmp(fresh.at[i].name, golden.at[j].name) != 0)
            j++;
        assert_true(j < golden.count);
        assert_int_equal(fresh.at[i].bytes.len, golden.at[j].bytes.len);
        assert_memory_equal(fresh.at[i].bytes.data, golden.at[j].bytes.data, fresh.at[i].bytes.len);
    }
    rfiles_free(&fresh);
    rfiles_free(&golden);
    rworld_free(&w);
}

/* ---- damage */

struct outcomes {
    uint32_t refused, mended;
};

/* The last line of both is the same: the log ends where it ended. */
static bool same_end(const struct buf *a, const struct buf *b)
{
    size_t n = 40;
    return a->len > n && b->len > n && memcmp(a->data + a->len - n, b->data + b->len - n, n) == 0;
}

/* Either the start is refused and says why and where; or nothing is missing and the log says it. */
static void judge(const struct rfiles *files, const char *name, const struct buf *whole,
                  uint64_t offset, struct outcomes *out)
{
    struct rworld w;
    struct buf got, logged;
    buf_init(&got, MEM_TEST);
    buf_init(&logged, MEM_TEST);
    rworld_open(&w, offset + 1);
    rfix_place(&w, files);
    enum rc rc = rfix_start(&w, &got);
    take_log(&logged);
    const char *said = rc == RC_OK ? (const char *)logged.data : (const char *)got.data;
    if (strstr(said, name) == NULL || strstr(said, "offset ") == NULL)
        fail_msg("%s damaged at %llu: rc %d, said only: %s", name, (unsigned long long)offset, rc,
                 said);
    if (rc == RC_OK) {
        bool older = strncmp(name, "snap-", 5) == 0 && same_end(&got, whole);
        if (!older && strcmp((const char *)got.data, (const char *)whole->data) != 0)
            fail_msg("%s damaged at %llu is believed: %s", name, (unsigned long long)offset,
                     (const char *)got.data);
        out->mended++;
    } else {
        assert_true(rc == RC_CORRUPT || rc == RC_INVALID);
        out->refused++;
    }
    rworld_free(&w);
    buf_free(&got);
    buf_free(&logged);
}

static void load_whole(struct rfiles *files, struct buf *whole)
{
    buf_init(whole, MEM_TEST);
    rfix_load(FIXTURE, files);
    expected(whole);
}

/* The older snapshot is not read while the newer one is whole: its damage shows when it is needed. */
static bool is_spare(const char *name)
{
    return strcmp(name, "snap-0000000000000004-0000000000000003") == 0;
}

static void test_every_byte_flipped(void **state)
{
    (void)state;
    struct rfiles files;
    struct buf whole;
    struct outcomes o = {0};
    load_whole(&files, &whole);
    for (uint32_t i = 0; i < files.count; i++) {
        struct rfile *f = &files.at[i];
        if (is_spare(f->name)) continue;
        for (uint64_t at = 0; at < f->bytes.len; at++) {
            uint8_t bit = (uint8_t)(1u << (at * 7 % 8));
            f->bytes.data[at] ^= bit;
            judge(&files, f->name, &whole, at, &o);
            f->bytes.data[at] ^= bit;
        }
    }
    print_message("bytes flipped: %u starts refused, %u mended\n", o.refused, o.mended);
    assert_true(o.refused > 2000);
    assert_true(o.mended > 8192); /* the meta blocks */
    rfiles_free(&files);
    buf_free(&whole);
}

static void test_every_length_cut(void **state)
{
    (void)state;
    struct rfiles files;
    struct buf whole;
    struct outcomes o = {0};
    load_whole(&files, &whole);
    for (uint32_t i = 0; i < files.count; i++) {
        struct rfile *f = &files.at[i];
        if (is_spare(f->name)) continue;
        size_t len = f->bytes.len;
        for (f->bytes.len = 0; f->bytes.len < len; f->bytes.len++)
            judge(&files, f->name, &whole, f->bytes.len, &o);
    }
    print_message("lengths cut: %u starts refused, %u mended\n", o.refused, o.mended);
    assert_true(o.refused > 4000);
    rfiles_free(&files);
    buf_free(&whole);
}

/* Both snapshots damaged, or the damaged one is all that reaches back: nothing is made up. */
static void test_spare_snapshot_damaged_too(void **state)
{
    (void)state;
    struct rfiles files;
    struct buf whole, got;
    load_whole(&files, &whole);
    buf_init(&got, MEM_TEST);
    for (uint32_t i = 0; i < files.count; i++)
        if (strncmp(files.at[i].name, "snap-", 5) == 0)
            files.at[i].bytes.data[files.at[i].bytes.len / 2] ^= 1;
    struct rworld w;
    rworld_open(&w, 1);
    rfix_place(&w, &files);
    assert_int_equal(rfix_start(&w, &got), RC_CORRUPT);
    assert_non_null(strstr((const char *)got.data, "snap-"));
    rworld_free(&w);
    rfiles_free(&files);
    buf_free(&whole);
    buf_free(&got);
}

static void test_every_file_missing(void **state)
{
    (void)state;
    struct rfiles files;
    struct buf whole, got;
    load_whole(&files, &whole);
    buf_init(&got, MEM_TEST);
    for (uint32_t i = 0; i < files.count; i++) {
        if (strncmp(files.at[i].name, "seg-", 4) != 0) continue;
        struct rfiles rest = files;
        rest.at[i] = rest.at[--rest.count];
        struct rworld w;
        rworld_open(&w, 1);
        rfix_place(&w, &rest);
        assert_int_equal(rfix_start(&w, &got), RC_CORRUPT);
        assert_non_null(strstr((const char *)got.data, "missing"));
        rworld_free(&w);
    }
    rfiles_free(&files);
    buf_free(&whole);
    buf_free(&got);
}

static void test_files_of_others(void **state)
{
    (void)state;
    struct rfiles files;
    struct buf whole, got;
    load_whole(&files, &whole);
    buf_init(&got, MEM_TEST);
    for (int i = 0; i < 3; i++) {
        struct rworld w;
        rworld_open(&w, 1);
        rfix_place(&w, &files);
        if (i == 0) w.ids.cluster[0] ^= 1;
        if (i == 1) w.ids.node[0] ^= 1;
        if (i == 2) w.ids.raft_id++;
        assert_int_equal(rfix_start(&w, &got), RC_INVALID);
        assert_non_null(strstr((const char *)got.data, "of another"));
        rworld_free(&w);
    }
    rfiles_free(&files);
    buf_free(&whole);
    buf_free(&got);
}

/* ---- power loss */

struct ledger {
    uint64_t stored;    /* last index that was reported as stored */
    uint64_t submitted; /* … that was asked for */
};

static void run_until_off(struct rworld *w, struct store *s, struct ledger *l, struct rng *rng)
{
    for (uint64_t term = 1; !s->failed && !io_sim_is_off(w->sim); term++) {
        uint32_t n = 1 + (uint32_t)rng_below(rng, 8);
        struct store_entry entry[8];
        uint8_t payload[300] = {1};
        for (uint32_t i = 0; i < n; i++)
            entry[i] = (struct store_entry){
                .term = 1, .type = 1, .payload = bytes_view(payload, rng_below(rng, 300))};
        struct store_op op = {
            .kind = OP_APPEND, .index = l->submitted + 1, .entries = entry, .count = n};
        l->submitted += n;
        store_submit(s, &op);
        while (s->busy && !s->failed && !io_sim_is_off(w->sim))
            (void)io_turn(w->io, -1);
        if (s->failed || io_sim_is_off(w->sim)) return;
        l->stored = l->submitted;
        if (rng_below(rng, 6) == 0) store_mark(s);
    }
}

static void test_power_loss_keeps_what_was_stored(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rworld w;
        struct rng rng;
        struct ledger l = {0};
        rng_seed(&rng, seed);
        rworld_open(&w, seed);
        for (uint32_t life = 0; life < 6; life++) {
            struct store s;
            struct store_load load;
            io_sim_crash_at(w.sim, 1 + rng_below(&rng, 120));
            enum rc rc = store_open(&s, w.io, RFIX_DIR, &w.ids, 2048, &load);
            if (rc == RC_OK) {
                assert_true(s.last_index >= l.stored);
                assert_true(s.last_index <= l.submitted);
                l.stored = l.submitted = s.last_index;
                run_until_off(&w, &s, &l, &rng);
            } else if (!io_sim_is_off(w.sim)) {
                fail_msg("seed %llu: %s", (unsigned long long)seed, s.why);
            }
            store_load_free(&load);
            io_sim_crash(w.sim);
            store_abandon(&s);
        }
        rworld_free(&w);
    }
}

/* One copy of meta was torn by a power loss; the start that mends it loses power too, anywhere. */
static void test_power_loss_while_a_copy_of_meta_is_mended(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 2 * 40 * 4; round++) {
        struct rworld w;
        struct buf text;
        char copy[] = RFIX_DIR "/meta.0";
        buf_init(&text, MEM_TEST);
        rworld_open(&w, 1000 + round);
        rfix_script(&w); /* what it wrote is durable */
        copy[sizeof copy - 2] = (char)('0' + round % 2);
        assert_true(io_sim_flip_bit(w.sim, copy, 8 * 30));
        io_sim_crash_at(w.sim, 1 + round / 8);
        (void)rfix_start(&w, &text);
        io_sim_crash_at(w.sim, 0);
        io_sim_crash(w.sim);
        if (rfix_start(&w, &text) != RC_OK)
            fail_msg("round %d: %s", (int)round, (const char *)text.data);
        buf_free(&text);
        rworld_free(&w);
    }
}

int main(void)
{
    (void)snprintf(log_path, sizeof log_path, "/tmp/moon-raftlog-%d.log", (int)getpid());
    if (!log_open(log_path, LOG_WARNING, LOG_TEXT)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixture_reads_as_ever),
        cmocka_unit_test(test_fixture_is_written_as_ever),
        cmocka_unit_test(test_every_byte_flipped),
        cmocka_unit_test(test_every_length_cut),
        cmocka_unit_test(test_spare_snapshot_damaged_too),
        cmocka_unit_test(test_every_file_missing),
        cmocka_unit_test(test_files_of_others),
        cmocka_unit_test(test_power_loss_keeps_what_was_stored),
        cmocka_unit_test(test_power_loss_while_a_copy_of_meta_is_mended),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(log_path);
    return failed;
}
