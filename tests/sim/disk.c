/* tests/sim/disk.c: see disk.h. */
#include "tests/sim/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"

#define PAGE 4096u
#define SECTOR 512u
#define PATH_MAX_BYTES 256u
/* One write in so many makes the kernel write some dirty page back on its own: versions between two
 * syncs reach the medium too. */
#define WRITEBACK_ONE_IN 8u

struct page {
    uint32_t refs;
    uint8_t data[PAGE];
};
struct slot {
    struct page *now, *safe; /* NULL: a hole, reads as zeros */
    bool dirty;              /* on the file's dirty list: a sync moves now to safe */
};
struct disk_file {
    uint32_t refs;
    bool dir, locked;
    uint64_t size_now, size_safe;
    struct slot *slot;
    uint32_t slots;
    uint32_t *dirty;
    uint32_t dirty_count, dirty_cap;
    struct disk_file *twin; /* during disk_copy(): what became of it there */
};

struct name {
    char path[PATH_MAX_BYTES];
    struct disk_file *file;
};
struct names {
    struct name *at;
    uint32_t count, cap;
};
enum change_kind { CHANGE_ADD, CHANGE_REMOVE, CHANGE_RENAME };
/* A change of names that is not on the medium yet. */
struct change {
    enum change_kind kind;
    char path[PATH_MAX_BYTES], to[PATH_MAX_BYTES];
    struct disk_file *file; /* held */
    uint64_t number;
};
struct disk {
    struct rng rng;
    uint64_t capacity_pages, used_pages; /* pages of `now` that are no holes */
    struct names now, safe;
    struct change *changes; /* in order */
    uint32_t change_count, change_cap;
    uint64_t change_number;
};
struct disk_sync {
    struct disk_file *file; /* held */
    uint64_t size;
    uint32_t count;
    uint32_t *index;
    struct page **page;     /* as they were when the sync began; held */
    uint64_t change_number; /* of a directory: changes up to this one */
};

/* ---- growing arrays */

static void *grown(void *p, uint32_t *cap, uint32_t need, size_t each)
{
    if (need <= *cap) return p;
    uint32_t next = *cap * 2 > need ? *cap * 2 : need + 8;
    p = mem_resize(MEM_TEST, p, *cap * each, next * each);
    memset((uint8_t *)p + *cap * each, 0, (next - *cap) * each);
    *cap = next;
    return p;
}

/* ---- pages */

/* Allocated blocks and prewritten segments: one page stands for all that hold only zeros. Its first
 * reference is nobody's, so it is never freed and never written. */
static struct page zero_page = {.refs = 1};

static struct page *page_hold(struct page *p)
{
    if (p != NULL) p->refs++;
    return p;
}

static void page_release(struct page *p)
{
    if (p == NULL || --p->refs > 0) return;
    mem_free(MEM_TEST, p, sizeof *p);
}

static void page_set(struct page **at, struct page *p)
{
    page_hold(p);
    page_release(*at);
    *at = p;
}

static struct page *page_new(const struct page *like)
{
    struct page *p = mem_alloc(MEM_TEST, sizeof *p);
    if (like != NULL)
        memcpy(p->data, like->data, PAGE);
    else
        memset(p->data, 0, PAGE);
    p->refs = 1;
    return p;
}

static void slots_need(struct disk_file *f, uint32_t count)
{
    f->slot = grown(f->slot, &f->slots, count, sizeof *f->slot);
}

static void slot_dirty(struct disk_file *f, uint32_t i)
{
    if (f->slot[i].dirty) return;
    f->slot[i].dirty = true;
    f->dirty = grown(f->dirty, &f->dirty_cap, f->dirty_count + 1, sizeof *f->dirty);
    f->dirty[f->dirty_count++] = i;
}

/* False: the disk is full. A hole becomes a page of zeros. */
static bool slot_fill(struct disk *d, struct disk_file *f, uint32_t i)
{
    slots_need(f, i + 1);
    struct slot *s = &f->slot[i];
    slot_dirty(f, i);
    if (s->now != NULL) return true;
    if (d->capacity_pages != 0 && d->used_pages >= d->capacity_pages) return false;
    d->used_pages++;
    s->now = page_hold(&zero_page);
    return true;
}

