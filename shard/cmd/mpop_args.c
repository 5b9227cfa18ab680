#include "shard/cmd/mpop_args.h"

bool mpop_parse(struct exec *x, uint32_t at, const char *end, const char *other_end,
                struct mpop_args *out)
{
    int64_t keys, count = 0;
    if (!exec_arg_range(x, at, 1, INT64_MAX, "ERR numkeys should be greater than 0", &keys))
        return false;
    uint32_t i = at + 1;
    if (keys >= (int64_t)x->argc - i) goto out_syntax;
    out->first = i;
    out->keys = (uint32_t)keys;
    i += out->keys;
    out->other_end = bytes_is(x->argv[i], other_end);
    if (!out->other_end && !bytes_is(x->argv[i], end)) goto out_syntax;
    for (i++; i < x->argc; i += 2) {
        if (count > 0 || i + 1 == x->argc || !bytes_is(x->argv[i], "COUNT")) goto out_syntax;
        if (!exec_arg_range(x, i + 1, 1, INT64_MAX, "ERR count should be greater than 0", &count))
            return false;
    }
    out->count = count > 0 ? (uint64_t)count : 1;
    return true;
out_syntax:
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

bool mpop_find(struct exec *x, const struct mpop_args *args, enum value_type type,
               uint32_t *place_out)
{
    *place_out = 0;
    for (uint32_t i = args->first; i < args->first + args->keys; i++) {
        struct db_key key = exec_key(x, x->argv[i]);
        const struct record *r = exec_peek(x, &key);
        if (r == NULL) continue;
        *place_out = i;
        if (record_type(r) == type) return true;
        reply_error(x->reply, ERR_WRONGTYPE);
        return false;
    }
    return true;
}

bool mpop_find_or_wait(struct exec *x, const struct mpop_args *args, enum value_type type,
                       uint32_t *place_out)
{
    struct mpop_args now = *args;
    exec_wait_keys(x, &now.first, &now.keys);
    if (!mpop_find(x, &now, type, place_out)) return false;
    if (*place_out != 0) return true;
    if (!exec_wait(x, type, now.first, now.keys)) reply_null_array(x->reply);
    return false;
}
