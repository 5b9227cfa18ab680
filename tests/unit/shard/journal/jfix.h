/* tests/unit/shard/journal/jfix.h: the golden logs of tests/fixtures/journal-v1: the script that writes
 * them on a simulated machine, loading them, and what replaying them must give as text. */
#ifndef MOON_TESTS_JFIX_H
#define MOON_TESTS_JFIX_H

#include "tests/unit/shard/journal/jlib.h"

#define JFIX_DIR "tests/fixtures/journal-v1"

struct jfix {
    const char *name; /* the folder in JFIX_DIR */
    void (*write)(struct jworld *w);
};
extern const struct jfix jfix_all[];
extern const uint32_t jfix_count;

/* Calls back with each file of the logs (LOCK left out) and its bytes. */
void jfix_each_file(struct jworld *w,
                    void (*each)(void *ctx, const char *name, const struct buf *bytes), void *ctx);
void jfix_write_file(struct jworld *w, const char *name, struct bytes bytes);
/* Files of the tree into the machine. */
void jfix_load(struct jworld *w, const char *name);
/* "units.txt" of the tree. */
void jfix_expected(const char *name, struct buf *out);
/* What the open set replays, one line per unit. */
void jfix_units(struct jworld *w, struct buf *out);
/* Opens the set; on RC_OK replays into out and closes it. */
enum rc jfix_recover(struct jworld *w, struct buf *out);

#endif
