/* shard/journal/files.c: names of the files of the logs, listing and clearing the directory. A file
 * is log-<generation>-<log>-<offset>, decimal, padded so that a listing sorts; its blocks hold the
 * log from that offset up to the file's end or to where the next file of its log begins. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/journal/journal_priv.h"

enum rc journal__error(struct buf *why, int64_t negative_errno, const char *what, const char *path)
{
    enum rc rc = rc_from_errno((int)negative_errno);
    if (rc == RC_OK) rc = RC_IO;
    if (why != NULL) buf_addf(why, "%s %s: %s", what, path, strerror((int)-negative_errno));
    return rc;
}

int64_t journal__pread(struct io *io, int fd, void *into, size_t len, uint64_t offset)
{
    size_t done = 0;
    while (done < len) {
        int64_t n = io->ops->file_pread(io, fd, (uint8_t *)into + done, len - done, offset + done);
        if (n < 0) return n;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

enum rc journal__sync_dir(struct io *io, const char *dir, struct buf *why)
{
    int fd = io->ops->file_open(io, dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return journal__error(why, fd, "cannot open", dir);
    int err = io->ops->file_sync(io, fd);
    (void)io->ops->file_close(io, fd);
    return err < 0 ? journal__error(why, err, "cannot sync", dir) : RC_OK;
}

void journal__path(char out[static JOURNAL_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out, JOURNAL_PATH_MAX, "%s/%s", dir, name);
    assert(n > 0);
    assert((size_t)n <
           JOURNAL_PATH_MAX); /* the length of dir was checked when the set was opened */
}

void journal__file_path(char out[static JOURNAL_PATH_MAX], const char *dir,
                        struct journal__name name)
{
    char text[64];
    (void)snprintf(text, sizeof text, "log-%08" PRIu32 "-%02" PRIu32 "-%020" PRIu64,
                   name.generation, name.log, name.lsn);
    journal__path(out, dir, text);
}

/* Padded decimal, so num_parse_u64, which refuses leading zeros, is not for this. */
static const char *take_digits(const char *p, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    const char *start = p;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, 10u, &v)) return NULL;
        if (__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)) return NULL;
    }
    *out = v;
    return p == start || v > max ? NULL : p;
}

bool journal__name_parse(const char *text, struct journal__name *out)
{
    uint64_t part[3] = {0};
    const uint64_t max[3] = {UINT32_MAX, UINT16_MAX, JOURNAL_LSN_OPEN - 1};
    if (strncmp(text, "log", 3) != 0) return false;
    const char *p = text + 3;
    for (uint32_t i = 0; i < 3; i++) {
        if (*p++ != '-') return false;
        p = take_digits(p, max[i], &part[i]);
        if (p == NULL) return false;
    }
    if (*p != '\0') return false;
    *out = (struct journal__name){
        .generation = (uint32_t)part[0], .log = (uint32_t)part[1], .lsn = part[2]};
    return true;
}

static struct journal__log *find_log(struct journal__manifest *m, const struct journal__name *name)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct journal__generation *g = &m->generations[i];
        if (g->number == name->generation) return name->log < g->logs ? &g->log[name->log] : NULL;
    }
    return NULL;
}

struct listing {
    struct journal_set *set;
    struct buf *why;
    enum rc rc;
};

static bool add_file(struct journal__log *log, uint64_t lsn)
{
    if (log->files_count == log->files_cap) {
        uint32_t cap = log->files_cap == 0 ? 4 : log->files_cap * 2;
        void *grown = mem_try_resize(MEM_JOURNAL, log->files, log->files_cap * sizeof *log->files,
                                     cap * sizeof *log->files);
        if (grown == NULL) return false;
        log->files = grown;
        log->files_cap = cap;
    }
    log->files[log->files_count++] = (struct journal__file){.lsn = lsn};
    return true;
}

static void list_one(void *ctx, const char *text)
{
    struct listing *l = ctx;
    struct journal__name name;
    if (l->rc != RC_OK || !journal__name_parse(text, &name)) return;
    if (l->set->fresh) {
        l->rc = RC_CORRUPT;
        buf_addf(
            l->why,
            "%s/MANIFEST is missing but %s is there: restore it from a backup of the directory",
            l->set->dir, text);
        return;
    }
    struct journal__log *log = find_log(&l->set->manifest, &name);
    if (log != NULL && !add_file(log, name.lsn)) l->rc = RC_NOMEM;
}

