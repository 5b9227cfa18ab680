/* shard/journal/append.c: the hot side: units into frames, frames into chunks of memory.
 *
 *   oldest chunk          …           newest chunk
 *   │frame│frame│frame│ → │…│ →  │frame│frame│ open frame ⋯ next      limit│
 *         ^written               ^seal_at (frames behind it wait for the end of the pass)
 *
 * A frame that runs full is closed and the next begun in a new chunk; only when that happens inside a
 * group, or inside a unit larger than a frame, are the two chained. Checksums, hlc and positions
 * are filled in once per frame when the pass ends. When all is written the newest chunk begins again
 * at its start, so that a busy log cycles through memory that is in the cache. */
#include "shard/base/assert.h"
#include "shard/journal/writer_priv.h"

#define SPARE_KEPT 2u
/* A group begins only where this much is left in its frame: its first unit's head is never cut. */
#define GROUP_ROOM_MIN (FRAME_HEAD_BYTES + UNIT_HEAD_BYTES_MAX)

uint64_t journal__lsn(const struct journal *j)
{
    return j->chunk->lsn + (uint64_t)(j->next - j->chunk->data);
}

uint64_t journal_lsn(const struct journal *j)
{
    return journal__lsn(j);
}

/* ---- chunks */

static void chunk_use(struct journal *j, struct journal__chunk *c, uint64_t lsn)
{
    c->next = NULL;
    c->lsn = lsn;
    c->used = 0;
    j->chunk = c;
    j->next = c->data;
    j->limit = c->data + sizeof c->data;
}

void journal__chunks_init(struct journal *j, uint64_t lsn, uint32_t crc)
{
    struct journal__chunk *c = mem_alloc(MEM_JOURNAL, sizeof *c);
    chunk_use(j, c, lsn);
    j->oldest = c;
    j->seal_chunk = c;
    j->seal_at = c->data;
    j->sealed = lsn;
    j->written = lsn;
    j->written_frames = lsn;
    j->synced = lsn;
    j->synced_bytes = lsn;
    j->sync_goal = lsn;
    j->frame_lsn = lsn;
    j->frame_end = lsn;
    j->frame_chain_lsn = lsn;
    j->frame_is_last = true;
    j->crc = crc;
    j->tx_first = UINT64_MAX;
}

static void list_free(struct journal__chunk *c)
{
    while (c != NULL) {
        struct journal__chunk *next = c->next;
        mem_free(MEM_JOURNAL, c, sizeof *c);
        c = next;
    }
}

void journal__chunks_free(struct journal *j)
{
    list_free(j->oldest);
    list_free(j->spare);
}

void journal__chunks_trim(struct journal *j)
{
    while (j->spare_count > SPARE_KEPT) {
        struct journal__chunk *c = j->spare;
        j->spare = c->next;
        j->spare_count--;
        mem_free(MEM_JOURNAL, c, sizeof *c);
    }
}

static void chunk_give(struct journal *j, struct journal__chunk *c)
{
    c->next = j->spare;
    j->spare = c;
    j->spare_count++;
}

/* The newest chunk has no room left; no frame is open. */
static void chunk_next(struct journal *j)
{
    assert(j->frame == NULL);
    uint64_t lsn = journal__lsn(j);
    struct journal__chunk *full = j->chunk;
    struct journal__chunk *c = j->spare;
    if (c != NULL) {
        j->spare = c->next;
        j->spare_count--;
    } else {
        c = mem_alloc(MEM_JOURNAL, sizeof *c); /* an append that was not reserved, or not wholly */
    }
    full->used = (uint32_t)(j->next - full->data);
    full->next = c;
    chunk_use(j, c, lsn);
    j->grant = 0; /* the next reservation looks at memory and at the bound again */
}

