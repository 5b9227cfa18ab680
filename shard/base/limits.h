/* shard/base/limits.h: every bound, its reason, and the relations between them. */
#ifndef MOON_BASE_LIMITS_H
#define MOON_BASE_LIMITS_H

#include <stdint.h>

#include "shard/base/assert.h" /* not <assert.h>: it has no guard and would undo our assert() */

#define SHARDS_MAX 64u /* threads of one node: mailboxes are pairs, 64² rings is the most we want */
#define DATABASES_MAX 256u         /* the reference's limit; db travels as one byte */
#define RECORD_INLINE_MAX 512u     /* a record (head, key, value) up to this stays one block */
#define KEY_BYTES_MAX (512u << 20) /* proto-max-bulk-len of Redis */
#define STRING_BYTES_MAX (UINT32_MAX - 4096u) /* lengths of blobs are u32 in the record */

/* One pass of a shard (architecture.md §4.2). */
#define PASS_CONN_BYTES_MAX (64u << 10)
#define PASS_CONN_COMMANDS_MAX 512u
#define PASS_COMMANDS_MAX 4096u /* flat request array of one pass */
#define PASS_BUDGET_US 1000u
#define TASK_SLICE_US 50u
#define OUT_PAUSE_BYTES (1u << 20) /* unsent output above which a connection is not parsed */
#define OUT_RESUME_BYTES (256u << 10)
#define FREE_SLICE_BYTES (64u << 10) /* values above this are freed in slices */

/* At a stop, after the logs are closed: how long replies may take to leave, and how long a peer that still
 * talks is listened to after them. */
#define STOP_SEND_MS 2000u
#define STOP_LINGER_MS 500u

/* Requests (Redis). */
#define INLINE_BYTES_MAX (64u << 10)
#define MULTIBULK_UNAUTH_MAX 10
#define BULK_UNAUTH_MAX 16384
#define MULTIBULK_MAX INT32_MAX

/* Patterns: stars that may nest in one match, as in Redis (CVE-2022-36021). */
#define GLOB_NESTING_MAX 1000u

/* HRANDFIELD, SRANDMEMBER, ZRANDMEMBER with a negative count: elements drawn, with repetition, into one
 * reply. The count is a few bytes of request, so nothing else bounds what it asks for. */
#define RANDOM_DRAWS_MAX (INT64_C(1) << 24)

/* Scripts. What a client can make a script do is bounded by these. */
#define EVAL_SCRIPTS_MAX 500u               /* of EVAL, kept for EVALSHA: as Redis since 7.4 */
#define SCRIPTS_BYTES_MAX (64u << 20)       /* texts of all scripts of a node */
#define SCRIPT_FUNCTIONS_MAX 1024u          /* compiled, of one shard; more are compiled anew */
#define SCRIPT_STATE_BYTES_MAX (256u << 20) /* memory of Lua, of one shard */
#define SCRIPT_CALL_BYTES_MAX (1u << 30)    /* arguments of one command */
#define SCRIPT_REPLY_BYTES_MAX (512u << 20)
#define SCRIPT_REPLY_ELEMENTS_MAX (1u << 24) /* a table counts for 16 */
#define SCRIPT_REPLY_DEPTH_MAX 1000u         /* 200 bytes of C stack each */

/* Journal. */
#define FRAME_BYTES_MAX (1u << 20)
#define FRAME_HEAD_BYTES 64u
#define SEGMENT_BYTES (16u << 20)
#define BLOCK_BYTES 4096u
#define JOURNAL_SEGMENTS_AHEAD                                                                     \
    2u /* prepared beyond the one written: two fills of a segment hide one preparation */
#define JOURNAL_GATHER_BYTES_MAX                                                                   \
    (32u << 20) /* unwritten log in memory above which a log asks writers to wait */
#define JOURNAL_RESERVE_FAST_MAX (64u << 10) /* a reservation up to this is one comparison */

/* Mailboxes. */
#define MAILBOX_BYTES (1u << 20)
#define ANSWER_INLINE_MAX 256u  /* larger answers travel as a block … */
#define ANSWER_SPARE_MAX 16384u /* … or in the ring while it is nearly empty */

/* Messages of the control plane, before they are unpacked (cluster/wire.h). */
#define WIRE_MESSAGE_BYTES_MAX (1u << 20) /* a Raft batch is no larger either */
#define WIRE_DEPTH_MAX 4u                 /* snapshot record, group, member: three */
#define WIRE_FIELDS_MAX 24u               /* of one message */

/* Topology: what the control log may build up to. A snapshot of a full one is read into memory whole. */
#define TOPOLOGY_NODES_MAX 4096u      /* twice the largest cluster the design was simulated for */
#define TOPOLOGY_GROUPS_MAX 4096u     /* a group has a primary */
#define TOPOLOGY_MEMBERS_MAX 32u      /* of one group */
#define TOPOLOGY_RANGES_MAX 8192u     /* every other slot */
#define TOPOLOGY_MIGRATIONS_MAX 1024u /* open ones */
#define TOPOLOGY_MIGRATIONS_KEPT 64u  /* finished ones that stay to be asked about */
#define TOPOLOGY_FORGOTTEN_KEPT 64u   /* nodes whose old incarnations may not come back */
#define TOPOLOGY_NAME_BYTES_MAX 1024u /* of a user, a library, an index … */
#define TOPOLOGY_VALUE_BYTES_MAX (512u << 10)
#define TOPOLOGY_ITEMS_MAX 65536u
#define TOPOLOGY_ITEMS_BYTES_MAX (256u << 20)
#define TOPOLOGY_NOTE_BYTES_MAX 256u /* reasons and notes for people, positions */
#define TOPOLOGY_ADDRESS_BYTES_MAX 255u
#define TOPOLOGY_BODY_BYTES_MAX 256u /* the struct of any entry or snapshot record, on the stack */
#define TOPOLOGY_RESERVE_MAX (1u << 20) /* ids handed out at once */