/* A page of `now` that may be written, or NULL if the disk is full. */
static struct page *slot_writable(struct disk *d, struct disk_file *f, uint32_t i)
{
    if (!slot_fill(d, f, i)) return NULL;
    struct slot *s = &f->slot[i];
    if (s->now->refs > 1) {
        struct page *own = page_new(s->now);
        page_release(s->now);
        s->now = own;
    }
    return s->now;
}

/* ---- files */

static struct disk_file *file_new(bool dir)
{
    struct disk_file *f = mem_zalloc(MEM_TEST, sizeof *f);
    f->refs = 1;
    f->dir = dir;
    return f;
}

struct disk_file *disk_hold(struct disk_file *f)
{
    f->refs++;
    return f;
}

void disk_release(struct disk *d, struct disk_file *f)
{
    if (--f->refs > 0) return;
    for (uint32_t i = 0; i < f->slots; i++) {
        if (f->slot[i].now != NULL) d->used_pages--;
        page_release(f->slot[i].now);
        page_release(f->slot[i].safe);
    }
    mem_free(MEM_TEST, f->slot, f->slots * sizeof *f->slot);
    mem_free(MEM_TEST, f->dirty, f->dirty_cap * sizeof *f->dirty);
    mem_free(MEM_TEST, f, sizeof *f);
}

bool disk_is_dir(const struct disk_file *f)
{
    return f->dir;
}

bool *disk_lock(struct disk_file *f)
{
    return &f->locked;
}

uint64_t disk_size(const struct disk_file *f)
{
    return f->size_now;
}

static void writeback_some(struct disk *d, struct disk_file *f)
{
    if (f->dirty_count == 0 || rng_below(&d->rng, WRITEBACK_ONE_IN) != 0) return;
    struct slot *s = &f->slot[f->dirty[rng_below(&d->rng, f->dirty_count)]];
    page_set(&s->safe, s->now);
}

static bool write_page(struct disk *d, struct disk_file *f, uint32_t i, size_t in_page,
                       const uint8_t *data, size_t n)
{
    if (n == PAGE && memcmp(data, zero_page.data, PAGE) == 0) {
        if (!slot_fill(d, f, i)) return false;
        page_set(&f->slot[i].now, &zero_page);
        return true;
    }
    struct page *p = slot_writable(d, f, i);
    if (p != NULL) memcpy(p->data + in_page, data, n);
    return p != NULL;
}

int64_t disk_write(struct disk *d, struct disk_file *f, const void *data, size_t len,
                   uint64_t offset)
{
    if (f->dir) return -EISDIR;
    size_t done = 0;
    while (done < len) {
        uint64_t at = offset + done;
        size_t in_page = (size_t)(at % PAGE);
        size_t n = len - done < PAGE - in_page ? len - done : PAGE - in_page;
        if (!write_page(d, f, (uint32_t)(at / PAGE), in_page, (const uint8_t *)data + done, n))
            break;
        done += n;
    }
    if (done == 0 && len > 0) return -ENOSPC;
    if (offset + done > f->size_now) f->size_now = offset + done;
    writeback_some(d, f);
    return (int64_t)done;
}

int64_t disk_read(struct disk *d, struct disk_file *f, void *into, size_t len, uint64_t offset)
{
    (void)d;
    if (f->dir) return -EISDIR;
    if (offset >= f->size_now) return 0;
    if (len > f->size_now - offset) len = (size_t)(f->size_now - offset);
    for (size_t done = 0; done < len;) {
        uint64_t at = offset + done;
        size_t in_page = (size_t)(at % PAGE);
        size_t n = len - done < PAGE - in_page ? len - done : PAGE - in_page;
        uint64_t i = at / PAGE;
        const struct page *p = i < f->slots ? f->slot[i].now : NULL;
        if (p != NULL)
            memcpy((uint8_t *)into + done, p->data + in_page, n);
        else
            memset((uint8_t *)into + done, 0, n);
        done += n;
    }
    return (int64_t)len;
}

