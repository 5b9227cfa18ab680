#include "shard/ds/intset.h"

static size_t offset_of(uint32_t width, uint32_t index)
{
    return intset_bytes(width, index);
}

static int64_t load(const uint8_t *blob, uint32_t width, uint32_t index)
{
    const uint8_t *p = blob + offset_of(width, index);
    int16_t v16;
    int32_t v32;
    int64_t v64;
    switch (width) {
    case 0:
        memcpy(&v16, p, sizeof v16);
        return v16;
    case 1:
        memcpy(&v32, p, sizeof v32);
        return v32;
    default:
        memcpy(&v64, p, sizeof v64);
        return v64;
    }
}

static void store(uint8_t *blob, uint32_t width, uint32_t index, int64_t v)
{
    memcpy(blob + offset_of(width, index), &v,
           (size_t)2 << width); /* little endian: the low bytes */
}

static void set_head(uint8_t *blob, uint32_t width, uint32_t count)
{
    assert(count <= INTSET_COUNT_MAX);
    uint32_t head = width << 30 | count;
    memcpy(blob, &head, sizeof head);
}

static struct bytes head_view(const uint8_t *blob)
{
    return bytes_view(blob, INTSET_HEAD_BYTES);
}

void intset_init(uint8_t *blob)
{
    set_head(blob, 0, 0);
}

int64_t intset_get(struct bytes blob, uint32_t index)
{
    assert(index < intset_count(blob));
    return load(blob.data, intset_width(blob), index);
}

bool intset_find(struct bytes blob, int64_t v, uint32_t *index_out)
{
    uint32_t width = intset_width(blob), low = 0, high = intset_count(blob);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (load(blob.data, width, middle) < v) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *index_out = low;
    return low < intset_count(blob) && load(blob.data, width, low) == v;
}

void intset_widen(uint8_t *blob, uint32_t width)
{
    uint32_t count = intset_count(head_view(blob)), old = intset_width(head_view(blob));
    assert(width > old);
    for (uint32_t i = count; i-- > 0;)
        store(blob, width, i, load(blob, old, i));
    set_head(blob, width, count);
}

void intset_insert(uint8_t *blob, uint32_t index, int64_t v)
{
    uint32_t count = intset_count(head_view(blob)), width = intset_width(head_view(blob));
    assert(index <= count);
    assert(intset_width_of(v) <= width);
    uint8_t *at = blob + offset_of(width, index);
    memmove(at + ((size_t)2 << width), at, (size_t)(count - index) << (width + 1));
    store(blob, width, index, v);
    set_head(blob, width, count + 1);
}

void intset_remove(uint8_t *blob, uint32_t index)
{
    uint32_t count = intset_count(head_view(blob)), width = intset_width(head_view(blob));
    assert(index < count);
    uint8_t *at = blob + offset_of(width, index);
    memmove(at, at + ((size_t)2 << width), (size_t)(count - index - 1) << (width + 1));
    set_head(blob, width, count - 1);
}

bool intset_check(struct bytes blob)
{
    if (blob.len < INTSET_HEAD_BYTES) return false;
    uint32_t count = intset_count(blob), width = intset_width(blob);
    if (width > 2 || intset_bytes(width, count) > blob.len) return false;
    for (uint32_t i = 1; i < count; i++) {
        if (load(blob.data, width, i - 1) >= load(blob.data, width, i)) return false;
    }
    return true;
}