void journal__chunks_written(struct journal *j)
{
    while (j->oldest != j->chunk && j->oldest->lsn + j->oldest->used <= j->written) {
        struct journal__chunk *c = j->oldest;
        if (j->seal_chunk == c) {
            j->seal_chunk = c->next;
            j->seal_at = c->next->data;
        }
        j->oldest = c->next;
        chunk_give(j, c);
    }
    if (j->written != journal__lsn(j) || j->frame != NULL) return;
    chunk_use(j, j->chunk, j->written);
    j->seal_chunk = j->chunk;
    j->seal_at = j->chunk->data;
}

/* ---- frames */

static void frame_open(struct journal *j)
{
    assert(j->limit - j->next >= FRAME_HEAD_BYTES);
    j->frame = j->next;
    j->next += FRAME_HEAD_BYTES;
    j->frame_units = 0;
}

static void frame_close(struct journal *j, uint8_t flags)
{
    if (!j->chained) flags |= FRAME_FIRST;
    struct journal_frame_head h = {
        .flags = flags,
        .log = j->log,
        .generation = j->generation,
        .count = j->frame_units,
        .length = (uint32_t)(j->next - j->frame - FRAME_HEAD_BYTES),
        .lsn = j->chunk->lsn + (uint64_t)(j->frame - j->chunk->data),
        .epoch = j->epoch,
    };
    journal_frame_encode(j->frame, &h);
    j->frame = NULL;
    j->chained = (flags & FRAME_LAST) == 0;
    j->frames++;
    j->units += h.count;
    j->bytes += FRAME_HEAD_BYTES + h.length;
}

/* The durable cut of this log as far as it is known here: without an unfinished cross-shard part it is
 * what is synced. */
static uint64_t known_cut(const struct journal *j)
{
    if (j->tx_first == UINT64_MAX) return j->synced;
    uint64_t cut = j->cut_known < j->tx_first ? j->tx_first : j->cut_known;
    return cut < j->synced ? cut : j->synced;
}

void journal__seal(struct journal *j, int64_t wall_us)
{
    if (j->frame != NULL) frame_close(j, FRAME_LAST);
    assert(!j->chained);
    if (wall_us > j->hlc_us) j->hlc_us = wall_us;
    uint64_t cut = known_cut(j);
    while (true) {
        uint8_t *end = j->seal_chunk->data + journal__chunk_used(j, j->seal_chunk);
        while (j->seal_at < end) {
            j->crc = journal_frame_seal(j->seal_at, j->hlc_us, j->synced, cut, j->crc);
            j->seal_at += FRAME_HEAD_BYTES + journal_frame_length(j->seal_at);
        }
        assert(j->seal_at == end);
        if (j->seal_chunk == j->chunk) break;
        j->seal_chunk = j->seal_chunk->next;
        j->seal_at = j->seal_chunk->data;
    }
    j->sealed = journal__lsn(j);
}

void journal__append_closed(struct journal *j)
{
    assert(j->frame == NULL);
    if (j->limit - j->next < FRAME_HEAD_BYTES) chunk_next(j);
    frame_open(j);
    frame_close(j, FRAME_LAST | FRAME_CLOSED);
}

/* ---- units */

/* A unit with a txid begins at lsn, in the open frame. */
static void note_tx(struct journal *j, uint64_t lsn)
{
    if (j->tx_first == UINT64_MAX)
        j->tx_first = j->chunk->lsn + (uint64_t)(j->frame - j->chunk->data);
    j->tx_last = lsn;
}

/* Bytes into the open frame and as many further ones of its chain as it takes. */
static void put(struct journal *j, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t room = (size_t)(j->limit - j->next);
        if (room == 0) {
            frame_close(j, 0);
            chunk_next(j);
            frame_open(j);
            continue;
        }
        size_t n = len < room ? len : room;
        memcpy(j->next, data, n);
        j->next += n;
        data += n;
        len -= n;
    }
}

static void put_unit(struct journal *j, const struct journal_head *head, const struct bytes *args,
                     uint32_t argc, size_t size)
{
    uint8_t small[UNIT_HEAD_BYTES_MAX];
    j->frame_units++;
    if (head->txid != 0) note_tx(j, journal__lsn(j));
    put(j, small, journal_unit_encode_head(small, head, j->group_has_units, size));
    for (uint32_t i = 0; i < argc; i++) {
        uint8_t *end = journal_varint_put(small, args[i].len);
        put(j, small, (size_t)(end - small));
        put(j, args[i].data, args[i].len);
    }
}