int disk_truncate(struct disk *d, struct disk_file *f, uint64_t size)
{
    if (f->dir) return -EISDIR;
    if (size < f->size_now && size % PAGE != 0 && size / PAGE < f->slots &&
        f->slot[size / PAGE].now != NULL) {
        /* What is cut off must read as zeros if the file grows again. */
        struct page *p = slot_writable(d, f, (uint32_t)(size / PAGE));
        memset(p->data + size % PAGE, 0, PAGE - size % PAGE);
    }
    for (uint64_t i = (size + PAGE - 1) / PAGE; i < f->slots; i++) {
        if (f->slot[i].now == NULL) continue;
        d->used_pages--;
        page_set(&f->slot[i].now, NULL);
        slot_dirty(f, (uint32_t)i);
    }
    f->size_now = size;
    return 0;
}

int disk_allocate(struct disk *d, struct disk_file *f, uint64_t offset, uint64_t len)
{
    if (f->dir) return -EISDIR;
    if (len == 0) return -EINVAL;
    for (uint64_t i = offset / PAGE; i * PAGE < offset + len; i++) {
        if (i < f->slots && f->slot[i].now != NULL) continue;
        if (!slot_fill(d, f, (uint32_t)i)) return -ENOSPC;
    }
    if (offset + len > f->size_now) f->size_now = offset + len;
    return 0;
}

/* ---- sync */

struct disk_sync *disk_sync_begin(struct disk *d, struct disk_file *f)
{
    struct disk_sync *s = mem_alloc(MEM_TEST, sizeof *s);
    *s = (struct disk_sync){.file = disk_hold(f),
                            .size = f->size_now,
                            .count = f->dirty_count,
                            .change_number = d->change_number};
    if (s->count == 0) return s;
    s->index = mem_alloc(MEM_TEST, s->count * sizeof *s->index);
    s->page = mem_alloc(MEM_TEST, s->count * sizeof(struct page *));
    for (uint32_t i = 0; i < s->count; i++) {
        s->index[i] = f->dirty[i];
        s->page[i] = page_hold(f->slot[f->dirty[i]].now);
    }
    return s;
}

static void sync_free(struct disk *d, struct disk_sync *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        page_release(s->page[i]);
    mem_free(MEM_TEST, s->index, s->count * sizeof *s->index);
    mem_free(MEM_TEST, s->page, s->count * sizeof(struct page *));
    disk_release(d, s->file);
    mem_free(MEM_TEST, s, sizeof *s);
}

/* Takes pages off the dirty list whose flag was cleared. */
static void dirty_sweep(struct disk_file *f)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->dirty_count; i++)
        if (f->slot[f->dirty[i]].dirty) f->dirty[kept++] = f->dirty[i];
    f->dirty_count = kept;
}

static void names_apply(struct names *names, struct disk *d, const struct change *c);

static bool is_inside(const char *path, const char *dir)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    return strlen(dir) == len && memcmp(path, dir, len) == 0;
}

const char *disk_name(const struct disk *d, const struct disk_file *f)
{
    for (uint32_t i = 0; i < d->now.count; i++)
        if (d->now.at[i].file == f) return d->now.at[i].path;
    return NULL;
}

/* A journaling file system writes changes of names in order: all up to the last one of this directory. */
static void sync_names(struct disk *d, const struct disk_sync *s)
{
    const char *dir = disk_name(d, s->file);
    if (dir == NULL) return;
    uint32_t upto = 0;
    for (uint32_t i = 0; i < d->change_count; i++) {
        const struct change *c = &d->changes[i];
        bool ours = is_inside(c->path, dir) || (c->kind == CHANGE_RENAME && is_inside(c->to, dir));
        if (ours && c->number <= s->change_number) upto = i + 1;
    }
    for (uint32_t i = 0; i < upto; i++) {
        names_apply(&d->safe, d, &d->changes[i]);
        if (d->changes[i].file != NULL) disk_release(d, d->changes[i].file);
    }
    d->change_count -= upto;
    if (d->change_count > 0)
        memmove(d->changes, d->changes + upto, d->change_count * sizeof *d->changes);
}

