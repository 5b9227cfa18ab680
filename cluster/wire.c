/* The walk before unpacking, and the copy between protobuf-c's structs and ours.
 *
 * The walk (scan_message) is guided by the same table as the copy. It needs no memory, and its depth is
 * that of the table: WIRE_DEPTH_MAX bounds it even if a table were made that contains itself. */
#include "cluster/wire.h"

#include <protobuf-c/protobuf-c.h>

#include "shard/base/assert.h"
#include "shard/base/limits.h"

/* ---- pool */

struct wire_block {
    struct wire_block *older;
    size_t bytes;
};
#define BLOCK_BYTES_LEAST 8192u

void wire_pool_init(struct wire_pool *p)
{
    p->blocks = NULL;
    p->next = p->first;
    p->end = p->first + sizeof p->first;
    p->failed = false;
}

void wire_pool_free(struct wire_pool *p)
{
    while (p->blocks != NULL) {
        struct wire_block *b = p->blocks;
        p->blocks = b->older;
        mem_free(MEM_CLUSTER, b, b->bytes);
    }
}

void *wire_pool_alloc(struct wire_pool *p, size_t bytes)
{
    size_t n = (bytes + 15) & ~(size_t)15;
    if ((size_t)(p->end - p->next) < n) {
        size_t head = (sizeof(struct wire_block) + 15) & ~(size_t)15;
        size_t size = head + n < BLOCK_BYTES_LEAST ? BLOCK_BYTES_LEAST : head + n;
        struct wire_block *b = mem_try_alloc(MEM_CLUSTER, size);
        if (b == NULL) {
            p->failed = true;
            return NULL;
        }
        *b = (struct wire_block){.older = p->blocks, .bytes = size};
        p->blocks = b;
        p->next = (uint8_t *)b + head;
        p->end = (uint8_t *)b + size;
    }
    void *block = p->next;
    p->next += n;
    return block;
}

static void *pool_alloc_for_unpack(void *pool, size_t bytes)
{
    return wire_pool_alloc(pool, bytes);
}

static void pool_free_for_unpack(void *pool, void *p)
{
    (void)pool;
    (void)p; /* with the whole pool */
}

/* ---- the walk before unpacking */

struct scan {
    const uint8_t *next, *end;
    const char *why;
};

static bool scan_fail(struct scan *s, const char *why)
{
    s->why = why;
    return false;
}

static bool scan_varint(struct scan *s, uint64_t *out)
{
    uint64_t v = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
        if (s->next == s->end) return scan_fail(s, "ends inside a number");
        uint8_t byte = *s->next++;
        if (shift == 63 && byte > 1) return scan_fail(s, "a number over 64 bits");
        v |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = v;
            return true;
        }
    }
    return scan_fail(s, "a number over 64 bits");
}

static uint64_t value_max(enum wire_kind kind)
{
    switch (kind) {
    case WIRE_BOOL:
        return 1;
    case WIRE_U8:
        return UINT8_MAX;
    case WIRE_U16:
        return UINT16_MAX;
    case WIRE_U32:
        return UINT32_MAX;
    case WIRE_U64:
        return UINT64_MAX;
    case WIRE_FIXED:
    case WIRE_BYTES:
    case WIRE_ONE:
    case WIRE_MANY:
        break;
    }
    return 0; /* counted in bytes, see is_number */
}

static bool is_number(enum wire_kind kind)
{
    return value_max(kind) != 0;
}

static bool scan_message(struct scan *s, const struct wire_type *type, uint32_t depth);

/* The bytes of one field that is counted in bytes. */
static bool scan_counted(struct scan *s, const struct wire_field *f, uint32_t depth)
{
    uint64_t len = 0;
    if (!scan_varint(s, &len)) return false;
    if (len > (uint64_t)(s->end - s->next)) return scan_fail(s, "ends inside a field");
    struct scan inner = {.next = s->next, .end = s->next + len};
    s->next += len;
    if (f->kind == WIRE_FIXED && len != 0 && len != f->size)
        return scan_fail(s, "an id of the wrong length");
    if (f->kind == WIRE_ONE || f->kind == WIRE_MANY) {
        if (!scan_message(&inner, f->sub, depth + 1)) return scan_fail(s, inner.why);
    }
    return true;
}

