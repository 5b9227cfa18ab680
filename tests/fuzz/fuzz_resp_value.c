/* tests/fuzz/fuzz_resp_value.c: replies. Checked: no bad access (sanitizers), parser and skipper
 * agree, every text is a view into the input, every prefix of a whole reply is incomplete, and
 * memory stays within what the header promises. */
#include <stdint.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/resp/value.h"

/* Returns how many values there are. */
static size_t check_value(const struct resp_value *v, const uint8_t *in, size_t len, int depth)
{
    assert(depth <= RESP_VALUE_DEPTH_MAX);
    if (v->text.len > 0) {
        assert(v->text.data >= in);
        assert(v->text.data + v->text.len <= in + len);
    }
    if (v->null) assert(v->count == 0);
    bool pairs = v->type == RESP_MAP || v->type == RESP_ATTRIBUTE;
    size_t children = pairs ? 2 * (size_t)v->count : v->count, total = 1;
    for (size_t i = 0; i < children; i++) {
        assert(v->items[i].type != RESP_PUSH);
        assert(v->items[i].type != RESP_ATTRIBUTE);
        total += check_value(&v->items[i], in, len, depth + 1);
    }
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *in = mem_alloc(MEM_TEST, size + (size == 0));
    if (size > 0) memcpy(in, data, size);
    struct arena arena;
    arena_init(&arena);
    struct resp_value v;
    size_t used = 0;
    int got = resp_value_parse(&arena, in, size, &v, &used);
    int64_t skipped = resp_value_skip(in, size);
    assert(got == 1 ? skipped == (int64_t)used : skipped == got);
    if (got == 1) {
        assert(used > 0);
        assert(used <= size);
        assert(check_value(&v, in, used, 0) <= used / 3);
        for (size_t len = 0; len < used && used <= 256; len++)
            assert(resp_value_skip(in, len) == 0);
    } else {
        assert(arena.head == NULL);
    }
    arena_free(&arena);
    mem_free(MEM_TEST, in, size + (size == 0));
    return 0;
}
