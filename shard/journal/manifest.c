/* shard/journal/manifest.c: which generations there are, and where each log of an ended one ends. A
 * small text file, <dir>/log/MANIFEST, replaced as a whole: a new file is written beside it, synced,
 * renamed over it, and the directory synced. Exactly these lines, single blanks, one crc32c of all
 * bytes before the last line:
 *
 *   moon-log 1
 *   cluster 000102030405060708090a0b0c0d0e0f
 *   node 000102030405060708090a0b0c0d0e0f10111213
 *   generation 1 epoch 0 logs 2
 *   log 0 start 0 5f3a21bc end 12345
 *   log 1 start 0 8c11dd02 end 777
 *   generation 2 epoch 0 logs 1         the last one is open: it has no ends
 *   log 0 start 0 11223344
 *   crc 0a1b2c3d */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "shard/base/assert.h"
#include "shard/base/crc.h"
#include "shard/base/num.h"
#include "shard/journal/journal_priv.h"

#define MANIFEST_BYTES_MAX (64u << 20)

struct journal__generation *journal__manifest_add(struct journal__manifest *m, uint32_t number,
                                                  uint16_t logs)
{
    assert(logs > 0);
    assert(m->count == 0 || m->generations[m->count - 1].number < number);
    if (m->count == m->cap) {
        uint32_t cap = m->cap == 0 ? 4 : m->cap * 2;
        void *grown = mem_try_resize(MEM_JOURNAL, m->generations, m->cap * sizeof *m->generations,
                                     cap * sizeof *m->generations);
        if (grown == NULL) return NULL;
        m->generations = grown;
        m->cap = cap;
    }
    struct journal__log *log = mem_try_zalloc(MEM_JOURNAL, logs * sizeof *log);
    if (log == NULL) return NULL;
    for (uint32_t i = 0; i < logs; i++)
        log[i].end = JOURNAL_LSN_OPEN;
    struct journal__generation *g = &m->generations[m->count++];
    *g = (struct journal__generation){.number = number, .logs = logs, .log = log};
    return g;
}

static void generation_free(struct journal__generation *g)
{
    for (uint32_t i = 0; i < g->logs; i++)
        mem_free(MEM_JOURNAL, g->log[i].files, g->log[i].files_cap * sizeof *g->log[i].files);
    mem_free(MEM_JOURNAL, g->log, g->logs * sizeof *g->log);
}

void journal__manifest_drop(struct journal__manifest *m, uint32_t index)
{
    assert(index < m->count);
    generation_free(&m->generations[index]);
    m->count--;
    memmove(m->generations + index, m->generations + index + 1,
            (m->count - index) * sizeof *m->generations);
}

void journal__manifest_free(struct journal__manifest *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        generation_free(&m->generations[i]);
    mem_free(MEM_JOURNAL, m->generations, m->cap * sizeof *m->generations);
    *m = (struct journal__manifest){0};
}

static void add_hex(struct buf *out, const char *word, const uint8_t *id, size_t bytes)
{
    buf_addf(out, "%s ", word);
    for (size_t i = 0; i < bytes; i++)
        buf_addf(out, "%02x", id[i]);
    buf_add_byte(out, '\n');
}

void journal__manifest_format(const struct journal__manifest *m, struct buf *out)
{
    size_t from = out->len;
    buf_addf(out, "moon-log %u\n", JOURNAL_FORMAT);
    add_hex(out, "cluster", m->cluster_id, sizeof m->cluster_id);
    add_hex(out, "node", m->node_id, sizeof m->node_id);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct journal__generation *g = &m->generations[i];
        assert(g->ended == (i + 1 < m->count)); /* the last one, and only it, still grows */
        buf_addf(out, "generation %" PRIu32 " epoch %" PRIu64 " logs %u\n", g->number, g->epoch,
                 g->logs);
        for (uint32_t l = 0; l < g->logs; l++) {
            buf_addf(out, "log %" PRIu32 " start %" PRIu64 " %08" PRIx32, l, g->log[l].start,
                     g->log[l].start_crc);
            if (g->ended) buf_addf(out, " end %" PRIu64, g->log[l].end);
            buf_add_byte(out, '\n');
        }
    }
    buf_addf(out, "crc %08" PRIx32 "\n", crc32c(0, out->data + from, out->len - from));
}