static bool scan_field(struct scan *s, const struct wire_type *type, uint32_t *seen, uint32_t depth)
{
    uint64_t tag = 0;
    if (!scan_varint(s, &tag)) return false;
    if (tag >> 3 == 0 || tag >> 3 > INT32_MAX) return scan_fail(s, "no such field number");
    const ProtobufCFieldDescriptor *d =
        protobuf_c_message_descriptor_get_field(type->descriptor, (unsigned)(tag >> 3));
    if (d == NULL) return scan_fail(s, "a field that is not known");
    uint32_t index = (uint32_t)(d - type->descriptor->fields);
    const struct wire_field *f = &type->fields[index];
    bool number = is_number(f->kind);
    if ((tag & 7) != (number ? 0u : 2u)) return scan_fail(s, "a field of another type");
    if (++seen[index] > (f->kind == WIRE_MANY ? f->max : 1))
        return scan_fail(s, f->kind == WIRE_MANY ? "too many of one field" : "a field twice");
    if (!number) return scan_counted(s, f, depth);
    uint64_t value = 0;
    if (!scan_varint(s, &value)) return false;
    return value <= value_max(f->kind) || scan_fail(s, "a number out of range");
}

static bool scan_message(struct scan *s, const struct wire_type *type, uint32_t depth)
{
    uint32_t seen[WIRE_FIELDS_MAX] = {0};
    assert(type->fields_count <= WIRE_FIELDS_MAX);
    assert(type->fields_count == type->descriptor->n_fields);
    if (depth >= WIRE_DEPTH_MAX) return scan_fail(s, "messages nested too deep");
    while (s->next < s->end)
        if (!scan_field(s, type, seen, depth)) return false;
    return true;
}

/* ---- from protobuf-c's structs to ours */

static enum rc copy_in(const struct wire_type *type, const ProtobufCMessage *message,
                       struct wire_pool *pool, uint8_t *out);

static enum rc copy_in_many(const struct wire_field *f, const ProtobufCFieldDescriptor *d,
                            const uint8_t *message, struct wire_pool *pool, uint8_t *out)
{
    size_t count = 0;
    ProtobufCMessage *const *messages = NULL;
    memcpy(&count, message + d->quantifier_offset, sizeof count);
    memcpy(&messages, message + d->offset, sizeof messages);
    uint8_t *array = NULL;
    if (count > 0) {
        array = wire_pool_alloc(pool, count * f->sub->struct_bytes);
        if (array == NULL) return RC_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        enum rc rc = copy_in(f->sub, messages[i], pool, array + i * f->sub->struct_bytes);
        if (rc != RC_OK) return rc;
    }
    uint32_t count32 = (uint32_t)count;
    memcpy(out + f->offset, &array, sizeof array);
    memcpy(out + f->count_offset, &count32, sizeof count32);
    return RC_OK;
}

static void copy_in_bytes(const struct wire_field *f, const uint8_t *from, uint8_t *to)
{
    ProtobufCBinaryData data;
    memcpy(&data, from, sizeof data);
    if (f->kind == WIRE_BYTES) {
        struct bytes view = bytes_view(data.data, data.len);
        memcpy(to, &view, sizeof view);
    } else if (data.len != 0) {
        memcpy(to, data.data, f->size);
    }
}

