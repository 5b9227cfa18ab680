/* shard/journal/reader.c: the bytes of one log in order, whatever file they lie in, stamps left out.
 *
 *   files    [head|block|block|…]  [head|block|…]        read in pieces of 1 MiB
 *   window        base ├─────── len ───────┤             contiguous log bytes, moves forward
 *
 * A file ends by its size or where the next one begins; where neither meets, the log has a gap and
 * the view stops. Blocking; for start-up. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "shard/base/assert.h"
#include "shard/journal/journal_priv.h"

#define READ_BYTES (1u << 20)
#define WINDOW_BYTES (FRAME_BYTES_MAX + READ_BYTES)

enum rc journal__reader_open(struct journal__reader *r, struct io *io, const char *dir,
                             const struct journal__generation *g, uint32_t log_index)
{
    assert(log_index < g->logs);
    *r = (struct journal__reader){.io = io,
                                  .dir = dir,
                                  .log = &g->log[log_index],
                                  .generation = g->number,
                                  .log_index = log_index,
                                  .fd = -1};
    return journal__reader_buffers(r);
}

/* No larger than a small log needs: a start with many of them opens one reader each. */
enum rc journal__reader_buffers(struct journal__reader *r)
{
    uint64_t raw = BLOCK_BYTES;
    uint64_t window = BLOCK_BYTES;
    for (uint32_t k = 0; k < r->log->files_count; k++) {
        uint64_t bytes = r->log->files[k].bytes;
        raw = bytes > raw ? bytes : raw;
        window += bytes;
    }
    r->raw_cap = raw < READ_BYTES ? (size_t)raw : READ_BYTES;
    r->window_cap = window < WINDOW_BYTES ? (size_t)window : WINDOW_BYTES;
    r->raw = mem_try_alloc(MEM_JOURNAL, r->raw_cap);
    r->window = mem_try_alloc(MEM_JOURNAL, r->window_cap);
    if (r->raw != NULL && r->window != NULL) return RC_OK;
    journal__reader_close(r);
    return RC_NOMEM;
}

void journal__reader_close(struct journal__reader *r)
{
    if (r->fd >= 0) (void)r->io->ops->file_close(r->io, r->fd);
    mem_free(MEM_JOURNAL, r->raw, r->raw_cap);
    mem_free(MEM_JOURNAL, r->window, r->window_cap);
    r->fd = -1;
    r->raw = NULL;
    r->window = NULL;
}

/* The file that holds lsn, or files_count. */
static uint32_t find_file(const struct journal__reader *r, uint64_t lsn)
{
    const struct journal__log *log = r->log;
    uint32_t low = 0;
    uint32_t high = log->files_count;
    while (low < high) { /* the first that begins after lsn */
        uint32_t mid = low + (high - low) / 2;
        if (log->files[mid].lsn <= lsn)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || lsn >= journal__file_end(log, low - 1)) return log->files_count;
    if (!log->files[low - 1].head_ok && !r->past_bad_heads) return log->files_count;
    return low - 1;
}

static bool open_file(struct journal__reader *r, uint32_t k)
{
    if (r->fd >= 0 && r->fd_file == k) return true;
    if (r->fd >= 0) (void)r->io->ops->file_close(r->io, r->fd);
    struct journal__name name = {
        .generation = r->generation, .log = r->log_index, .lsn = r->log->files[k].lsn};
    journal__file_path(r->path, r->dir, name);
    r->fd = r->io->ops->file_open(r->io, r->path, O_RDONLY, 0);
    r->fd_file = k;
    if (r->fd < 0) r->rc = rc_from_errno(r->fd);
    return r->fd >= 0;
}

static bool read_at(struct journal__reader *r, uint8_t *into, size_t len, uint64_t offset)
{
    int64_t n = journal__pread(r->io, r->fd, into, len, offset);
    if (n == (int64_t)len) return true;
    r->rc = n < 0 ? rc_from_errno((int)n)
                  : RC_IO; /* a file that became shorter cannot be read either */
    return false;
}