/* ---- reading: each taker moves past what it read and says whether it was there. */

static bool take_text(struct bytes *in, const char *text)
{
    size_t len = strlen(text);
    if (in->len < len || memcmp(in->data, text, len) != 0) return false;
    *in = bytes_view(in->data + len, in->len - len);
    return true;
}

static bool take_u64(struct bytes *in, uint64_t max, uint64_t *out)
{
    size_t n = 0;
    while (n < in->len && in->data[n] >= '0' && in->data[n] <= '9')
        n++;
    uint64_t v = 0;
    if (!num_parse_u64(bytes_view(in->data, n), &v) || v > max) return false;
    *in = bytes_view(in->data + n, in->len - n);
    *out = v;
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(struct bytes *in, uint8_t *out, size_t bytes)
{
    if (in->len < bytes * 2) return false;
    for (size_t i = 0; i < bytes; i++) {
        int high = hex_digit(in->data[2 * i]);
        int low = hex_digit(in->data[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    *in = bytes_view(in->data + bytes * 2, in->len - bytes * 2);
    return true;
}

static bool take_crc(struct bytes *in, uint32_t *out)
{
    uint8_t b[4];
    if (!take_hex(in, b, sizeof b)) return false;
    *out = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return true;
}

static bool take_log(struct bytes *in, uint32_t index, struct journal__generation *g)
{
    uint64_t number = 0;
    struct journal__log *log = &g->log[index];
    bool ok = take_text(in, "log ") && take_u64(in, UINT16_MAX, &number) && number == index &&
              take_text(in, " start ") && take_u64(in, JOURNAL_LSN_OPEN - 1, &log->start) &&
              take_text(in, " ") && take_crc(in, &log->start_crc);
    if (!ok) return false;
    bool ended = take_text(in, " end ");
    if (ended && !take_u64(in, JOURNAL_LSN_OPEN - 1, &log->end)) return false;
    if (log->end < log->start) return false;
    if (index > 0 && ended != g->ended) return false;
    g->ended = ended;
    return take_text(in, "\n");
}

static enum rc take_generation(struct bytes *in, struct journal__manifest *m)
{
    uint64_t number = 0;
    uint64_t epoch = 0;
    uint64_t logs = 0;
    bool ok = take_text(in, "generation ") && take_u64(in, UINT32_MAX - 1, &number) &&
              take_text(in, " epoch ") && take_u64(in, UINT64_MAX, &epoch) &&
              take_text(in, " logs ") && take_u64(in, SHARDS_MAX, &logs) && take_text(in, "\n");
    if (!ok || number == 0 || logs == 0) return RC_CORRUPT;
    if (m->count > 0) {
        const struct journal__generation *last = &m->generations[m->count - 1];
        if (number <= last->number || !last->ended) return RC_CORRUPT;
    }
    struct journal__generation *g = journal__manifest_add(m, (uint32_t)number, (uint16_t)logs);
    if (g == NULL) return RC_NOMEM;
    g->epoch = epoch;
    for (uint32_t l = 0; l < logs; l++)
        if (!take_log(in, l, g)) return RC_CORRUPT;
    return RC_OK;
}

/* The last line is "crc ", 8 digits and a newline; its number must be that of all before it. */
static bool crc_matches(struct bytes text)
{
    const size_t line = 13;
    uint32_t crc = 0;
    if (text.len < line) return false;
    struct bytes end = bytes_view(text.data + text.len - line, line);
    if (!take_text(&end, "crc ") || !take_crc(&end, &crc) || !take_text(&end, "\n")) return false;
    return crc == crc32c(0, text.data, text.len - line);
}

enum rc journal__manifest_parse(struct bytes text, struct journal__manifest *m)
{
    uint64_t format = 0;
    if (!crc_matches(text)) return RC_CORRUPT;
    if (!take_text(&text, "moon-log ") || !take_u64(&text, UINT32_MAX, &format)) return RC_CORRUPT;
    if (format != JOURNAL_FORMAT) return RC_UNSUPPORTED;
    bool ok = take_text(&text, "\ncluster ") &&
              take_hex(&text, m->cluster_id, sizeof m->cluster_id) && take_text(&text, "\nnode ") &&
              take_hex(&text, m->node_id, sizeof m->node_id) && take_text(&text, "\n");
    if (!ok) return RC_CORRUPT;
    while (!take_text(&text, "crc ")) {
        enum rc rc = take_generation(&text, m);
        if (rc != RC_OK) return rc;
    }
    return text.len == 9 && m->count > 0 && !m->generations[m->count - 1].ended ? RC_OK
                                                                                : RC_CORRUPT;
}

/* ---- the file */

static enum rc read_all(struct io *io, int fd, const char *path, struct buf *out, struct buf *why)
{
    int64_t size = io->ops->file_size(io, fd);
    if (size < 0) return journal__error(why, size, "cannot read", path);
    if (size > MANIFEST_BYTES_MAX) return RC_CORRUPT;
    if (!buf_try_room(out, (size_t)size + 1)) return RC_NOMEM;
    int64_t n = journal__pread(io, fd, out->data, (size_t)size, 0);
    if (n < 0) return journal__error(why, n, "cannot read", path);
    out->len = (size_t)n;
    return RC_OK;
}

enum rc journal__manifest_load(struct journal_set *set, struct buf *why)
{
    char path[JOURNAL_PATH_MAX];
    journal__path(path, set->dir, "MANIFEST");
    int fd = set->io->ops->file_open(set->io, path, O_RDONLY, 0);
    if (fd == -ENOENT) return RC_NOTFOUND;
    if (fd < 0) return journal__error(why, fd, "cannot open", path);
    struct buf text;
    buf_init(&text, MEM_JOURNAL);
    enum rc rc = read_all(set->io, fd, path, &text, why);
    if (rc == RC_OK) rc = journal__manifest_parse(buf_bytes(&text), &set->manifest);
    if (rc == RC_CORRUPT)
        buf_addf(why, "%s is damaged: restore it from a backup of the directory", path);
    if (rc == RC_UNSUPPORTED) buf_addf(why, "%s was written by a newer version", path);
    buf_free(&text);
    (void)set->io->ops->file_close(set->io, fd);
    return rc;
}

static enum rc write_all(struct journal_set *set, const char *path, const struct buf *text,
                         struct buf *why)
{
    struct io *io = set->io;
    int fd = io->ops->file_open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return journal__error(why, fd, "cannot create", path);
    enum rc rc = RC_OK;
    for (size_t done = 0; done < text->len && rc == RC_OK;) {
        int64_t n = io->ops->file_pwrite(io, fd, text->data + done, text->len - done, done);
        if (n <= 0)
            rc = journal__error(why, n < 0 ? n : -ENOSPC, "cannot write", path);
        else
            done += (size_t)n;
    }
    int err = rc == RC_OK ? io->ops->file_sync(io, fd) : 0;
    if (err < 0) rc = journal__error(why, err, "cannot sync", path);
    err = io->ops->file_close(io, fd);
    if (err < 0 && rc == RC_OK) rc = journal__error(why, err, "cannot close", path);
    return rc;
}

enum rc journal__manifest_store(struct journal_set *set, struct buf *why)
{
    char path[JOURNAL_PATH_MAX];
    char fresh[JOURNAL_PATH_MAX];
    journal__path(path, set->dir, "MANIFEST");
    journal__path(fresh, set->dir, "MANIFEST.tmp");
    struct buf text;
    buf_init(&text, MEM_JOURNAL);
    journal__manifest_format(&set->manifest, &text);
    enum rc rc = write_all(set, fresh, &text, why);
    buf_free(&text);
    if (rc != RC_OK) return rc;
    int err = set->io->ops->file_rename(set->io, fresh, path);
    if (err < 0) return journal__error(why, err, "cannot rename", fresh);
    return journal__sync_dir(set->io, set->dir, why);
}
