#include "shard/cmd/scan_args.h"

bool scan_parse_cursor(struct exec *x, uint32_t i, uint64_t *cursor_out)
{
    if (num_parse_u64(x->argv[i], cursor_out)) return true;
    reply_error(x->reply, "ERR invalid cursor");
    return false;
}

/* COUNT's argument: a number, but a syntax error below 1. */
static bool parse_count(struct exec *x, uint32_t i, int64_t *count_out)
{
    if (!exec_arg_i64(x, i, count_out)) return false;
    if (*count_out >= 1) return true;
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

bool scan_parse_options(struct exec *x, uint32_t from, uint32_t allowed, struct scan_args *out)
{
    *out = (struct scan_args){.count = 10};
    for (uint32_t i = from; i < x->argc; i++) {
        struct bytes option = x->argv[i];
        bool has_value = i + 1 < x->argc;
        if (bytes_is(option, "COUNT") && has_value) {
            if (!parse_count(x, ++i, &out->count)) return false;
        } else if (bytes_is(option, "MATCH") && has_value) {
            out->pattern = x->argv[++i];
            out->matches = !bytes_equal(out->pattern, BYTES_LIT("*"));
        } else if (bytes_is(option, "TYPE") && has_value && (allowed & SCAN_TYPE)) {
            out->type = x->argv[++i];
        } else if (bytes_is(option, "NOVALUES")) {
            if (!(allowed & SCAN_NOVALUES)) {
                reply_error(x->reply, "ERR NOVALUES option can only be used in HSCAN");
                return false;
            }
            out->no_values = true;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void scan_reply_empty(struct exec *x)
{
    reply_array(x->reply, 2);
    reply_bulk(x->reply, BYTES_LIT("0"));
    reply_array(x->reply, 0);
}
