/* tests/sim/disk.h: a disk in memory that can lose power. Every page of a file exists twice: as
 * programs see it now, and as it surely is on the medium. Syncs move the first to the second; a crash
 * leaves for each unsynced page the old one, the new one, or a torn mixture. Directory entries (create,
 * rename, unlink, mkdir) are on the medium only after their directory was synced; a crash keeps some
 * first part of those that were not. Pages are shared and copied on write: copies and syncs are cheap. */
#ifndef MOON_TESTS_SIM_DISK_H
#define MOON_TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/base/attr.h"

struct disk;
struct disk_file; /* a file or directory; lives while it is named or held */

struct disk *disk_new(uint64_t seed, uint64_t capacity_bytes); /* 0: no bound */
void disk_free(struct disk *d);                                /* nothing may be held any more */
/* The same disk once more, with its own dice. Nothing of the copy is held. */
struct disk *disk_copy(struct disk *d, uint64_t seed);
/* Power loss: afterwards the medium is all there is. What is held must be released, not used. */
void disk_crash(struct disk *d);

/* Names. All return 0 or -errno; *out is held for the caller. */
MUST_CHECK int disk_open(struct disk *d, const char *path, int flags, struct disk_file **out);
struct disk_file *disk_hold(struct disk_file *f);
void disk_release(struct disk *d, struct disk_file *f);
MUST_CHECK int disk_rename(struct disk *d, const char *from, const char *to);
MUST_CHECK int disk_unlink(struct disk *d, const char *path);
MUST_CHECK int disk_mkdir(struct disk *d, const char *path);
MUST_CHECK int disk_list(struct disk *d, const char *path,
                         void (*each)(void *ctx, const char *name), void *ctx);
bool disk_is_dir(const struct disk_file *f);
const char *disk_name(const struct disk *d,
                      const struct disk_file *f); /* NULL: unlinked; until the next change */
bool *disk_lock(struct disk_file *f);             /* who opens files keeps the advisory lock here */

/* Contents. Bytes moved (fewer if the disk is full or the file ends), or -errno. */
int64_t disk_write(struct disk *d, struct disk_file *f, const void *data, size_t len,
                   uint64_t offset);
int64_t disk_read(struct disk *d, struct disk_file *f, void *into, size_t len, uint64_t offset);
uint64_t disk_size(const struct disk_file *f);
MUST_CHECK int disk_truncate(struct disk *d, struct disk_file *f, uint64_t size);
MUST_CHECK int disk_allocate(struct disk *d, struct disk_file *f, uint64_t offset, uint64_t len);
/* Damage to the medium, seen at once. False: no such file or beyond its end. */
bool disk_flip_bit(struct disk *d, const char *path, uint64_t bit);

/* What a sync guarantees is what was written when it began. It ends once. Failed: nobody knows
 * which pages arrived, and the kernel forgets that the others did not. */
struct disk_sync;
struct disk_sync *disk_sync_begin(struct disk *d, struct disk_file *f);
void disk_sync_done(struct disk *d, struct disk_sync *s);
void disk_sync_failed(struct disk *d, struct disk_sync *s);
void disk_sync_dropped(struct disk *d, struct disk_sync *s); /* power went before it did anything */
/* As a write with RWF_DSYNC leaves it: these bytes and the size that shows them. */
void disk_persist(struct disk *d, struct disk_file *f, uint64_t offset, uint64_t len);

#endif
