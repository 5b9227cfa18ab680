/* tests/unit/shard/journal/jfix.c: see jfix.h. The scripts wait for every pass to be durable and give
 * times of their own, so that the same bytes come out whatever the machine's dice say. */
#include "tests/unit/shard/journal/jfix.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "shard/base/crc.h"

#define T0 1700000000000000 /* µs */

static int64_t fixed_wall(void *ctx)
{
    (void)ctx;
    return T0;
}

static uint64_t sim_mono(void *ctx)
{
    return clock_mono_ns(ctx);
}

/* ---- the scripts */

static void start(struct jworld *w, uint32_t logs, enum journal_fsync fsync)
{
    static struct clock clock = {.wall_us = fixed_wall, .mono_ns = sim_mono};
    const struct journal_events none = {0};
    w->fsync = fsync;
    struct journal_opts opts = jworld_opts(w, logs);
    clock.ctx = (void *)(uintptr_t)io_sim_clock(w->sim);
    opts.clock = &clock;
    for (uint8_t i = 0; i < 16; i++)
        opts.cluster_id[i] = (uint8_t)(0xc0 + i);
    for (uint8_t i = 0; i < 20; i++)
        opts.node_id[i] = (uint8_t)(0x10 + i);
    w->why.len = 0;
    assert_int_equal(journal_set_open(&opts, w->io, &w->set, &w->why), RC_OK);
    assert_int_equal(journal_set_start(w->set, &w->why), RC_OK);
    w->timers = timer_wheel_new(clock_mono_ns(io_sim_clock(w->sim)) / 1000000);
    w->logs = logs;
    for (uint32_t l = 0; l < logs; l++)
        assert_int_equal(journal_open(w->set, l, w->io, w->timers, &none, &w->log[l].j), RC_OK);
}

static void pass(struct jworld *w, uint32_t log, int64_t ms)
{
    struct journal *j = w->log[log].j;
    journal_pass(j, T0 + ms * 1000);
    while (journal_durable_lsn(j) != journal_lsn(j)) {
        (void)io_turn(w->io, 100000);
        timer_advance(w->timers, clock_mono_ns(io_sim_clock(w->sim)) / 1000000);
    }
}

static void unit(struct jworld *w, uint32_t log, struct journal_head head, const char *a,
                 const char *b)
{
    struct bytes args[2] = {bytes_of(a == NULL ? "" : a), bytes_of(b == NULL ? "" : b)};
    uint32_t argc = b != NULL ? 2 : a != NULL;
    journal_append(w->log[log].j, &head, args, argc);
}

static void long_unit(struct jworld *w, uint32_t log, uint16_t slot, uint32_t bytes)
{
    uint8_t *value = mem_alloc(MEM_TEST, bytes);
    for (uint32_t i = 0; i < bytes; i++)
        value[i] = (uint8_t)(i * 7 + i / 251);
    struct bytes args[2] = {BYTES_LIT("long"), bytes_view(value, bytes)};
    struct journal_head head = {.opcode = 1, .slot = slot};
    journal_append(w->log[log].j, &head, args, 2);
    mem_free(MEM_TEST, value, bytes);
}

/* Two logs, direct, then the same generation buffered; a transaction that one log lacks; another
 * generation with one log that ends without a clean stop. */