/* Copies log bytes out of raw, which begins at a block; the first `skip` bytes are not wanted. */
static size_t without_stamps(uint8_t *out, const uint8_t *raw, size_t raw_len, size_t skip,
                             uint64_t wanted)
{
    size_t done = 0;
    for (size_t at = 0; at < raw_len && done < wanted; at += BLOCK_BYTES, skip = 0) {
        size_t there = raw_len - at < BLOCK_LOG_BYTES ? raw_len - at : BLOCK_LOG_BYTES;
        if (there <= skip) continue;
        size_t n = there - skip;
        if (n > wanted - done) n = (size_t)(wanted - done);
        memcpy(out + done, raw + at + skip, n);
        done += n;
    }
    return done;
}

/* Appends up to READ_BYTES of what follows the window. False: nothing does. */
static bool load(struct journal__reader *r, uint32_t k)
{
    uint64_t lsn = r->base + r->len;
    if (r->rc != RC_OK || !open_file(r, k)) return false;
    uint64_t i = lsn - r->log->files[k].lsn;
    uint64_t offset = journal_file_offset(i / BLOCK_LOG_BYTES * BLOCK_LOG_BYTES);
    uint64_t rest = r->log->files[k].bytes - offset;
    size_t raw_len = rest < r->raw_cap ? (size_t)rest : r->raw_cap;
    if (!read_at(r, r->raw, raw_len, offset)) return false;
    size_t n = without_stamps(r->window + r->len, r->raw, raw_len, (size_t)(i % BLOCK_LOG_BYTES),
                              journal__file_end(r->log, k) - lsn);
    r->len += n;
    assert(r->len <= r->window_cap);
    return n > 0;
}

static size_t in_window(const struct journal__reader *r, uint64_t lsn)
{
    return lsn < r->base || lsn >= r->base + r->len ? 0 : (size_t)(r->base + r->len - lsn);
}

size_t journal__reader_view(struct journal__reader *r, uint64_t lsn, size_t n, const uint8_t **out)
{
    assert(n <= FRAME_BYTES_MAX);
    size_t have = in_window(r, lsn);
    while (have < n && r->rc == RC_OK) {
        uint32_t k = find_file(r, lsn + have);
        if (k == r->log->files_count) break;
        if (have > 0) memmove(r->window, r->window + (lsn - r->base), have);
        r->base = lsn;
        r->len = have;
        if (!load(r, k)) break;
        have = in_window(r, lsn);
    }
    if (have > n) have = n;
    *out = have == 0 ? r->window : r->window + (lsn - r->base);
    return have;
}

bool journal__reader_block(struct journal__reader *r, uint64_t lsn, uint8_t out[static BLOCK_BYTES],
                           uint64_t *start_out)
{
    uint32_t k = find_file(r, lsn);
    if (k == r->log->files_count || r->rc != RC_OK || !open_file(r, k)) return false;
    uint64_t block = (lsn - r->log->files[k].lsn) / BLOCK_LOG_BYTES;
    uint64_t offset = BLOCK_BYTES + block * BLOCK_BYTES;
    if (offset + BLOCK_BYTES > r->log->files[k].bytes) return false;
    uint64_t start = r->log->files[k].lsn + block * BLOCK_LOG_BYTES;
    if (start + BLOCK_LOG_BYTES > journal__file_end(r->log, k)) return false;
    *start_out = start;
    return read_at(r, out, BLOCK_BYTES, offset);
}

void journal__reader_where(const struct journal__reader *r, uint64_t lsn, char *out, size_t cap)
{
    char path[JOURNAL_PATH_MAX];
    const struct journal__log *log = r->log;
    uint32_t k = log->files_count;
    while (k > 0 && log->files[k - 1].lsn > lsn)
        k--;
    /* A place behind the end of all files is told as an offset in the last one. */
    uint64_t first = k == 0 ? lsn : log->files[k - 1].lsn;
    struct journal__name name = {.generation = r->generation, .log = r->log_index, .lsn = first};
    journal__file_path(path, r->dir, name);
    (void)snprintf(out, cap, "%s at offset %" PRIu64, path, journal_file_offset(lsn - first));
}