static int by_lsn(const void *a, const void *b)
{
    const struct journal__file *x = a;
    const struct journal__file *y = b;
    return (x->lsn > y->lsn) - (x->lsn < y->lsn);
}

enum rc journal__files_list(struct journal_set *set, struct buf *why)
{
    struct listing l = {.set = set, .why = why};
    int err = set->io->ops->file_list(set->io, set->dir, list_one, &l);
    if (err < 0) return journal__error(why, err, "cannot list", set->dir);
    if (l.rc != RC_OK) return l.rc;
    for (uint32_t i = 0; i < set->manifest.count; i++) {
        struct journal__generation *g = &set->manifest.generations[i];
        for (uint32_t k = 0; k < g->logs; k++)
            if (g->log[k].files_count > 1)
                qsort(g->log[k].files, g->log[k].files_count, sizeof *g->log[k].files, by_lsn);
    }
    return RC_OK;
}

uint64_t journal__file_end(const struct journal__log *log, uint32_t k)
{
    uint64_t end = log->files[k].lsn + journal_file_capacity(log->files[k].bytes);
    bool last = k + 1 == log->files_count;
    return !last && log->files[k + 1].lsn < end ? log->files[k + 1].lsn : end;
}

/* ---- after recovery */

static bool is_needed(struct journal_set *set, const struct journal__name *name)
{
    const struct journal__log *log = find_log(&set->manifest, name);
    return log != NULL && name->lsn < log->frames_end;
}

static void collect_name(void *ctx, const char *text)
{
    struct buf *names = ctx;
    buf_add(names, text, strlen(text) + 1);
}

static int clear_one(struct journal_set *set, const char *text)
{
    struct io *io = set->io;
    struct journal__name name;
    char path[JOURNAL_PATH_MAX];
    bool temporary = strcmp(text, "MANIFEST.tmp") == 0;
    if (!temporary && !journal__name_parse(text, &name)) return 0;
    if (!temporary && is_needed(set, &name)) return 0;
    journal__path(path, set->dir, text);
    if (temporary || !set->given_up) return io->ops->file_unlink(io, path);
    /* Whoever asked for the repair may still want to look at what it gave up. */
    char aside_name[64];
    char aside[JOURNAL_PATH_MAX];
    (void)snprintf(aside_name, sizeof aside_name, "dropped-%.48s", text);
    journal__path(aside, set->dir, aside_name);
    return io->ops->file_rename(io, path, aside);
}

/* Names first, then the work: a listing need not bear changes. */
static int clear_all(struct journal_set *set)
{
    struct buf names;
    buf_init(&names, MEM_JOURNAL);
    int err = set->io->ops->file_list(set->io, set->dir, collect_name, &names);
    for (size_t at = 0; at < names.len && err >= 0; at += strlen((const char *)names.data + at) + 1)
        err = clear_one(set, (const char *)names.data + at);
    buf_free(&names);
    return err;
}

/* Gives back the room behind the last frame. */
static int cut_file(struct journal_set *set, const struct journal__generation *g,
                    uint32_t log_index)
{
    const struct journal__log *log = &g->log[log_index];
    uint32_t k = log->files_count;
    while (k > 0 && log->files[k - 1].lsn >= log->frames_end)
        k--;
    if (k == 0) return 0;
    uint64_t used = journal_file_offset(log->frames_end - log->files[k - 1].lsn);
    uint64_t want = (used + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    if (want >= log->files[k - 1].bytes) return 0;
    char path[JOURNAL_PATH_MAX];
    struct journal__name name = {
        .generation = g->number, .log = log_index, .lsn = log->files[k - 1].lsn};
    journal__file_path(path, set->dir, name);
    int fd = set->io->ops->file_open(set->io, path, O_WRONLY, 0);
    if (fd < 0) return fd;
    int err = set->io->ops->file_truncate(set->io, fd, want);
    (void)set->io->ops->file_close(set->io, fd);
    return err;
}

enum rc journal__files_clean(struct journal_set *set, struct buf *why)
{
    int err = clear_all(set);
    for (uint32_t i = 0; i < set->manifest.count && err >= 0; i++) {
        const struct journal__generation *g = &set->manifest.generations[i];
        for (uint32_t l = 0; l < g->logs && err >= 0; l++)
            err = cut_file(set, g, l);
    }
    if (err < 0) return journal__error(why, err, "cannot clear", set->dir);
    return journal__sync_dir(set->io, set->dir, why);
}
