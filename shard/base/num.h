/* shard/base/num.h: numbers to and from text, byte for byte as Redis 7.4 does it. */
#ifndef MOON_BASE_NUM_H
#define MOON_BASE_NUM_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

#define NUM_I64_TEXT_MAX 21 /* "-9223372036854775808" and a NUL */
#define NUM_DOUBLE_TEXT_MAX 32
#define NUM_LDOUBLE_TEXT_MAX 5120 /* humanfriendly long double: up to 4933 digits */

/* Strict, as Redis string2ll: no spaces, no '+', no leading zeros but "0", "-0" refused. */
MUST_CHECK bool num_parse_i64(struct bytes text, int64_t *out);
MUST_CHECK bool num_parse_u64(struct bytes text, uint64_t *out);
/* As Redis string2d / getDoubleFromObject: strtod's forms, "inf", "+inf", "-inf", "infinity";
 * no leading space, no trailing junk, NaN refused. */
MUST_CHECK bool num_parse_double(struct bytes text, double *out);
/* As Redis string2ld for INCRBYFLOAT. */
MUST_CHECK bool num_parse_ldouble(struct bytes text, long double *out);
/* Return the length written, no NUL. */
size_t num_format_i64(char *out, int64_t v);
size_t num_format_u64(char *out, uint64_t v);
/* d2string of 7.2+: text that reads back equal, shortest but for one double in a thousand (see
 * num_shortest.c); "inf", "-inf", "nan", "-0"; integers up to 2^62 in full. Shapes: top of num.c. */
size_t num_format_double(char *out, double v);
/* ld2string LD_STR_HUMAN: "%.17Lf", trailing zeros cut, "-0" becomes "0". 0 if it does not fit. */
size_t num_format_ldouble(char *out, size_t cap, long double v);
size_t num_digits_u64(uint64_t v);
/* Redis memory sizes: "100", "1k"=1000, "1kb"=1024, m, mb, g, gb, t, tb, any case. */
MUST_CHECK bool num_parse_size(struct bytes text, uint64_t *out);

#endif
