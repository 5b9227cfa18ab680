/* tests/unit/raftlog/rfix.h: a member's files on a simulated disk: the script that the golden fixtures of
 * tests/fixtures/raftlog-v1 were written by, and what a start reads from them, as text. */
#ifndef MOON_TESTS_RFIX_H
#define MOON_TESTS_RFIX_H

#include "raftlog/store_priv.h"
#include "tests/sim/io_sim.h"

#define RFIX_DIR "/raft"
#define RFIX_FILES_MAX 16u

struct rfile {
    char name[64];
    struct buf bytes;
};
struct rfiles {
    struct rfile at[RFIX_FILES_MAX];
    uint32_t count;
};
struct rworld {
    struct io_sim *sim;
    struct io *io;
    struct store_ids ids;
};

void rworld_open(struct rworld *w, uint64_t seed);
void rworld_free(struct rworld *w);
/* Runs the script: two segments, a truncation, two snapshots, a clean end. */
void rfix_script(struct rworld *w);
void rfix_read(struct rworld *w, struct rfiles *out);       /* from the simulated disk */
void rfix_load(const char *folder, struct rfiles *out);     /* from the tree */
void rfix_save(const char *folder, const struct rfiles *f); /* into the tree */
void rfix_place(struct rworld *w, const struct rfiles *f);  /* onto the simulated disk */
void rfiles_free(struct rfiles *f);
/* Starts on what is there: RC_OK and the contents as text in `out`, or the reason in it. */
enum rc rfix_start(struct rworld *w, struct buf *out);

/* A machine that notes what it applied, for members on any disk: sum of all, in order. */
struct rmachine {
    uint64_t sum, count, last_index;
};
uint32_t rmachine_apply(void *ctx, uint64_t index, struct bytes payload);
void rmachine_save(void *ctx, struct buf *out);
enum rc rmachine_restore(void *ctx, uint64_t index, struct bytes saved);

/* One operation, run to its end. */
void rfix_append(struct rworld *w, struct store *s, uint64_t index, uint64_t term, uint32_t count,
                 size_t bytes);
void rfix_run(struct rworld *w, struct store *s, struct store_op *op);

#endif