static_assert(TOPOLOGY_VALUE_BYTES_MAX + TOPOLOGY_NAME_BYTES_MAX < WIRE_MESSAGE_BYTES_MAX,
              "the largest entry fits a message");
static_assert(2 * TOPOLOGY_RANGES_MAX == 16384u, "slots of the ranges, and gaps between them");

/* The control log (cluster.md §3.2): a few small entries a second. */
#define RAFT_MEMBERS_MAX 16u        /* 7 voters, 2 standbys, and who joins or leaves */
#define RAFT_ADDRESS_BYTES_MAX 128u /* "host:port" of a member, NUL included */
#define RAFT_BATCH_ENTRIES_MAX 256u /* in flight at once; also the longest tail to be undone */
#define RAFT_BATCH_BYTES_MAX (1u << 20)
#define RAFT_ENTRY_BYTES_MAX                                                                       \
    (640u << 10)             /* payload of one proposal: the largest value and room around it */
#define RAFT_QUEUE_MAX 4096u /* proposals waiting; beyond, the proposer is refused */
#define RAFT_MESSAGE_BYTES_MAX (RAFT_BATCH_BYTES_MAX + (64u << 10))
#define RAFT_SNAPSHOT_CHUNK_BYTES (256u << 10) /* on disk */
#define RAFT_SNAPSHOT_PIECE_BYTES (32u << 10)  /* on the bus: fits a control frame */
#define RAFT_SNAPSHOT_BYTES_MAX (512u << 20)
#define RAFT_SEGMENT_BYTES (4u << 20)
#define RAFT_HELD_MAX 64u /* messages waiting for our disk; more are dropped, senders repeat */
#define RAFT_SESSIONS_MAX 4096u
#define RAFT_SESSION_WINDOW 256u /* unresolved proposals of one proposer */

static_assert(RAFT_ENTRY_BYTES_MAX < RAFT_BATCH_BYTES_MAX, "an entry fits a batch");
static_assert(RAFT_BATCH_BYTES_MAX < RAFT_SEGMENT_BYTES, "a batch fits a segment");
static_assert(TOPOLOGY_VALUE_BYTES_MAX + (64u << 10) < RAFT_ENTRY_BYTES_MAX,
              "the largest value fits an entry");

/* Links between nodes (cluster/bus.h). A stranger, who has not said a good hello yet, costs 2 KiB, with TLS about
 * 70 KiB (measured), all strangers 5 MiB. A link costs what waits to be sent and one half received message
 * per long channel, all links together no more than the sums below. */
#define BUS_FRAME_HEAD_BYTES 16u
#define BUS_FRAME_BYTES_MAX (64u << 10) /* with its head: what goes in front of an urgent message */
#define BUS_BODY_BYTES_MAX (BUS_FRAME_BYTES_MAX - BUS_FRAME_HEAD_BYTES)
#define BUS_HELLO_BYTES_MAX 512u                     /* a body before the hello is done */
#define BUS_MESSAGE_BYTES_MAX RAFT_MESSAGE_BYTES_MAX /* in fragments */
#define BUS_ASSEMBLY_BYTES_MAX (64u << 20)
#define BUS_QUEUE_BYTES_MAX                                                                        \
    (4u << 20) /* of one lane, a link has three: as many full batches of Raft */
#define BUS_QUEUE_MESSAGES_MAX 1024u
#define BUS_QUEUES_BYTES_MAX (256u << 20)
#define BUS_PEERS_MAX TOPOLOGY_NODES_MAX
#define BUS_GUESTS_MAX 1024u /* four times the observers of a voter */
#define BUS_STRANGERS_MAX 64u
#define BUS_SEEDS_MAX 64u
#define BUS_BINDS_MAX 16u
#define BUS_SEND_BYTES 65536u /* filled at once: what an urgent message may find before it */
#define BUS_DIALS_PER_TICK 16u
#define BUS_ACCEPTS_PER_TICK                                                                       \
    16u /* from addresses of no peer: a handshake of TLS takes up to a millisecond of the ctl thread */
#define BUS_LOG_EVERY_MS 10000u /* lines about one kind of refusal, after the first few */
#define BUS_LOG_BURST 3u

static_assert(RAFT_SNAPSHOT_PIECE_BYTES + 1024u < BUS_BODY_BYTES_MAX, "a piece fits a frame");
static_assert(BUS_MESSAGE_BYTES_MAX >= RAFT_MESSAGE_BYTES_MAX, "Raft's messages fit");
static_assert(2 * BUS_MESSAGE_BYTES_MAX < BUS_QUEUE_BYTES_MAX, "one may wait while one is sent");
static_assert(WIRE_MESSAGE_BYTES_MAX < BUS_MESSAGE_BYTES_MAX, "the largest protobuf message fits");

static_assert(OUT_RESUME_BYTES < OUT_PAUSE_BYTES, "a paused connection must be able to resume");
static_assert(RECORD_INLINE_MAX <= 1024, "records come from slabs");
static_assert(FRAME_BYTES_MAX <= SEGMENT_BYTES, "a frame lies in one segment or spans by chaining");

static_assert(2 * JOURNAL_RESERVE_FAST_MAX < FRAME_BYTES_MAX,
              "one spare chunk covers any such reservation");

#endif
