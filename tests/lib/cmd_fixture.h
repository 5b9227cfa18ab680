/* tests/lib/cmd_fixture.h: one shard in the test's own thread, for tests of data commands: requests in,
 * RESP bytes out, with a clock that the test moves. What the commands logged is kept in memory and can be
 * read as text, or replayed into fresh shards whose contents must then be the same.
 *
 *     struct fixture *f = fixture_new(&string_cmds, &keys_cmds);   // keys_cmds: DEL, PEXPIREAT for replay
 *     expect(f, "+OK\r\n", "SET", "k", "v", "PX", "100");
 *     fixture_advance(f, 100);
 *     expect(f, "$-1\r\n", "GET", "k");
 *     expect_log(f, "SET k v PXAT 1700000000100\nDEL k\n");
 *     fixture_free(f);                                             // checks structure, replay and leaks
 *
 * The log is the one of tests/unit/shard/cmd/journal_memory.c, which also holds every command to what
 * exec.h asks of it: enough room reserved, a unit's key in the unit's slot, several units in a group. */
#ifndef MOON_TESTS_CMD_FIXTURE_H
#define MOON_TESTS_CMD_FIXTURE_H

#include "shard/cmd/cmd.h"
#include "shard/exec/core.h"

#define FIXTURE_START_MS INT64_C(1700000000000)
#define FIXTURE_DATABASES 4

struct fixture {
    struct core core;
    struct core_shared shared;
    int64_t now_ms; /* moved by fixture_advance() only */
    /* What the session of a client would say: set freely between requests. */
    uint8_t db;
    uint8_t proto; /* 2 (at first) or 3 */
    bool no_touch;
    /* The rest belongs to cmd_fixture.c. */
    struct clock clock;
    struct journal_set *set;
    struct fixture *first;  /* of those that share a log directory: the one that owns it */
    struct cmd_spec *specs; /* copies of the rows, numbered */
    uint32_t spec_count, top_count;
    const struct cmd_spec **by_opcode;
    struct buf out, events, text;
    uint64_t units_read;
};

/* A shard of its own with the commands of these tables. */
#define fixture_new(...)                                                                           \
    fixture_open((const struct cmd_table *const[]){__VA_ARGS__, NULL}, 0, 1, NULL)
/* Shard `index` of `count`. `first`: another shard of the same node, whose log directory it shares; NULL:
 * this is the first one, which is freed last. `tables` ends with NULL. */
struct fixture *fixture_open(const struct cmd_table *const *tables, uint32_t index, uint32_t count,
                             struct fixture *first);
void fixture_free(struct fixture *f); /* after fixture_check() */

/* Runs one request as the node would: finds the row (a subcommand's in its container), checks the arity,
 * ends the pass (unless core_tx_begin() was called: then the caller does). The reply is valid until the next request. Arguments are C strings. */
#define run(f, ...) fixture_run((f), (const char *const[]){__VA_ARGS__, NULL})
struct bytes fixture_run(struct fixture *f, const char *const *args);
struct bytes fixture_run_bytes(struct fixture *f, const struct bytes *argv, uint32_t argc);
/* Fails the test, showing both, if the reply is not `wire` (a C string). */
#define expect(f, wire, ...)                                                                       \
    fixture_expect((f), (wire), (const char *const[]){__VA_ARGS__, NULL}, __FILE__, __LINE__)
void fixture_expect(struct fixture *f, const char *wire, const char *const *args, const char *file,
                    int line);

/* Units logged since the last call, one per line: "SET k v"; the database in front unless 0: "1:DEL k". */
#define expect_log(f, lines) fixture_expect_text((lines), fixture_log(f), "log", __FILE__, __LINE__)
const char *fixture_log(struct fixture *f);
/* Events told since the last call, in order: "set k\nexpire k\n". "keymiss" and "new" are left out. */
#define expect_events(f, lines)                                                                    \
    fixture_expect_text((lines), fixture_events(f), "events", __FILE__, __LINE__)
const char *fixture_events(struct fixture *f);
void fixture_expect_text(const char *want, const char *got, const char *what, const char *file,
                         int line);

/* Time passes; nothing else happens: keys expire when they are looked at, or in fixture_upkeep(). */
void fixture_advance(struct fixture *f, int64_t ms);
/* Runs expiry and the freeing of values until nothing is left to do. */
void fixture_upkeep(struct fixture *f);

/* Structure of keyspace and values; and replays the log into one, two and three shards, whose contents
 * together must be those of this shard. Only for a shard that is alone. */
void fixture_check(struct fixture *f);
/* Contents of all databases, expiries included, in any order of keys. Shards add up (64 bits wrap). */
uint64_t fixture_digest(const struct fixture *f);
/* Replays all logs of f's directory into `shards` fresh shards; the sum of their digests. */
uint64_t fixture_replay_digest(struct fixture *f, uint32_t shards);

#endif