static void write_basic(struct jworld *w)
{
    w->segment_bytes = 3 * BLOCK_BYTES;
    start(w, 2, JOURNAL_ALWAYS);
    unit(w, 0, (struct journal_head){.opcode = 1, .slot = 0}, "key", "value");
    unit(w, 0, (struct journal_head){.opcode = 127, .slot = 31}, "", NULL);
    unit(w, 0, (struct journal_head){.opcode = 128, .slot = 16320, .db = 255}, "db", "x");
    unit(w, 1, (struct journal_head){.opcode = UINT32_MAX, .slot = 16383}, NULL, NULL);
    pass(w, 0, 0);
    pass(w, 1, 1);
    journal_group_begin(w->log[0].j);
    unit(w, 0, (struct journal_head){.opcode = 2, .slot = 1, .engine = 3}, "engine", "unit");
    unit(w, 0, (struct journal_head){.opcode = 3, .slot = 2, .engine = 7, .db = 9}, "both", NULL);
    journal_group_end(w->log[0].j);
    unit(w, 1, (struct journal_head){.opcode = 4, .slot = JOURNAL_SLOT_ALL}, NULL, NULL);
    pass(w, 0, 2);
    pass(w, 1, 2);
    long_unit(w, 0, 3, 3000);
    pass(w, 0, 3);
    long_unit(w, 0, 4, 9000);
    pass(w, 0, 4);
    struct journal_head tx = {.opcode = 5, .slot = 5, .txid = 0x0102030405060708, .shards_mask = 3};
    unit(w, 0, tx, "part", "0");
    tx.slot = 32;
    unit(w, 1, tx, "part", "1");
    pass(w, 0, 5);
    pass(w, 1, 5);
    jworld_close(w, true);
    start(w, 2, JOURNAL_EVERYSEC);
    unit(w, 0, (struct journal_head){.opcode = 6, .slot = 6}, "after", "clean stop");
    unit(w, 1, (struct journal_head){.opcode = 6, .slot = 33}, "after", "clean stop");
    pass(w, 0, 6);
    pass(w, 1, 4); /* a clock that went back: hlc does not */
    unit(w, 0, (struct journal_head){.opcode = 6, .slot = 7}, "kept",
         "in the frame of the dropped");
    journal_group_begin(w->log[0].j);
    unit(w, 0, (struct journal_head){.opcode = 7, .slot = 7}, "dropped", "with the group");
    tx = (struct journal_head){.opcode = 8, .slot = 8, .txid = UINT64_MAX, .shards_mask = 3};
    unit(w, 0, tx, "dropped", "log 1 has no part");
    journal_group_end(w->log[0].j);
    unit(w, 0, (struct journal_head){.opcode = 9, .slot = 9}, "dropped", "it follows");
    pass(w, 0, 7);
    jworld_close(w, false);
    start(w, 1, JOURNAL_EVERYSEC);
    for (uint32_t i = 0; i < 40; i++) {
        unit(w, 0, (struct journal_head){.opcode = 10, .slot = (uint16_t)(i * 400)}, "second",
             "generation");
        if (i % 8 == 7) pass(w, 0, 10 + i);
    }
    jworld_close(w, false);
}

/* A unit over more than one frame, and a group that overflows its frame. */
static void write_chain(struct jworld *w)
{
    w->segment_bytes = 1u << 20;
    start(w, 1, JOURNAL_EVERYSEC);
    unit(w, 0, (struct journal_head){.opcode = 1, .slot = 1}, "before", NULL);
    long_unit(w, 0, 2, 1100000);
    unit(w, 0, (struct journal_head){.opcode = 1, .slot = 3}, "between", NULL);
    journal_group_begin(w->log[0].j);
    long_unit(w, 0, 4, 600000);
    long_unit(w, 0, 5, 600000);
    unit(w, 0, (struct journal_head){.opcode = 1, .slot = 6}, "last of", "the group");
    journal_group_end(w->log[0].j);
    unit(w, 0, (struct journal_head){.opcode = 1, .slot = 7}, "after", NULL);
    pass(w, 0, 1);
    jworld_close(w, true);
}

const struct jfix jfix_all[] = {{"basic", write_basic}, {"chain", write_chain}};
const uint32_t jfix_count = COUNT_OF(jfix_all);

/* ---- files */

static void sim_path(char *out, size_t cap, const char *name)
{
    (void)snprintf(out, cap, "%s/log/%s", JLIB_DIR, name);
}

static void collect(void *ctx, const char *name)
{
    struct buf *names = ctx;
    if (strcmp(name, "LOCK") != 0) buf_add(names, name, strlen(name) + 1);
}

void jfix_each_file(struct jworld *w,
                    void (*each)(void *ctx, const char *name, const struct buf *bytes), void *ctx)
{
    struct buf names;
    struct buf bytes;
    char path[256];
    buf_init(&names, MEM_TEST);
    buf_init(&bytes, MEM_TEST);
    assert_int_equal(w->io->ops->file_list(w->io, JLIB_DIR "/log", collect, &names), 0);
    for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1) {
        const char *name = (char *)names.data + at;
        sim_path(path, sizeof path, name);
        int fd = w->io->ops->file_open(w->io, path, O_RDONLY, 0);
        assert_true(fd >= 0);
        int64_t size = w->io->ops->file_size(w->io, fd);
        bytes.len = 0;
        (void)buf_room(&bytes, (size_t)size + 1);
        assert_int_equal(journal__pread(w->io, fd, bytes.data, (size_t)size, 0), size);
        bytes.len = (size_t)size;
        (void)w->io->ops->file_close(w->io, fd);
        each(ctx, name, &bytes);
    }
    buf_free(&names);
    buf_free(&bytes);
}

