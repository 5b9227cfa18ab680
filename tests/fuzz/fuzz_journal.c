/* tests/fuzz/fuzz_journal.c: recovery over arbitrary bytes. The first byte chooses what the rest is:
 *
 *   0  a manifest's text                       the manifest alone
 *   1  a segment's blocks behind a good head   frames rarely pass their checksum: scanning, judging
 *   2  bodies of frames, wrapped with good     units, groups, chains, cuts
 *      heads and checksums
 *
 * Nothing may crash or read beyond; replay may apply only what the check let through. Files lie on a
 * simulated disk. */
#include <fcntl.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/crc.h"
#include "shard/base/log.h"
#include "shard/journal/record.h"
#include "tests/sim/io_sim.h"

#define MODES 3
#define SEGMENT (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t cluster[16] = {1};
static const uint8_t node[20] = {2};

static void put_file(struct io *io, const char *path, struct bytes bytes)
{
    int fd = io->ops->file_open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert(fd >= 0);
    int64_t n = io->ops->file_pwrite(io, fd, bytes.data, bytes.len, 0);
    assert(n == (int64_t)bytes.len);
    (void)io->ops->file_close(io, fd);
}

static void put_manifest(struct io *io, struct buf *text)
{
    buf_addf(text, "crc %08x\n", crc32c(0, text->data, text->len));
    put_file(io, "/data/log/MANIFEST", buf_bytes(text));
}

static void add_hex(struct buf *out, const uint8_t *id, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        buf_addf(out, "%02x", id[i]);
}

/* One open generation of one log. */
static void put_good_manifest(struct io *io)
{
    struct buf text;
    buf_init(&text, MEM_TEST);
    buf_addf(&text, "moon-log 1\ncluster ");
    add_hex(&text, cluster, sizeof cluster);
    buf_addf(&text, "\nnode ");
    add_hex(&text, node, sizeof node);
    buf_addf(&text, "\ngeneration 1 epoch 0 logs 1\nlog 0 start 0 %08x\n",
             journal_seed(cluster, node, 1, 0));
    put_manifest(io, &text);
    buf_free(&text);
}

static void put_head(struct buf *out)
{
    struct journal_file_head h = {.logs = 1, .generation = 1, .file_bytes = SEGMENT};
    memcpy(h.cluster_id, cluster, sizeof cluster);
    memcpy(h.node_id, node, sizeof node);
    journal_file_head_encode(buf_room(out, BLOCK_BYTES), &h);
    out->len += BLOCK_BYTES;
}

/* Log bytes into blocks; stamps of one frame, right for a few blocks at least. */
static void put_log(struct buf *out, const uint8_t *log, size_t len)
{
    uint32_t stamp = journal_stamp(0, journal_seed(cluster, node, 1, 0));
    for (size_t at = 0; at < len; at += BLOCK_LOG_BYTES) {
        size_t n = len - at < BLOCK_LOG_BYTES ? len - at : BLOCK_LOG_BYTES;
        buf_add(out, log + at, n);
        if (n == BLOCK_LOG_BYTES) buf_add(out, &stamp, sizeof stamp);
    }
}

/* { flags, length u16, body }: each a frame with a right head and chain. */
static void wrap_frames(struct buf *log, const uint8_t *p, size_t n)
{
    uint32_t crc = journal_seed(cluster, node, 1, 0);
    while (n >= 3) {
        size_t length = (size_t)p[1] | (size_t)p[2] << 8;
        if (length > n - 3) length = n - 3;
        struct journal_frame_head h = {
            .flags = p[0] & 7, .generation = 1, .length = (uint32_t)length, .lsn = log->len};
        uint8_t *frame = buf_room(log, FRAME_HEAD_BYTES + length);
        uint64_t synced = (p[0] & 8) != 0 ? log->len : 0;
        journal_frame_encode(frame, &h);
        memcpy(frame + FRAME_HEAD_BYTES, p + 3, length);
        crc = journal_frame_seal(frame, p[0], synced, 0, crc);
        if ((p[0] & 0x80) != 0) frame[FRAME_HEAD_BYTES - 1] ^= 1; /* a bad one, others may follow */
        log->len += FRAME_HEAD_BYTES + length;
        p += 3 + length;
        n -= 3 + length;
    }
}

static bool touch(void *ctx, const struct journal_unit *u)
{
    volatile uint8_t *sum = ctx;
    for (uint32_t i = 0; i < u->argc; i++)
        for (size_t k = 0; k < u->args[i].len; k++)
            *sum = (uint8_t)(*sum + u->args[i].data[k]);
    return true;
}

static enum rc recover(struct io_sim *sim, struct io *io, bool repair)
{
    struct journal_opts opts = {.dir = "/data",
                                .logs = 1,
                                .segment_bytes = SEGMENT,
                                .repair = repair,
                                .clock = io_sim_clock(sim)};
    struct journal_set *set = NULL;
    struct buf why;
    uint8_t sum = 0;
    buf_init(&why, MEM_TEST);
    enum rc opened = journal_set_open(&opts, io, &set, &why);
    if (opened == RC_OK) {
        enum rc rc = journal_set_replay(
            set, io,
            &(struct journal_replay_opts){.shard = 0, .shards = 1, .apply = touch, .ctx = &sum},
            &why);
        assert(rc == RC_OK); /* what the check took replays */
        rc = journal_set_start(set, &why);
        assert(rc == RC_OK);
        journal_set_close(set);
    } else {
        assert(why.len > 0);
    }
    buf_free(&why);
    return opened;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > SEGMENT / 2) return 0;
    uint8_t mode = data[0] % MODES;
    struct io_sim *sim = io_sim_new(1, NULL);
    struct io *io = io_sim_open(sim);
    struct buf file;
    struct buf log;
    log_set_level(LOG_NOTHING);
    buf_init(&file, MEM_TEST);
    buf_init(&log, MEM_TEST);
    int err = io->ops->file_mkdir(io, "/data");
    if (err == 0) err = io->ops->file_mkdir(io, "/data/log");
    assert(err == 0);
    if (mode == 0) {
        /* With a right checksum: what stands before it gets read. */
        buf_add(&log, data + 1, size - 1);
        put_manifest(io, &log);
    } else {
        put_good_manifest(io);
        put_head(&file);
        if (mode == 1)
            buf_add(&log, data + 1, size - 1);
        else
            wrap_frames(&log, data + 1, size - 1);
        put_log(&file, log.data, log.len);
        put_file(io, "/data/log/log-00000001-00-00000000000000000000", buf_bytes(&file));
    }
    enum rc rc = recover(sim, io, false);
    assert(rc == RC_OK || rc == RC_CORRUPT || mode == 0);
    rc = recover(sim, io, true);
    assert(rc == RC_OK || mode == 0);
    if (rc == RC_OK) rc = recover(sim, io, false); /* a repaired log is whole */
    assert(rc == RC_OK || mode == 0);
    buf_free(&file);
    buf_free(&log);
    io->ops->free(io);
    io_sim_free(sim);
    return 0;
}
