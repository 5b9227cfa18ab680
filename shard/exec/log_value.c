/* A whole value as ordinary effects: what RENAME, COPY and slot repair write to the log. Chunks stay small,
 * so that a value of any size is a group of small units. */
#include "shard/exec/core.h"
#include "shard/exec/exec_priv.h"
#include "shard/types/hash.h"
#include "shard/types/list.h"
#include "shard/types/set.h"
#include "shard/types/str.h"
#include "shard/types/zset.h"

#define CHUNK_ARGS 128u
#define CHUNK_BYTES (64u << 10)

/* Arguments gathered for one unit; texts of numbers are copied into scratch. */
struct chunk {
    struct exec *x;
    const struct change *c;
    enum opcode op;
    struct bytes args[CHUNK_ARGS + 3];
    uint32_t argc;
    size_t bytes;
    struct arena_mark mark; /* of the texts of this unit */
};

static void chunk_flush(struct chunk *k)
{
    if (k->argc > 1) exec_log(k->x, k->c, k->op, k->args, k->argc);
    arena_rewind(k->x->scratch, k->mark);
    k->argc = 1;
    k->bytes = 0;
}

static void chunk_add(struct chunk *k, struct bytes v, bool copy)
{
    if (copy) {
        uint8_t *own = arena_alloc(k->x->scratch, v.len + 1);
        memcpy(own, v.data, v.len);
        v.data = own;
    }
    k->args[k->argc++] = v;
    k->bytes += v.len;
}

static bool chunk_full(const struct chunk *k)
{
    return k->argc >= CHUNK_ARGS || k->bytes >= CHUNK_BYTES;
}

/* Views of packed integers point into tmp and die with the next element. */
static bool in_tmp(struct bytes v, const char *tmp)
{
    return (const char *)v.data >= tmp && (const char *)v.data < tmp + NUM_I64_TEXT_MAX;
}

static void log_list(struct chunk *k, const struct record *r)
{
    struct list_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes v;
    if (!list_iter_start(r, 0, 1, &it)) return;
    while (list_iter_next(&it, tmp, &v)) {
        chunk_add(k, v, in_tmp(v, tmp));
        if (chunk_full(k)) chunk_flush(k);
    }
}

static void log_set(struct chunk *k, const struct record *r)
{
    struct set_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes v;
    set_iter_start(r, &it);
    while (set_iter_next(&it, tmp, &v)) {
        chunk_add(k, v, in_tmp(v, tmp));
        if (chunk_full(k)) chunk_flush(k);
    }
}

static void log_hash(struct chunk *k, const struct record *r)
{
    struct hash_iter it;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    struct bytes f, v;
    hash_iter_start(r, &it);
    while (hash_iter_next(&it, tmp_f, tmp_v, &f, &v)) {
        chunk_add(k, f, in_tmp(f, tmp_f));
        chunk_add(k, v, in_tmp(v, tmp_v));
        if (chunk_full(k)) chunk_flush(k);
    }
}

static void log_zset(struct chunk *k, const struct record *r)
{
    struct zset_iter it;
    char tmp[NUM_I64_TEXT_MAX], score_text[NUM_DOUBLE_TEXT_MAX];
    struct bytes v;
    double score;
    zset_iter_start(r, 0, 1, &it);
    while (zset_iter_next(&it, tmp, &v, &score)) {
        chunk_add(k, bytes_view(score_text, num_format_double(score_text, score)), true);
        chunk_add(k, v, in_tmp(v, tmp));
        if (chunk_full(k)) chunk_flush(k);
    }
}

void exec_log_value(struct exec *x, const struct change *c)
{
    if (x->core->journal == NULL || x->replay) return;
    const struct record *r = c->e.record;
    char tmp[NUM_I64_TEXT_MAX], when[NUM_I64_TEXT_MAX];
    struct chunk k = {
        .x = x, .c = c, .args = {c->key.name}, .argc = 1, .mark = arena_mark(x->scratch)};
    switch (record_type(r)) {
    case VALUE_STRING:
        k.op = OP_SET;
        chunk_add(&k, str_view(r, tmp), false);
        break;
    case VALUE_LIST:
        k.op = OP_RPUSH;
        log_list(&k, r);
        break;
    case VALUE_SET:
        k.op = OP_SADD;
        log_set(&k, r);
        break;
    case VALUE_HASH:
        k.op = OP_HSET;
        log_hash(&k, r);
        break;
    case VALUE_ZSET:
        k.op = OP_ZADD;
        log_zset(&k, r);
        break;
    case VALUE_STREAM:
    case VALUE_NONE:
        assert(false);
    }
    chunk_flush(&k);
    int64_t expire_ms = record_expire_ms(r);
    if (expire_ms < 0) return;
    struct bytes args[2] = {c->key.name, bytes_view(when, num_format_i64(when, expire_ms))};
    exec_log(x, c, OP_PEXPIREAT, args, 2);
}

size_t exec_value_log_bytes_as(const struct record *r, struct bytes key)
{
    uint64_t elements = record_type(r) == VALUE_STRING ? 1 : value_len(r);
    size_t bytes = value_bytes(r);
    /* A unit is closed when it has enough arguments or enough bytes; the last one and the expiry's beside. */
    size_t units = elements / (CHUNK_ARGS / 2) + bytes / CHUNK_BYTES + 3;
    /* Elements as text take at most their stored bytes plus a number's digits and a count byte each. */
    return bytes + (size_t)elements * (NUM_DOUBLE_TEXT_MAX + NUM_I64_TEXT_MAX + 16) +
           EXEC_RESERVE_SLACK + units * (key.len + 32);
}

size_t exec_value_log_bytes(const struct record *r)
{
    return exec_value_log_bytes_as(r, record_key(r));
}
