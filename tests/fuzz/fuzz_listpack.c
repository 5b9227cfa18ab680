/* Bytes of any origin: what the checks accept must read the same both ways and encode to itself. */
#include "shard/ds/listpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void item_of(const uint8_t *entry, struct lp_item *out)
{
    char tmp[NUM_I64_TEXT_MAX];
    if (*entry == 0xf5) {
        lp_item_double(lp_double(entry), out);
    } else {
        lp_item_text(lp_text(entry, tmp), out);
    }
}

static void walk(const uint8_t *begin, const uint8_t *end, uint64_t count)
{
    uint64_t seen = 0;
    for (const uint8_t *p = begin; p < end; p = lp_next(p), seen++) {
        struct lp_item item;
        item_of(p, &item);
        assert(lp_matches(p, &item));
        assert(lp_entry_size(p) == item.size);
        if (count < 64) assert(lp_find(begin, end, &item, 1) <= p);
    }
    assert(seen == count);
    for (const uint8_t *p = end; p > begin; p = lp_before(p))
        seen--;
    assert(seen == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t count;
    struct bytes blob = bytes_view(data, size);
    if (lp_check_entries(blob, &count)) walk(data, data + size, count);
    if (lp_check(blob)) walk(lp_begin(blob), lp_end(blob), lp_count(blob));
    return 0;
}
