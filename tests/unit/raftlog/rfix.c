#include "tests/unit/raftlog/rfix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shard/base/assert.h"
#include "shard/base/crc.h"

#define SEGMENT_BYTES_HERE 2048u

void rworld_open(struct rworld *w, uint64_t seed)
{
    w->sim = io_sim_new(seed, NULL);
    w->io = io_sim_open(w->sim);
    w->ids = (struct store_ids){.cluster = "fixture cluster", .node = "fixture node", .raft_id = 7};
    int err = w->io->ops->file_mkdir(w->io, RFIX_DIR);
    assert(err == 0);
    int root = w->io->ops->file_open(w->io, "", O_RDONLY | O_DIRECTORY, 0);
    assert(root >= 0);
    err = w->io->ops->file_sync(w->io, root); /* its name outlives a power loss */
    assert(err == 0);
    (void)w->io->ops->file_close(w->io, root);
}

void rworld_free(struct rworld *w)
{
    io_free(w->io);
    io_sim_free(w->sim);
}

void rfix_run(struct rworld *w, struct store *s, struct store_op *op)
{
    store_submit(s, op);
    while (s->busy)
        (void)io_turn(w->io, -1);
}

void rfix_append(struct rworld *w, struct store *s, uint64_t index, uint64_t term, uint32_t count,
                 size_t bytes)
{
    struct store_entry entry[16];
    uint8_t payload[16][512];
    assert(count <= 16);
    assert(bytes <= 512);
    for (uint32_t i = 0; i < count; i++) {
        for (size_t j = 0; j < bytes; j++)
            payload[i][j] = (uint8_t)(index + i + term * 31 + j);
        entry[i] = (struct store_entry){
            .term = term, .type = RECORD_COMMAND, .payload = bytes_view(payload[i], bytes)};
    }
    struct store_op op = {.kind = OP_APPEND, .index = index, .entries = entry, .count = count};
    rfix_run(w, s, &op);
}

static void snapshot(struct rworld *w, struct store *s, uint64_t index, uint64_t term)
{
    struct store_op op = {
        .kind = OP_SNAPSHOT,
        .keep_from = 1,
        .snapshot = {.index = index,
                     .term = term,
                     .members_index = 1,
                     .members = BYTES_LIT("the members"),
                     .data = BYTES_LIT("the state of the machine, which is not long")},
    };
    rfix_run(w, s, &op);
}

void rfix_script(struct rworld *w)
{
    struct store s;
    struct store_load load;
    enum rc rc = store_open(&s, w->io, RFIX_DIR, &w->ids, SEGMENT_BYTES_HERE, &load);
    assert(rc == RC_OK);
    store_load_free(&load);
    struct store_op term = {.kind = OP_META, .term = 3, .vote = 2};
    rfix_run(w, &s, &term);
    for (uint64_t i = 1; i <= 9; i += 3)
        rfix_append(w, &s, i, 3, 3, 100);
    snapshot(w, &s, 4, 3);
    struct store_op cut = {.kind = OP_TRUNCATE, .index = 8, .prev_term = 3};
    rfix_run(w, &s, &cut);
    struct store_op again = {.kind = OP_META, .term = 5, .vote = 7};
    rfix_run(w, &s, &again);
    rfix_append(w, &s, 8, 5, 1, 0);
    rfix_append(w, &s, 9, 5, 4, 250);
    snapshot(w, &s, 9, 5);
    rfix_append(w, &s, 13, 5, 2, 33);
    assert(!s.failed);
    store_close(&s);
}

static struct rfile *add_file(struct rfiles *f, const char *name)
{
    assert(f->count < RFIX_FILES_MAX);
    struct rfile *file = &f->at[f->count++];
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    buf_init(&file->bytes, MEM_TEST);
    return file;
}

static void found(void *ctx, const char *name)
{
    (void)add_file(ctx, name);
}