void disk_sync_done(struct disk *d, struct disk_sync *s)
{
    struct disk_file *f = s->file;
    for (uint32_t i = 0; i < s->count; i++) {
        struct slot *at = &f->slot[s->index[i]];
        page_set(&at->safe, s->page[i]);
        if (at->now == s->page[i]) at->dirty = false;
    }
    dirty_sweep(f);
    /* A write with dsync may have gone beyond since the sync began. */
    uint64_t shown = f->size_safe < f->size_now ? f->size_safe : f->size_now;
    f->size_safe = s->size > shown ? s->size : shown;
    if (f->dir) sync_names(d, s);
    sync_free(d, s);
}

void disk_sync_failed(struct disk *d, struct disk_sync *s)
{
    struct disk_file *f = s->file;
    for (uint32_t i = 0; i < s->count; i++) {
        struct slot *at = &f->slot[s->index[i]];
        if (rng_below(&d->rng, 2) == 0) page_set(&at->safe, s->page[i]);
        if (at->now == s->page[i]) at->dirty = false;
    }
    dirty_sweep(f);
    sync_free(d, s);
}

void disk_sync_dropped(struct disk *d, struct disk_sync *s)
{
    sync_free(d, s);
}

void disk_persist(struct disk *d, struct disk_file *f, uint64_t offset, uint64_t len)
{
    (void)d;
    for (uint64_t i = offset / PAGE; i * PAGE < offset + len; i++) {
        assert(i < f->slots);
        page_set(&f->slot[i].safe, f->slot[i].now);
        f->slot[i].dirty = false;
    }
    dirty_sweep(f);
    if (offset + len > f->size_safe) f->size_safe = offset + len;
}

/* ---- names */

/* One form for every path: no empty parts, no slash at the end; "" is the root, relative or not. */
static int path_normal(const char *path, char out[PATH_MAX_BYTES])
{
    size_t n = 0;
    while (*path != '\0') {
        while (*path == '/')
            path++;
        if (*path == '\0') break;
        if (path[0] == '.' && (path[1] == '/' || path[1] == '\0')) {
            path++;
            continue;
        }
        size_t part = strcspn(path, "/");
        if (n + part + 2 > PATH_MAX_BYTES) return -ENAMETOOLONG;
        if (n > 0) out[n++] = '/';
        memcpy(out + n, path, part);
        n += part;
        path += part;
    }
    out[n] = '\0';
    return 0;
}

static struct disk_file *names_find(const struct names *names, const char *path)
{
    for (uint32_t i = 0; i < names->count; i++)
        if (strcmp(names->at[i].path, path) == 0) return names->at[i].file;
    return NULL;
}

static void names_remove(struct names *names, struct disk *d, const char *path)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->at[i].path, path) != 0) continue;
        struct disk_file *f = names->at[i].file;
        names->at[i] = names->at[--names->count];
        disk_release(d, f);
        return;
    }
}

static void names_add(struct names *names, struct disk *d, const char *path, struct disk_file *f)
{
    disk_hold(f); /* first: it may be the one that is replaced */
    names_remove(names, d, path);
    names->at = grown(names->at, &names->cap, names->count + 1, sizeof *names->at);
    struct name *n = &names->at[names->count++];
    memcpy(n->path, path, strlen(path) + 1);
    n->file = f;
}

static void names_apply(struct names *names, struct disk *d, const struct change *c)
{
    if (c->kind == CHANGE_ADD) {
        names_add(names, d, c->path, c->file);
        return;
    }
    if (c->kind == CHANGE_RENAME) names_add(names, d, c->to, c->file);
    names_remove(names, d, c->path);
}

static void names_free(struct names *names, struct disk *d)
{
    while (names->count > 0)
        disk_release(d, names->at[--names->count].file);
    mem_free(MEM_TEST, names->at, names->cap * sizeof *names->at);
}

static void change(struct disk *d, enum change_kind kind, const char *path, const char *to,
                   struct disk_file *f)
{
    d->changes = grown(d->changes, &d->change_cap, d->change_count + 1, sizeof *d->changes);
    struct change *c = &d->changes[d->change_count++];
    *c = (struct change){.kind = kind, .number = ++d->change_number};
    memcpy(c->path, path, strlen(path) + 1);
    if (to != NULL) memcpy(c->to, to, strlen(to) + 1);
    if (f != NULL) c->file = disk_hold(f);
    names_apply(&d->now, d, c);
}