static enum rc copy_in_field(const struct wire_field *f, const ProtobufCFieldDescriptor *d,
                             const uint8_t *message, struct wire_pool *pool, uint8_t *out)
{
    const uint8_t *from = message + d->offset;
    uint8_t *to = out + f->offset;
    const ProtobufCMessage *sub = NULL;
    uint32_t u32 = 0;
    protobuf_c_boolean truth = 0;
    switch (f->kind) {
    case WIRE_U8:
    case WIRE_U16:
        memcpy(&u32, from, sizeof u32);
        if (f->kind == WIRE_U8) {
            *to = (uint8_t)u32;
        } else {
            uint16_t u16 = (uint16_t)u32;
            memcpy(to, &u16, sizeof u16);
        }
        break;
    case WIRE_U32:
        memcpy(to, from, sizeof(uint32_t));
        break;
    case WIRE_U64:
        memcpy(to, from, sizeof(uint64_t));
        break;
    case WIRE_BOOL:
        memcpy(&truth, from, sizeof truth);
        *to = truth != 0;
        break;
    case WIRE_FIXED:
    case WIRE_BYTES:
        copy_in_bytes(f, from, to);
        break;
    case WIRE_ONE:
        memcpy(&sub, from, sizeof sub);
        if (sub != NULL) return copy_in(f->sub, sub, pool, to);
        break;
    case WIRE_MANY:
        return copy_in_many(f, d, message, pool, out);
    }
    return RC_OK;
}

static enum rc copy_in(const struct wire_type *type, const ProtobufCMessage *message,
                       struct wire_pool *pool, uint8_t *out)
{
    memset(out, 0, type->struct_bytes);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        enum rc rc = copy_in_field(&type->fields[i], &type->descriptor->fields[i],
                                   (const uint8_t *)message, pool, out);
        if (rc != RC_OK) return rc;
    }
    return RC_OK;
}

enum rc wire_decode(const struct wire_type *type, struct bytes in, struct wire_pool *pool,
                    void *out, const char **why_out)
{
    if (in.len == 0) { /* and perhaps no data at all */
        memset(out, 0, type->struct_bytes);
        return RC_OK;
    }
    if (in.len > WIRE_MESSAGE_BYTES_MAX) {
        *why_out = "a message over the size limit";
        return RC_INVALID;
    }
    struct scan s = {.next = in.data, .end = in.data + in.len};
    if (!scan_message(&s, type, 0)) {
        *why_out = s.why;
        return RC_INVALID;
    }
    ProtobufCAllocator allocator = {
        .alloc = pool_alloc_for_unpack, .free = pool_free_for_unpack, .allocator_data = pool};
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type->descriptor, &allocator, in.len, in.data);
    if (message == NULL) {
        *why_out = "protobuf-c refuses it";
        return pool->failed ? RC_NOMEM : RC_INVALID;
    }
    return copy_in(type, message, pool, out);
}

/* ---- from our structs to protobuf-c's */

static ProtobufCMessage *copy_out(const struct wire_type *type, const uint8_t *in,
                                  struct wire_pool *pool);

static bool copy_out_many(const struct wire_field *f, const ProtobufCFieldDescriptor *d,
                          const uint8_t *in, struct wire_pool *pool, uint8_t *message)
{
    const uint8_t *array = NULL;
    uint32_t count = 0;
    memcpy(&array, in + f->offset, sizeof array);
    memcpy(&count, in + f->count_offset, sizeof count);
    assert(count <= f->max);
    size_t n = count;
    ProtobufCMessage **messages = NULL;
    if (n > 0) {
        messages = wire_pool_alloc(pool, n * sizeof *messages);
        if (messages == NULL) return false;
    }
    for (size_t i = 0; i < n; i++) {
        messages[i] = copy_out(f->sub, array + i * f->sub->struct_bytes, pool);
        if (messages[i] == NULL) return false;
    }
    memcpy(message + d->quantifier_offset, &n, sizeof n);
    memcpy(message + d->offset, &messages, sizeof messages);
    return true;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0) return false;
    return true;
}

static void copy_out_bytes(const struct wire_field *f, const uint8_t *from, uint8_t *to)
{
    struct bytes view = bytes_view(NULL, 0);
    if (f->kind == WIRE_BYTES)
        memcpy(&view, from, sizeof view);
    else if (!all_zero(from, f->size))
        view = bytes_view(from, f->size);
    ProtobufCBinaryData data = {.len = view.len};
    memcpy(&data.data, &view.data, sizeof data.data); /* it only reads them */
    memcpy(to, &data, sizeof data);
}

