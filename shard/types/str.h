/* shard/types/str.h: strings. Encodings: int (8 bytes inline), embstr (≤ 44 bytes, by SET), raw. */
#ifndef MOON_TYPES_STR_H
#define MOON_TYPES_STR_H

#include "shard/base/num.h"
#include "shard/types/record.h"

/* As SET stores it: int if the text is one (≤ 20 digits, canonical), embstr up to 44 bytes, else raw. */
MUST_CHECK struct record *str_try_new(struct bytes key, struct bytes value, int64_t expire_ms);
/* Overwrites the value in place where it fits, as SET; the expiry becomes expire_ms (-1: none). */
MUST_CHECK bool str_try_set(struct record **r, struct bytes value, int64_t expire_ms);
/* The text as it is, even if it reads as an integer: what INCRBYFLOAT leaves. Keeps the expiry. */
MUST_CHECK bool str_try_set_text(struct record **r, struct bytes value);
MUST_CHECK bool str_try_set_int(struct record **r, int64_t v); /* keeps the expiry */
/* The bytes; an integer is written into tmp. Borrowed until the record changes. */
struct bytes str_view(const struct record *r, char tmp[NUM_I64_TEXT_MAX]);
size_t str_len(const struct record *r);
/* As Redis: true if it is, or reads as, an integer. */
MUST_CHECK bool str_get_int(const struct record *r, int64_t *out);
/* APPEND and SETRANGE: result is raw. The caller checked the size limit. */
MUST_CHECK bool str_try_append(struct record **r, struct bytes tail);
MUST_CHECK bool str_try_setrange(struct record **r, uint32_t offset,
                                 struct bytes part); /* zero fills */

#endif
