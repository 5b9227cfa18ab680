/* shard/journal/judge.c: the frame at w->lsn cannot be read. Did the disk damage it, or did a crash
 * tear the end of the log off? Damage is what can be proven; three proofs are looked for:
 *
 *   1. a later valid frame that says "all below X was on disk", with X above the bad frame;
 *   2. a later frame of a clean stop;
 *   3. stamps: every block that the bad frame touches was written whole.
 *
 * The chain is broken at the bad frame, so a later frame is recognised by its head (its own LSN stands
 * in it, its log and generation too) and believed if its checksum follows from that of its
 * predecessor: the one that the frame ending where it begins carries in its head, or, right behind the
 * bad frame, the bad frame's own: as stored, or as computed if the stored one is what was damaged. */
#include "shard/base/assert.h"
#include "shard/journal/journal_priv.h"

#define PREDECESSORS_MAX                                                                           \
    16u /* frames seen, not believed; enough for what looks like frames inside one */

#define SECTOR_BYTES 512u /* what a disk writes whole or not at all */

struct predecessor {
    uint64_t end;
    uint32_t crc;
};
struct search {
    struct journal__walk *w;
    struct journal__reader r; /* a second one: it also reads behind damaged heads and gaps */
    struct predecessor seen[PREDECESSORS_MAX];
    uint32_t seen_count;
    uint32_t bad_crc; /* as stored in the bad frame */
    bool has_bad_crc;
    bool believed_any;
    uint64_t synced; /* highest named by a believed frame */
    bool closed;
    uint64_t written_end; /* after the last byte that is not zero */
};

static void remember(struct search *s, uint64_t end, uint32_t crc)
{
    s->seen[s->seen_count++ % PREDECESSORS_MAX] = (struct predecessor){.end = end, .crc = crc};
}

static bool follows(const struct search *s, const uint8_t *frame,
                    const struct journal_frame_head *h)
{
    uint32_t count = s->seen_count < PREDECESSORS_MAX ? s->seen_count : PREDECESSORS_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (s->seen[i].end == h->lsn &&
            journal_frame_crc(s->seen[i].crc, frame, h->length) == h->crc)
            return true;
    bool next = s->has_bad_crc && !s->believed_any;
    return next && journal_frame_crc(s->bad_crc, frame, h->length) == h->crc;
}

static bool is_ours(const struct search *s, const struct journal_frame_head *h, uint64_t lsn)
{
    return h->lsn == lsn && h->generation == s->w->generation && h->log == s->w->log;
}

/* What the bad frame still says. */
static void look_at_bad(struct search *s)
{
    const uint8_t *p = NULL;
    uint64_t lsn = s->w->lsn;
    struct journal_frame_head h;
    if (journal__reader_view(&s->r, lsn, FRAME_HEAD_BYTES, &p) < FRAME_HEAD_BYTES) return;
    memcpy(&s->bad_crc, p + FRAME_HEAD_BYTES - sizeof s->bad_crc, sizeof s->bad_crc);
    s->has_bad_crc = true;
    if (!journal_frame_decode(p, &h)) return;
    size_t bytes = FRAME_HEAD_BYTES + (size_t)h.length;
    if (journal__reader_view(&s->r, lsn, bytes, &p) == bytes)
        remember(s, lsn + bytes, journal_frame_crc(s->w->crc, p, h.length));
}

/* A head was found at lsn. Returns where to go on. */
static uint64_t look_at_head(struct search *s, uint64_t lsn)
{
    const uint8_t *p = NULL;
    struct journal_frame_head h;
    size_t n = journal__reader_view(&s->r, lsn, FRAME_HEAD_BYTES, &p);
    if (n < FRAME_HEAD_BYTES || !journal_frame_decode(p, &h) || !is_ours(s, &h, lsn))
        return lsn + 1;
    size_t bytes = FRAME_HEAD_BYTES + (size_t)h.length;
    n = journal__reader_view(&s->r, lsn, bytes, &p);
    bool believed = n == bytes && lsn > s->w->lsn && follows(s, p, &h);
    remember(s, lsn + bytes, h.crc);
    if (!believed) return lsn + 1;
    s->believed_any = true;
    if (h.synced > s->synced) s->synced = h.synced;
    if ((h.flags & FRAME_CLOSED) != 0) s->closed = true;
    return lsn + bytes;
}