/* The unit may not fit behind what the newest chunk holds. */
static COLD void append_slow(struct journal *j, const struct journal_head *head,
                             const struct bytes *args, uint32_t argc, size_t size)
{
    size_t whole = size + journal_varint_bytes(size);
    size_t room = (size_t)(j->limit - j->next);
    if (!j->group_has_units) {
        /* Nothing ties it to what stands before: alone in the next frame if it fits there at all. */
        bool here = whole + FRAME_HEAD_BYTES > FRAME_BYTES_MAX && room > GROUP_ROOM_MIN;
        if (!here) {
            if (j->frame != NULL) frame_close(j, FRAME_LAST);
            chunk_next(j);
        }
    }
    if (j->frame == NULL) {
        if (j->limit - j->next <= FRAME_HEAD_BYTES) chunk_next(j);
        frame_open(j);
    }
    put_unit(j, head, args, argc, size);
    /* A chain holds nothing behind its group. */
    if (!j->in_group && j->chained) frame_close(j, FRAME_LAST);
}

void journal_append(struct journal *j, const struct journal_head *head, const struct bytes *args,
                    uint32_t argc)
{
    size_t size = journal_unit_size(head, args, argc);
    size_t most = size + 10 + FRAME_HEAD_BYTES;
    if (unlikely((size_t)(j->limit - j->next) < most)) {
        append_slow(j, head, args, argc, size);
        j->group_has_units = j->in_group;
        return;
    }
    if (j->frame == NULL) frame_open(j);
    uint8_t *p = j->next;
    p += journal_unit_encode_head(p, head, j->group_has_units, size);
    for (uint32_t i = 0; i < argc; i++) {
        p = journal_varint_put(p, args[i].len);
        if (likely(args[i].len > 0)) memcpy(p, args[i].data, args[i].len);
        p += args[i].len;
    }
    j->next = p;
    j->frame_units++;
    j->group_has_units = j->in_group;
    if (unlikely(head->txid != 0)) note_tx(j, journal__lsn(j) - journal_varint_bytes(size) - size);
}

void journal_group_begin(struct journal *j)
{
    assert(!j->in_group);
    j->in_group = true;
}

void journal_group_end(struct journal *j)
{
    assert(j->in_group);
    j->in_group = false;
    j->group_has_units = false;
    if (unlikely(j->chained)) frame_close(j, FRAME_LAST);
}

/* ---- reservation */

static COLD enum rc reserve_slow(struct journal *j, size_t body_bytes)
{
    if (j->refusing) return j->refuse_rc;
    if (journal__lsn(j) - j->written > JOURNAL_GATHER_BYTES_MAX) return RC_AGAIN;
    /* A unit that does not fit behind another takes a chunk of its own, so half of each may be lost. */
    size_t chunks = body_bytes / (FRAME_BODY_MAX / 2) + 1;
    while (j->spare_count < chunks) {
        struct journal__chunk *c = mem_try_alloc(MEM_JOURNAL, sizeof *c);
        if (c == NULL) return RC_NOMEM;
        chunk_give(j, c);
    }
    j->grant = JOURNAL_RESERVE_FAST_MAX;
    return RC_OK;
}

bool journal_behind(const struct journal *j)
{
    return !j->refusing && journal__lsn(j) - j->written > JOURNAL_GATHER_BYTES_MAX / 2;
}

enum rc journal_reserve(struct journal *j, size_t body_bytes)
{
    return likely(body_bytes <= j->grant) ? RC_OK : reserve_slow(j, body_bytes);
}

void journal_cut_known(struct journal *j, uint64_t lsn)
{
    if (lsn <= j->cut_known) return;
    j->cut_known = lsn;
    if (j->tx_first == UINT64_MAX || lsn <= j->tx_first) return;
    j->tx_first = lsn > j->tx_last ? UINT64_MAX : lsn;
}