void jfix_write_file(struct jworld *w, const char *name, struct bytes bytes)
{
    char path[256];
    sim_path(path, sizeof path, name);
    int fd = w->io->ops->file_open(w->io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(w->io->ops->file_pwrite(w->io, fd, bytes.data, bytes.len, 0), bytes.len);
    assert_int_equal(w->io->ops->file_sync(w->io, fd), 0);
    (void)w->io->ops->file_close(w->io, fd);
}

static void read_real(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("cannot open %s", path);
    out->len = 0;
    for (size_t n = 1; n > 0;) {
        n = fread(buf_room(out, 65536), 1, 65536, f);
        out->len += n;
    }
    fclose(f);
}

void jfix_load(struct jworld *w, const char *name)
{
    char dir[256];
    char path[600];
    struct buf bytes;
    buf_init(&bytes, MEM_TEST);
    assert_int_equal(w->io->ops->file_mkdir(w->io, JLIB_DIR), 0);
    assert_int_equal(w->io->ops->file_mkdir(w->io, JLIB_DIR "/log"), 0);
    (void)snprintf(dir, sizeof dir, "%s/%s/log", JFIX_DIR, name);
    DIR *d = opendir(dir);
    if (d == NULL) fail_msg("no fixture %s", dir);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        read_real(path, &bytes);
        jfix_write_file(w, e->d_name, buf_bytes(&bytes));
    }
    closedir(d);
    buf_free(&bytes);
    assert_int_equal(journal__sync_dir(w->io, "/", NULL), RC_OK);
    assert_int_equal(journal__sync_dir(w->io, JLIB_DIR, NULL), RC_OK);
    assert_int_equal(journal__sync_dir(w->io, JLIB_DIR "/log", NULL), RC_OK);
}

void jfix_expected(const char *name, struct buf *out)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s/units.txt", JFIX_DIR, name);
    read_real(path, out);
}

/* ---- units as text */

static bool add_line(void *ctx, const struct journal_unit *u)
{
    struct buf *out = ctx;
    buf_addf(out,
             "log %u/%u lsn %" PRIu64 " ms %" PRId64 " slot %u db %u engine %u opcode %" PRIu32
             " tx %016" PRIx64,
             u->log, u->logs, u->lsn, u->wall_ms, u->slot, u->db, u->engine, u->opcode, u->txid);
    for (uint32_t i = 0; i < u->argc; i++) {
        if (u->args[i].len <= 40)
            buf_addf(out, " \"%.*s\"", (int)u->args[i].len, (const char *)u->args[i].data);
        else
            buf_addf(out, " %zu:%08" PRIx32, u->args[i].len,
                     crc32c(0, u->args[i].data, u->args[i].len));
    }
    buf_add_byte(out, '\n');
    return true;
}

void jfix_units(struct jworld *w, struct buf *out)
{
    out->len = 0;
    assert_int_equal(journal_set_replay(w->set, w->io,
                                        &(struct journal_replay_opts){
                                            .shard = 0, .shards = 1, .apply = add_line, .ctx = out},
                                        &w->why),
                     RC_OK);
}

enum rc jfix_recover(struct jworld *w, struct buf *out)
{
    struct journal_opts opts = jworld_opts(w, 1);
    memset(opts.cluster_id, 0, sizeof opts.cluster_id);
    memset(opts.node_id, 0, sizeof opts.node_id);
    w->why.len = 0;
    enum rc rc = journal_set_open(&opts, w->io, &w->set, &w->why);
    if (rc != RC_OK) {
        w->set = NULL;
        return rc;
    }
    jfix_units(w, out);
    journal_set_close(w->set);
    w->set = NULL;
    return RC_OK;
}
