/* cluster/wire.h: protobuf messages to and from plain C structs, by tables that name the fields of both.
 * This room alone knows protobuf-c; what others see are structs.
 *
 * Nothing is unpacked before a walk over the bytes has found it in order: sizes, nesting, how often a
 * field repeats, values that fit, no field that is not known and no single field twice. So a message has
 * one meaning here and in every other program of its feature level, and costs memory in proportion to
 * what its tables allow, not to what its bytes ask for. */
#ifndef MOON_CLUSTER_WIRE_H
#define MOON_CLUSTER_WIRE_H

#include "shard/base/buf.h"
#include "shard/base/rc.h"

struct ProtobufCMessageDescriptor;

enum wire_kind {
    WIRE_U8,    /* uint8_t  <- uint32 */
    WIRE_U16,   /* uint16_t <- uint32 */
    WIRE_U32,   /* uint32_t <- uint32 */
    WIRE_U64,   /* uint64_t <- uint64 */
    WIRE_BOOL,  /* bool     <- bool */
    WIRE_FIXED, /* an array or struct of `size` bytes <- bytes: as many, or none for all zeros */
    WIRE_BYTES, /* struct bytes <- bytes */
    WIRE_ONE,   /* a struct inside <- a message; absent: all zeros */
    WIRE_MANY,  /* a pointer and a uint32_t count <- repeated messages, at most `max` */
};

struct wire_field {
    const char *name; /* of the message's field, in rising order of their numbers */
    enum wire_kind kind;
    uint16_t offset, count_offset;
    uint32_t size, max;
    const struct wire_type *sub;
};

struct wire_type {
    const struct ProtobufCMessageDescriptor *descriptor;
    const struct wire_field *fields;
    uint32_t fields_count, struct_bytes;
};

/* Memory of what was decoded: freed at once. Small messages need no allocation. */
struct wire_block;
struct wire_pool {
    struct wire_block *blocks;
    uint8_t *next, *end;
    bool failed; /* an allocation did */
    _Alignas(16) uint8_t first[2048];
};
void wire_pool_init(struct wire_pool *p); /* p stays where it is */
void wire_pool_free(struct wire_pool *p);
/* 16-byte aligned, uninitialised; NULL: out of memory. */
MUST_CHECK void *wire_pool_alloc(struct wire_pool *p, size_t bytes);

/* Into `out` (type->struct_bytes); pointers in it live as long as the pool. RC_INVALID: not such a
 * message, *why_out says why (static text). RC_NOMEM. */
MUST_CHECK enum rc wire_decode(const struct wire_type *type, struct bytes in,
                               struct wire_pool *pool, void *out, const char **why_out);
/* Appends the one encoding of a struct. RC_NOMEM: nothing was appended. */
MUST_CHECK enum rc wire_encode(const struct wire_type *type, const void *in, struct buf *out);

/* Whether a table fits its descriptor: for tests. NULL, or the name of the first field that does not. */
const char *wire_type_check(const struct wire_type *type);

#endif