/* 0 if the directory that holds `path` is there. */
static int parent_check(const struct disk *d, const char *path)
{
    char parent[PATH_MAX_BYTES];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    memcpy(parent, path, len);
    parent[len] = '\0';
    const struct disk_file *f = names_find(&d->now, parent);
    if (f == NULL) return -ENOENT;
    return f->dir ? 0 : -ENOTDIR;
}

static int create(struct disk *d, const char *path, bool dir, struct disk_file **out)
{
    int rc = parent_check(d, path);
    if (rc < 0) return rc;
    struct disk_file *f = file_new(dir);
    change(d, CHANGE_ADD, path, NULL, f);
    *out = f;
    return 0;
}

int disk_open(struct disk *d, const char *path, int flags, struct disk_file **out)
{
    char name[PATH_MAX_BYTES];
    int rc = path_normal(path, name);
    if (rc < 0) return rc;
    struct disk_file *f = names_find(&d->now, name);
    if (f == NULL) {
        if (!(flags & O_CREAT)) return -ENOENT;
        return create(d, name, false, out);
    }
    if ((flags & O_CREAT) && (flags & O_EXCL)) return -EEXIST;
    if ((flags & O_DIRECTORY) && !f->dir) return -ENOTDIR;
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if (f->dir && writes) return -EISDIR;
    if ((flags & O_TRUNC) && writes) rc = disk_truncate(d, f, 0);
    if (rc == 0) *out = disk_hold(f);
    return rc;
}

int disk_mkdir(struct disk *d, const char *path)
{
    char name[PATH_MAX_BYTES];
    int rc = path_normal(path, name);
    if (rc < 0) return rc;
    struct disk_file *f = names_find(&d->now, name);
    if (f != NULL) return f->dir ? 0 : -EEXIST;
    rc = create(d, name, true, &f);
    if (rc == 0) disk_release(d, f);
    return rc;
}

int disk_unlink(struct disk *d, const char *path)
{
    char name[PATH_MAX_BYTES];
    int rc = path_normal(path, name);
    if (rc < 0) return rc;
    const struct disk_file *f = names_find(&d->now, name);
    if (f == NULL) return -ENOENT;
    if (f->dir) return -EISDIR;
    change(d, CHANGE_REMOVE, name, NULL, NULL);
    return 0;
}

int disk_rename(struct disk *d, const char *from, const char *to)
{
    char source[PATH_MAX_BYTES], target[PATH_MAX_BYTES];
    int rc = path_normal(from, source);
    if (rc == 0) rc = path_normal(to, target);
    if (rc < 0) return rc;
    struct disk_file *f = names_find(&d->now, source);
    if (f == NULL) return -ENOENT;
    if (f->dir)
        return -EINVAL; /* nobody renames directories; their contents would have to follow */
    const struct disk_file *there = names_find(&d->now, target);
    if (there != NULL && there->dir) return -EISDIR;
    rc = parent_check(d, target);
    if (rc < 0 || there == f) return rc;
    change(d, CHANGE_RENAME, source, target, f);
    return 0;
}

int disk_list(struct disk *d, const char *path, void (*each)(void *ctx, const char *name),
              void *ctx)
{
    char dir[PATH_MAX_BYTES];
    int rc = path_normal(path, dir);
    if (rc < 0) return rc;
    const struct disk_file *f = names_find(&d->now, dir);
    if (f == NULL) return -ENOENT;
    if (!f->dir) return -ENOTDIR;
    for (uint32_t i = 0; i < d->now.count; i++) {
        const char *name = d->now.at[i].path;
        if (name[0] == '\0' || !is_inside(name, dir)) continue;
        const char *slash = strrchr(name, '/');
        each(ctx, slash == NULL ? name : slash + 1);
    }
    return 0;
}

bool disk_flip_bit(struct disk *d, const char *path, uint64_t bit)
{
    char name[PATH_MAX_BYTES];
    if (path_normal(path, name) < 0) return false;
    struct disk_file *f = names_find(&d->now, name);
    uint64_t at = bit / 8;
    if (f == NULL || f->dir || at >= f->size_now) return false;
    uint32_t i = (uint32_t)(at / PAGE);
    bool was_dirty = i < f->slots && f->slot[i].dirty;
    struct page *p = slot_writable(d, f, i);
    if (p == NULL) return false;
    p->data[at % PAGE] ^= (uint8_t)(1u << (bit % 8));
    if (was_dirty) return true;
    page_set(&f->slot[i].safe, p);
    f->slot[i].dirty = false;
    dirty_sweep(f);
    return true;
}