static void note_written(struct search *s, uint64_t lsn, const uint8_t *p, size_t n)
{
    static const uint8_t zeros[SECTOR_BYTES];
    while (n >= sizeof zeros && memcmp(p + n - sizeof zeros, zeros, sizeof zeros) == 0)
        n -= sizeof zeros; /* segments made ready: many MB of them */
    while (n > 0 && p[n - 1] == 0)
        n--;
    if (n > 0 && lsn + n > s->written_end) s->written_end = lsn + n;
}

/* From lsn on, to the end or a gap. Returns where it stopped. */
static uint64_t search_run(struct search *s, uint64_t lsn)
{
    const size_t magic = sizeof journal_frame_magic;
    while (s->r.rc == RC_OK) {
        const uint8_t *p = NULL;
        size_t n = journal__reader_view(&s->r, lsn, FRAME_BYTES_MAX, &p);
        if (n == 0) break;
        const uint8_t *hit = memmem(p, n, journal_frame_magic, magic);
        size_t passed = hit != NULL ? (size_t)(hit - p) : n >= magic ? n - magic + 1 : n;
        note_written(s, lsn, p, passed);
        lsn += passed;
        if (hit == NULL) continue;
        if (lsn + magic > s->written_end) s->written_end = lsn + magic;
        uint64_t next = look_at_head(s, lsn);
        if (next > lsn + 1) s->written_end = next > s->written_end ? next : s->written_end;
        lsn = next;
    }
    return lsn;
}

static void search_all(struct search *s)
{
    uint64_t lsn = search_run(s, s->w->lsn);
    for (uint32_t k = 0; k < s->r.log->files_count; k++)
        if (s->r.log->files[k].lsn > lsn) lsn = search_run(s, s->r.log->files[k].lsn);
}

/* Is this block, from byte `at` on, as it was written last? The stamp says that the write reached its end;
 * but a disk may write the sectors of a block in any order, and a crash leave some of them as they
 * were: zeros, at least from where the write before ended. So a sector that ends in a zero proves
 * nothing, and without proof it is no damage. */
static bool written_whole(const uint8_t block[static BLOCK_BYTES], size_t at)
{
    for (size_t sector = at / SECTOR_BYTES; sector < BLOCK_BYTES / SECTOR_BYTES - 1; sector++)
        if (block[(sector + 1) * SECTOR_BYTES - 1] == 0) return false;
    return true;
}

/* Every block from the bad frame's first byte to its last one (as far as its head can tell). */
static bool stamped_through(struct search *s)
{
    const uint8_t *p = NULL;
    struct journal_frame_head h;
    uint64_t from = s->w->lsn;
    uint64_t end = from + FRAME_HEAD_BYTES;
    size_t n = journal__reader_view(&s->r, from, FRAME_HEAD_BYTES, &p);
    if (n == FRAME_HEAD_BYTES && journal_frame_decode(p, &h) && is_ours(s, &h, from))
        end += h.length;
    for (uint64_t lsn = from; lsn < end;) {
        uint8_t block[BLOCK_BYTES];
        uint32_t stamp = 0;
        uint64_t start = 0;
        if (!journal__reader_block(&s->r, lsn, block, &start)) return false;
        memcpy(&stamp, block + BLOCK_LOG_BYTES, sizeof stamp);
        if (!journal_stamp_says_written(stamp, s->w->seed, from, start + BLOCK_LOG_BYTES))
            return false;
        if (!written_whole(block, (size_t)(lsn - start))) return false;
        lsn = start + BLOCK_LOG_BYTES;
    }
    return true;
}

enum rc journal__judge(struct journal__walk *w, struct journal__verdict *out)
{
    struct search s = {.w = w, .written_end = w->lsn};
    s.r = w->r; /* the same log; buffers of its own */
    s.r.fd = -1;
    s.r.base = 0;
    s.r.len = 0;
    s.r.past_bad_heads = true;
    enum rc rc = journal__reader_buffers(&s.r);
    if (rc != RC_OK) return rc;
    look_at_bad(&s);
    search_all(&s);
    struct journal__verdict v = {.torn_bytes = s.written_end - w->lsn};
    if (s.synced > w->lsn)
        v.proof = "a later frame names it as synced";
    else if (s.closed)
        v.proof = "a clean stop follows it";
    else if (stamped_through(&s))
        v.proof = "its blocks were written whole";
    v.damage = v.proof != NULL;
    rc = s.r.rc;
    journal__reader_close(&s.r);
    if (rc == RC_OK) *out = v;
    return rc;
}