static bool copy_out_field(const struct wire_field *f, const ProtobufCFieldDescriptor *d,
                           const uint8_t *in, struct wire_pool *pool, uint8_t *message)
{
    const uint8_t *from = in + f->offset;
    uint8_t *to = message + d->offset;
    ProtobufCMessage *sub = NULL;
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    protobuf_c_boolean truth = 0;
    switch (f->kind) {
    case WIRE_U8:
    case WIRE_U16:
        memcpy(&u16, from, f->kind == WIRE_U8 ? 1 : 2);
        u32 = u16;
        memcpy(to, &u32, sizeof u32);
        break;
    case WIRE_U32:
        memcpy(to, from, sizeof(uint32_t));
        break;
    case WIRE_U64:
        memcpy(to, from, sizeof(uint64_t));
        break;
    case WIRE_BOOL:
        truth = *from != 0;
        memcpy(to, &truth, sizeof truth);
        break;
    case WIRE_FIXED:
    case WIRE_BYTES:
        copy_out_bytes(f, from, to);
        break;
    case WIRE_ONE:
        sub = copy_out(f->sub, from, pool);
        if (sub == NULL) return false;
        memcpy(to, &sub, sizeof sub);
        break;
    case WIRE_MANY:
        return copy_out_many(f, d, in, pool, message);
    }
    return true;
}

static ProtobufCMessage *copy_out(const struct wire_type *type, const uint8_t *in,
                                  struct wire_pool *pool)
{
    ProtobufCMessage *message = wire_pool_alloc(pool, type->descriptor->sizeof_message);
    if (message == NULL) return NULL;
    protobuf_c_message_init(type->descriptor, message);
    for (uint32_t i = 0; i < type->fields_count; i++)
        if (!copy_out_field(&type->fields[i], &type->descriptor->fields[i], in, pool,
                            (uint8_t *)message))
            return NULL;
    return message;
}

enum rc wire_encode(const struct wire_type *type, const void *in, struct buf *out)
{
    struct wire_pool pool;
    wire_pool_init(&pool);
    enum rc rc = RC_NOMEM;
    size_t bytes = 0;
    const ProtobufCMessage *message = copy_out(type, in, &pool);
    if (message == NULL) goto out_free;
    bytes = protobuf_c_message_get_packed_size(message);
    if (bytes > 0) { /* a message of zeros has no bytes, and out perhaps no memory */
        if (!buf_try_room(out, bytes)) goto out_free;
        out->len += protobuf_c_message_pack(message, out->data + out->len);
    }
    rc = RC_OK;
out_free:
    wire_pool_free(&pool);
    return rc;
}

/* ---- tables against descriptors */

static bool field_fits(const struct wire_field *f, const ProtobufCFieldDescriptor *d)
{
    if (strcmp(f->name, d->name) != 0) return false;
    bool repeated = d->label == PROTOBUF_C_LABEL_REPEATED;
    if (repeated != (f->kind == WIRE_MANY)) return false;
    switch (f->kind) {
    case WIRE_U8:
    case WIRE_U16:
    case WIRE_U32:
        return d->type == PROTOBUF_C_TYPE_UINT32;
    case WIRE_U64:
        return d->type == PROTOBUF_C_TYPE_UINT64;
    case WIRE_BOOL:
        return d->type == PROTOBUF_C_TYPE_BOOL;
    case WIRE_FIXED:
    case WIRE_BYTES:
        return d->type == PROTOBUF_C_TYPE_BYTES;
    case WIRE_ONE:
    case WIRE_MANY:
        return d->type == PROTOBUF_C_TYPE_MESSAGE && d->descriptor == f->sub->descriptor;
    }
    return false;
}

const char *wire_type_check(const struct wire_type *type)
{
    if (type->fields_count != type->descriptor->n_fields) return "(their number)";
    for (uint32_t i = 0; i < type->fields_count; i++)
        if (!field_fits(&type->fields[i], &type->descriptor->fields[i]))
            return type->fields[i].name;
    return NULL;
}