/* ---- crash */

/* How a crash treats what was not synced; drawn once per crash, so that the extremes come up often. */
enum crash_mood { MOOD_ALL_LOST, MOOD_ALL_KEPT, MOOD_MIXED, MOOD_COUNT };

/* New bytes up to `n`, old ones behind, or the other way round. n is of whole sectors: a disk writes
 * a sector or leaves it, and formats may build on that. */
static void tear_at(struct page *out, const uint8_t *old, const uint8_t *new_data, size_t n,
                    bool swap)
{
    const uint8_t *first = swap ? old : new_data, *second = swap ? new_data : old;
    memcpy(out->data, first, n);
    memcpy(out->data + n, second + n, PAGE - n);
}

static void tear_sectors(struct rng *rng, struct page *out, const uint8_t *old,
                         const uint8_t *new_data)
{
    uint64_t kept = rng_next(rng);
    for (uint32_t i = 0; i < PAGE / SECTOR; i++)
        memcpy(out->data + i * SECTOR, (kept >> i & 1 ? new_data : old) + i * SECTOR, SECTOR);
}

static void crash_page(struct disk *d, struct slot *s, enum crash_mood mood)
{
    uint64_t dice = rng_below(&d->rng, 8);
    bool lost = mood == MOOD_ALL_LOST || (mood == MOOD_MIXED && dice < 3);
    bool kept = mood == MOOD_ALL_KEPT || (mood == MOOD_MIXED && dice >= 3 && dice < 5);
    if (lost) return;
    if (kept) {
        page_set(&s->safe, s->now);
        return;
    }
    const uint8_t *old = s->safe != NULL ? s->safe->data : zero_page.data;
    const uint8_t *new_data = s->now != NULL ? s->now->data : zero_page.data;
    struct page *torn = page_new(NULL);
    if (dice < 7)
        tear_sectors(&d->rng, torn, old, new_data);
    else
        tear_at(torn, old, new_data, (size_t)rng_below(&d->rng, PAGE / SECTOR + 1) * SECTOR,
                rng_below(&d->rng, 2) == 0);
    page_release(s->safe);
    s->safe = torn;
}

static uint64_t crash_size(struct disk *d, const struct disk_file *f, enum crash_mood mood)
{
    if (mood == MOOD_ALL_LOST) return f->size_safe;
    if (mood == MOOD_ALL_KEPT) return f->size_now;
    uint64_t dice = rng_below(&d->rng, 3);
    if (dice == 0 || f->size_now < f->size_safe) return dice == 0 ? f->size_safe : f->size_now;
    if (dice == 1) return f->size_now;
    return f->size_safe + rng_below(&d->rng, f->size_now - f->size_safe + 1);
}

static void crash_file(struct disk *d, struct disk_file *f, enum crash_mood mood)
{
    for (uint32_t i = 0; i < f->dirty_count; i++) {
        crash_page(d, &f->slot[f->dirty[i]], mood);
        f->slot[f->dirty[i]].dirty = false;
    }
    f->dirty_count = 0;
    uint64_t size = crash_size(d, f, mood);
    for (uint32_t i = 0; i < f->slots; i++) {
        struct slot *s = &f->slot[i];
        d->used_pages -= s->now != NULL;
        if ((uint64_t)i * PAGE >= size) page_set(&s->safe, NULL);
        page_set(&s->now, s->safe);
        d->used_pages += s->now != NULL;
    }
    f->size_now = f->size_safe = size;
    if (size % PAGE != 0 && size / PAGE < f->slots && f->slot[size / PAGE].now != NULL) {
        /* Behind the end there are zeros, whatever a torn page brought. */
        struct slot *s = &f->slot[size / PAGE];
        struct page *cut = page_new(s->now);
        memset(cut->data + size % PAGE, 0, PAGE - size % PAGE);
        page_set(&s->now, cut);
        page_set(&s->safe, cut);
        page_release(cut);
    }
    f->locked = false;
}

