/* shard/journal/unit.c: one effect in bytes.
 *
 *   length varint | flags u8 | opcode varint | slot u16 | [db u8] | [engine u8]
 *   | [txid u64 | shards varint] | { length varint, bytes } for each argument, to the unit's end
 *
 * A SET of 16 and 64 bytes in database 0 costs 7 bytes beyond them. */
#include "shard/journal/record.h"

#include "shard/base/slot.h"

#define UNIT_FLAGS_KNOWN (UNIT_DB | UNIT_ENGINE | UNIT_TX | UNIT_JOINED)
/* flags, opcode, slot */
#define UNIT_SIZE_MIN 4u

const uint8_t *journal_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    for (uint32_t shift = 0; shift < 64 && p < end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) return NULL;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = v;
            return p;
        }
    }
    return NULL;
}

size_t journal_unit_size(const struct journal_head *h, const struct bytes *args, uint32_t argc)
{
    size_t size = 3 + journal_varint_bytes(h->opcode) + (h->db != 0) + (h->engine != 0);
    if (unlikely(h->txid != 0)) size += 8 + journal_varint_bytes(h->shards_mask);
    for (uint32_t i = 0; i < argc; i++)
        size += journal_varint_bytes(args[i].len) + args[i].len;
    return size;
}

size_t journal_unit_encode_head(uint8_t *out, const struct journal_head *h, bool joined,
                                size_t size)
{
    uint8_t *p = journal_varint_put(out, size);
    uint8_t *flags = p++;
    uint8_t f = joined ? UNIT_JOINED : 0;
    p = journal_varint_put(p, h->opcode);
    memcpy(p, &h->slot, 2);
    p += 2;
    if (h->db != 0) {
        f |= UNIT_DB;
        *p++ = h->db;
    }
    if (h->engine != 0) {
        f |= UNIT_ENGINE;
        *p++ = h->engine;
    }
    if (unlikely(h->txid != 0)) {
        f |= UNIT_TX;
        memcpy(p, &h->txid, 8);
        p = journal_varint_put(p + 8, h->shards_mask);
    }
    *flags = f;
    return (size_t)(p - out);
}

/* What follows the opcode. Returns where the arguments begin, NULL if the unit ends before that. */
static const uint8_t *decode_optional(const uint8_t *p, const uint8_t *end,
                                      struct journal_unit_raw *u)
{
    size_t fixed = 2;
    if ((u->flags & UNIT_DB) != 0) fixed += 1;
    if ((u->flags & UNIT_ENGINE) != 0) fixed += 1;
    if ((u->flags & UNIT_TX) != 0) fixed += 8;
    if ((size_t)(end - p) < fixed) return NULL;
    memcpy(&u->slot, p, 2);
    p += 2;
    if ((u->flags & UNIT_DB) != 0) u->db = *p++;
    if ((u->flags & UNIT_ENGINE) != 0) u->engine = *p++;
    if ((u->flags & UNIT_TX) == 0) return p;
    memcpy(&u->txid, p, 8);
    return journal_varint_get(p + 8, end, &u->shards_mask);
}

enum rc journal_unit_decode(const uint8_t *p, size_t n, struct journal_unit_raw *out)
{
    const uint8_t *start = p;
    uint64_t size = 0;
    p = journal_varint_get(start, start + n, &size);
    if (p == NULL) return n < 10 ? RC_AGAIN : RC_CORRUPT;
    if (size < UNIT_SIZE_MIN) return RC_CORRUPT;
    if (size > n - (size_t)(p - start)) return RC_AGAIN;
    const uint8_t *end = p + size;
    struct journal_unit_raw u = {.flags = *p++};
    uint64_t opcode = 0;
    if ((u.flags & ~UNIT_FLAGS_KNOWN) != 0) return RC_CORRUPT;
    p = journal_varint_get(p, end, &opcode);
    if (p == NULL || opcode > UINT32_MAX) return RC_CORRUPT;
    u.opcode = (uint32_t)opcode;
    p = decode_optional(p, end, &u);
    if (p == NULL) return RC_CORRUPT;
    if ((u.flags & UNIT_TX) != 0 && u.txid == 0) return RC_CORRUPT;
    if (u.slot >= SLOT_COUNT && u.slot != JOURNAL_SLOT_ALL) return RC_CORRUPT;
    u.args = bytes_view(p, (size_t)(end - p));
    u.bytes = (size_t)(end - start);
    *out = u;
    return RC_OK;
}

bool journal_unit_arg(struct bytes *args, struct bytes *out)
{
    if (args->len == 0) return false;
    const uint8_t *end = args->data + args->len;
    uint64_t len = 0;
    const uint8_t *p = journal_varint_get(args->data, end, &len);
    if (p == NULL || len > (size_t)(end - p)) return false;
    *out = bytes_view(p, (size_t)len);
    *args = bytes_view(p + len, (size_t)(end - p - (int64_t)len));
    return true;
}
