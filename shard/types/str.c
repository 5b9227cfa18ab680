/* shard/types/str.c: strings: an integer in 8 inline bytes, or the bytes themselves as a blob. embstr
 * and raw differ only in what OBJECT ENCODING says: as in Redis, SET of up to 44 bytes gives embstr,
 * and whatever was changed in place (APPEND, SETRANGE) is raw. */
#include "shard/types/str.h"

#include "shard/base/assert.h"

#define EMBSTR_BYTES_MAX 44u
#define INT_TEXT_MAX 20u /* longer texts are not worth the attempt: no integer has them */

struct form {
    enum value_encoding encoding;
    struct bytes bytes; /* to be stored; those of an int lie in `v` */
    int64_t v;
};

static void form_of(struct bytes value, struct form *out)
{
    out->encoding = value.len <= EMBSTR_BYTES_MAX ? ENC_EMBSTR : ENC_RAW;
    out->bytes = value;
    if (value.len > INT_TEXT_MAX || !num_parse_i64(value, &out->v)) return;
    out->encoding = ENC_INT;
    out->bytes = bytes_view(&out->v, sizeof out->v);
}

static int64_t int_of(const struct record *r)
{
    struct bytes stored = record_blob(r);
    int64_t v;
    assert(stored.len == sizeof v);
    memcpy(&v, stored.data, sizeof v);
    return v;
}

static uint8_t *blob_bytes(const struct record *r)
{
    return (uint8_t *)(uintptr_t)record_blob(r).data;
}

struct record *str_try_new(struct bytes key, struct bytes value, int64_t expire_ms)
{
    struct form form;
    form_of(value, &form);
    return record_try_new_blob(key, VALUE_STRING, form.encoding, form.bytes, expire_ms);
}

/* Same layout and same size class: nothing needs to move. */
static bool set_in_place(struct record *r, const struct form *form, int64_t expire_ms)
{
    size_t len = form->bytes.len;
    bool expires = expire_ms != -1;
    if (record_type(r) != VALUE_STRING || !(r->flags & RECORD_EXPIRES) != !expires) return false;
    struct bytes key = record_key(r);
    bool fits = record_fits_inline(key.len, len, expires);
    if (r->flags & RECORD_OUT) {
        struct record_out *o = record_out(r);
        if (fits || slab_good_size(len) != o->cap) return false;
        o->len = (uint32_t)len;
    } else {
        size_t head = (size_t)(key.data - (const uint8_t *)r) + key.len;
        if (!fits || slab_good_size(head + len) != record_block_bytes(r)) return false;
        r->value_len = (uint16_t)len;
    }
    record_set_kind(r, VALUE_STRING, form->encoding);
    if (expires) memcpy((uint8_t *)r + 8, &expire_ms, sizeof expire_ms);
    if (len > 0) memcpy(blob_bytes(r), form->bytes.data, len);
    return true;
}

static bool set_form(struct record **r, const struct form *form, int64_t expire_ms)
{
    if (set_in_place(*r, form, expire_ms)) return true;
    struct record *n =
        record_try_new_blob(record_key(*r), VALUE_STRING, form->encoding, form->bytes, expire_ms);
    if (n == NULL) return false;
    memcpy(n->lru, (*r)->lru, sizeof n->lru);
    record_free(*r);
    *r = n;
    return true;
}

bool str_try_set(struct record **r, struct bytes value, int64_t expire_ms)
{
    struct form form;
    form_of(value, &form);
    return set_form(r, &form, expire_ms);
}

bool str_try_set_text(struct record **r, struct bytes value)
{
    struct form form = {.encoding = value.len <= EMBSTR_BYTES_MAX ? ENC_EMBSTR : ENC_RAW,
                        .bytes = value};
    return set_form(r, &form, record_expire_ms(*r));
}

bool str_try_set_int(struct record **r, int64_t v)
{
    assert(record_type(*r) == VALUE_STRING);
    if (record_encoding(*r) != ENC_INT) {
        if (!record_try_resize_blob(r, sizeof v)) return false;
        record_set_kind(*r, VALUE_STRING, ENC_INT);
    }
    memcpy(blob_bytes(*r), &v, sizeof v);
    return true;
}

struct bytes str_view(const struct record *r, char tmp[NUM_I64_TEXT_MAX])
{
    assert(record_type(r) == VALUE_STRING);
    if (record_encoding(r) != ENC_INT) return record_blob(r);
    return bytes_view(tmp, num_format_i64(tmp, int_of(r)));
}

size_t str_len(const struct record *r)
{
    char tmp[NUM_I64_TEXT_MAX];
    return str_view(r, tmp).len;
}

bool str_get_int(const struct record *r, int64_t *out)
{
    assert(record_type(r) == VALUE_STRING);
    if (record_encoding(r) == ENC_INT) {
        *out = int_of(r);
        return true;
    }
    return num_parse_i64(record_blob(r), out);
}

/* Makes the value raw and len bytes long, its former text in front; the rest is the caller's to fill. */
static bool make_raw(struct record **r, uint32_t len)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes text = str_view(*r, tmp);
    bool was_int = record_encoding(*r) == ENC_INT;
    if (!record_try_resize_blob(r, len)) return false;
    record_set_kind(*r, VALUE_STRING, ENC_RAW);
    if (was_int) memcpy(blob_bytes(*r), text.data, text.len);
    return true;
}

bool str_try_append(struct record **r, struct bytes tail)
{
    size_t len = str_len(*r);
    assert(tail.len <= STRING_BYTES_MAX - len);
    if (!make_raw(r, (uint32_t)(len + tail.len))) return false;
    if (tail.len > 0) memcpy(blob_bytes(*r) + len, tail.data, tail.len);
    return true;
}

bool str_try_setrange(struct record **r, uint32_t offset, struct bytes part)
{
    size_t len = str_len(*r);
    assert(part.len <= STRING_BYTES_MAX - offset);
    size_t end = offset + part.len, total = end > len ? end : len;
    if (!make_raw(r, (uint32_t)total)) return false;
    if (offset > len) memset(blob_bytes(*r) + len, 0, offset - len);
    if (part.len > 0) memcpy(blob_bytes(*r) + offset, part.data, part.len);
    return true;
}