void rfix_read(struct rworld *w, struct rfiles *out)
{
    *out = (struct rfiles){0};
    int err = w->io->ops->file_list(w->io, RFIX_DIR, found, out);
    assert(err == 0);
    for (uint32_t i = 0; i < out->count; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, RFIX_DIR "/%s", out->at[i].name);
        err = store__read_file(w->io, path, &out->at[i].bytes);
        assert(err == 0);
    }
}

void rfix_load(const char *folder, struct rfiles *out)
{
    *out = (struct rfiles){0};
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char path[512];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        struct rfile *file = add_file(out, e->d_name);
        FILE *in = fopen(path, "rb");
        assert(in != NULL);
        size_t n = fread(buf_room(&file->bytes, (size_t)st.st_size + 1), 1, (size_t)st.st_size, in);
        file->bytes.len = n;
        (void)fclose(in);
    }
    (void)closedir(dir);
}

void rfix_save(const char *folder, const struct rfiles *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, f->at[i].name);
        FILE *out = fopen(path, "wb");
        assert(out != NULL);
        size_t n = fwrite(f->at[i].bytes.data, 1, f->at[i].bytes.len, out);
        assert(n == f->at[i].bytes.len);
        (void)fclose(out);
    }
}

void rfix_place(struct rworld *w, const struct rfiles *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, RFIX_DIR "/%s", f->at[i].name);
        int fd = w->io->ops->file_open(w->io, path, O_RDWR | O_CREAT | O_TRUNC, 0644);
        assert(fd >= 0);
        const struct buf *b = &f->at[i].bytes;
        if (b->len > 0) {
            int64_t wrote = w->io->ops->file_pwrite(w->io, fd, b->data, b->len, 0);
            assert(wrote == (int64_t)b->len);
        }
        (void)w->io->ops->file_close(w->io, fd);
    }
}

void rfiles_free(struct rfiles *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        buf_free(&f->at[i].bytes);
    f->count = 0;
}

enum rc rfix_start(struct rworld *w, struct buf *out)
{
    struct store s;
    struct store_load load;
    enum rc rc = store_open(&s, w->io, RFIX_DIR, &w->ids, SEGMENT_BYTES_HERE, &load);
    out->len = 0;
    if (rc != RC_OK) {
        buf_addf(out, "%s", s.why);
    } else {
        buf_addf(out, "term %llu vote %llu\n", (unsigned long long)s.meta.term,
                 (unsigned long long)s.meta.vote);
        if (load.has_snapshot)
            buf_addf(out, "snapshot %llu of term %llu: %.*s, %.*s\n",
                     (unsigned long long)load.snapshot.index,
                     (unsigned long long)load.snapshot.term, (int)load.snapshot.members.len,
                     (const char *)load.snapshot.members.data, (int)load.snapshot.data.len,
                     (const char *)load.snapshot.data.data);
        for (uint32_t i = 0; i < load.count; i++)
            buf_addf(out, "%llu: term %llu type %u, %zu bytes, %08x\n",
                     (unsigned long long)(load.start_index + i),
                     (unsigned long long)load.entries[i].term, load.entries[i].type,
                     load.entries[i].payload.len,
                     crc32c(0, load.entries[i].payload.data, load.entries[i].payload.len));
    }
    buf_add_byte(out, 0);
    store_load_free(&load);
    s.marked = true; /* nothing is added by closing */
    store_close(&s);
    return rc;
}

/* ---- a machine */

uint32_t rmachine_apply(void *ctx, uint64_t index, struct bytes payload)
{
    struct rmachine *m = ctx;
    uint64_t v = 0;
    assert(payload.len == sizeof v);
    memcpy(&v, payload.data, sizeof v);
    assert(index > m->last_index);
    *m = (struct rmachine){m->sum * 31 + v, m->count + 1, index};
    return (uint32_t)m->count;
}

void rmachine_save(void *ctx, struct buf *out)
{
    buf_add(out, ctx, sizeof(struct rmachine));
}

enum rc rmachine_restore(void *ctx, uint64_t index, struct bytes saved)
{
    (void)index;
    if (saved.len != sizeof(struct rmachine)) return RC_CORRUPT;
    memcpy(ctx, saved.data, saved.len);
    return RC_OK;
}
