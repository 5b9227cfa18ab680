#include "shard/exec/spec.h"

#include "shard/base/num.h"

static uint32_t add_range(int64_t first, int64_t last, int64_t step, uint32_t argc, uint32_t *out,
                          uint32_t n)
{
    if (step < 1) step = 1;
    for (int64_t i = first; i <= last && i < (int64_t)argc && n < argc; i += step)
        out[n++] = (uint32_t)i;
    return n;
}

static int64_t find_begin(const struct cmd_key_spec *k, const struct bytes *argv, uint32_t argc)
{
    if (k->begin_keyword == NULL) return k->begin_index;
    int64_t step = k->begin_index < 0 ? -1 : 1;
    int64_t at = k->begin_index < 0 ? (int64_t)argc + k->begin_index : k->begin_index;
    for (; at > 0 && at < (int64_t)argc; at += step)
        if (bytes_is(argv[at], k->begin_keyword)) return at + 1;
    return -1;
}

/* False: a count of keys is no number, or of more than there are. */
static bool add_spec(const struct cmd_key_spec *k, const struct bytes *argv, uint32_t argc,
                     uint32_t *out, uint32_t *n)
{
    int64_t begin = find_begin(k, argv, argc);
    if (begin < 1 || begin >= (int64_t)argc || (k->flags & KEY_NOT_KEY)) return true;
    if (!k->keynum) {
        int64_t last = k->last_key >= 0 ? begin + k->last_key : (int64_t)argc + k->last_key;
        *n = add_range(begin, last, k->step, argc, out, *n);
        return true;
    }
    int64_t count;
    int64_t at = begin + k->keynum_index;
    if (at >= (int64_t)argc || !num_parse_i64(argv[at], &count) || count < 1) return false;
    int64_t first = begin + k->first_key, step = k->step < 1 ? 1 : k->step;
    if (count > (int64_t)argc || first + (count - 1) * step >= (int64_t)argc) return false;
    *n = add_range(first, first + (count - 1) * step, step, argc, out, *n);
    return true;
}

uint32_t spec_key_positions(const struct cmd_spec *spec, const struct bytes *argv, uint32_t argc,
                            uint32_t *positions_out)
{
    if (spec->key_specs_count > 0) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < spec->key_specs_count; i++)
            if (!add_spec(&spec->key_specs[i], argv, argc, positions_out, &n)) return 0;
        return n;
    }
    if (spec->keys.first <= 0) return 0;
    int64_t last = spec->keys.last >= 0 ? spec->keys.last : (int64_t)argc + spec->keys.last;
    return add_range(spec->keys.first, last, spec->keys.step, argc, positions_out, 0);
}