static void crash_names(struct disk *d, enum crash_mood mood)
{
    uint32_t kept = (uint32_t)rng_below(&d->rng, d->change_count + 1);
    if (mood == MOOD_ALL_LOST) kept = 0;
    if (mood == MOOD_ALL_KEPT) kept = d->change_count;
    for (uint32_t i = 0; i < d->change_count; i++) {
        if (i < kept) names_apply(&d->safe, d, &d->changes[i]);
        if (d->changes[i].file != NULL) disk_release(d, d->changes[i].file);
    }
    d->change_count = 0;
    while (d->now.count > 0)
        disk_release(d, d->now.at[--d->now.count].file);
    for (uint32_t i = 0; i < d->safe.count; i++)
        names_add(&d->now, d, d->safe.at[i].path, d->safe.at[i].file);
}

void disk_crash(struct disk *d)
{
    enum crash_mood mood = (enum crash_mood)rng_below(&d->rng, MOOD_COUNT + 2);
    if (mood > MOOD_MIXED) mood = MOOD_MIXED;
    crash_names(d, mood);
    for (uint32_t i = 0; i < d->now.count; i++)
        crash_file(d, d->now.at[i].file, mood);
}

/* ---- disks */

struct disk *disk_new(uint64_t seed, uint64_t capacity_bytes)
{
    struct disk *d = mem_zalloc(MEM_TEST, sizeof *d);
    rng_seed(&d->rng, seed);
    d->capacity_pages = capacity_bytes / PAGE;
    struct disk_file *root = file_new(true);
    names_add(&d->now, d, "", root);
    names_add(&d->safe, d, "", root);
    disk_release(d, root);
    return d;
}

void disk_free(struct disk *d)
{
    names_free(&d->now, d);
    names_free(&d->safe, d);
    for (uint32_t i = 0; i < d->change_count; i++)
        if (d->changes[i].file != NULL) disk_release(d, d->changes[i].file);
    mem_free(MEM_TEST, d->changes, d->change_cap * sizeof *d->changes);
    assert(d->used_pages == 0); /* else a file is still held */
    mem_free(MEM_TEST, d, sizeof *d);
}

static struct disk_file *file_twin(struct disk *to, struct disk_file *f)
{
    if (f->twin != NULL) return disk_hold(f->twin);
    struct disk_file *t = file_new(f->dir);
    t->size_now = f->size_now;
    t->size_safe = f->size_safe;
    if (f->slots > 0) slots_need(t, f->slots);
    for (uint32_t i = 0; i < f->slots; i++) {
        page_set(&t->slot[i].now, f->slot[i].now);
        page_set(&t->slot[i].safe, f->slot[i].safe);
        to->used_pages += f->slot[i].now != NULL;
    }
    for (uint32_t i = 0; i < f->dirty_count; i++)
        slot_dirty(t, f->dirty[i]);
    f->twin = t;
    return t;
}

static void names_copy(struct disk *to, struct names *names, const struct names *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        struct disk_file *t = file_twin(to, from->at[i].file);
        names_add(names, to, from->at[i].path, t);
        disk_release(to, t);
    }
}

static void twins_forget(struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        names->at[i].file->twin = NULL;
}

struct disk *disk_copy(struct disk *d, uint64_t seed)
{
    struct disk *to = mem_zalloc(MEM_TEST, sizeof *to);
    rng_seed(&to->rng, seed);
    to->capacity_pages = d->capacity_pages;
    to->change_number = d->change_number;
    names_copy(to, &to->now, &d->now);
    names_copy(to, &to->safe, &d->safe);
    to->changes = grown(NULL, &to->change_cap, d->change_count, sizeof *to->changes);
    to->change_count = d->change_count;
    for (uint32_t i = 0; i < d->change_count; i++) {
        to->changes[i] = d->changes[i];
        if (d->changes[i].file != NULL) to->changes[i].file = file_twin(to, d->changes[i].file);
    }
    twins_forget(&d->now);
    twins_forget(&d->safe);
    for (uint32_t i = 0; i < d->change_count; i++)
        if (d->changes[i].file != NULL) d->changes[i].file->twin = NULL;
    return to;
}
