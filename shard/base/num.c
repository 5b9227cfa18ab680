/* shard/base/num.c: numbers and text.
 *
 * Doubles are written as Redis >= 7.2 does: integers up to 2^62 in full, everything else from the
 * shortest digits d1..dn and a power of ten K (value = d1..dn * 10^K), in one of three shapes:
 *
 *   K >= 0 and K <= 7                plain, K zeros behind          12300000
 *   K < 0 and (K > -7 or -4 < e < 4) plain with a point             0.000123
 *   else, e = K + n - 1              d1.d2..dn e sign exponent      1.23e+21, 1.5e-7
 */
#include "shard/base/num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/num_priv.h"

/* ---- integers */

bool num_parse_u64(struct bytes text, uint64_t *out)
{
    if (text.len == 0 || text.len > 20) return false;
    const uint8_t *p = text.data, *end = p + text.len;
    if (*p == '0' && text.len > 1) return false;
    uint64_t v = 0;
    for (; p != end; p++) {
        uint8_t digit = (uint8_t)(*p - '0');
        if (digit > 9) return false;
        if (__builtin_mul_overflow(v, 10u, &v)) return false;
        if (__builtin_add_overflow(v, digit, &v)) return false;
    }
    *out = v;
    return true;
}

bool num_parse_i64(struct bytes text, int64_t *out)
{
    if (text.len == 0 || text.len > 20) return false;
    bool negative = text.data[0] == '-';
    struct bytes digits = bytes_view(text.data + negative, text.len - negative);
    uint64_t v;
    if (!num_parse_u64(digits, &v)) return false;
    if (negative) {
        if (v == 0 || v > (uint64_t)INT64_MAX + 1) return false;
        *out = (int64_t)(0 - v);
        return true;
    }
    if (v > INT64_MAX) return false;
    *out = (int64_t)v;
    return true;
}

static const uint64_t powers_of_10[20] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
    1000000000000000000u,
    10000000000000000000u,
};

size_t num_digits_u64(uint64_t v)
{
    /* 1233 / 4096 is log10(2): a guess that is at most one too low. */
    size_t bits = 64 - (size_t)__builtin_clzll(v | 1);
    size_t guess = bits * 1233 >> 12;
    return guess + (v >= powers_of_10[guess] || guess == 0);
}

size_t num_format_u64(char *out, uint64_t v)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    size_t len = num_digits_u64(v);
    char *p = out + len;
    while (v >= 100) {
        p -= 2;
        memcpy(p, pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10)
        memcpy(out, pairs + v * 2, 2);
    else
        out[0] = (char)('0' + v);
    return len;
}

size_t num_format_i64(char *out, int64_t v)
{
    if (v >= 0) return num_format_u64(out, (uint64_t)v);
    out[0] = '-';
    return 1 + num_format_u64(out + 1, 0 - (uint64_t)v);
}

/* ---- doubles from text */

/* Both a 15-digit integer and a power of ten up to 10^22 are exact doubles, so one correctly rounded
 * division gives the right answer: most scores never reach strtod. */
static bool parse_short_decimal(struct bytes text, double *out)
{
    static const double tens[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    if (text.len == 0 || text.len > 17) return false;
    const uint8_t *p = text.data, *end = p + text.len, *point = NULL;
    bool negative = *p == '-';
    p += negative;
    uint64_t v = 0;
    size_t digits = 0;
    for (; p != end; p++) {
        if (*p == '.' && point == NULL) {
            point = p;
            continue;
        }
        uint8_t digit = (uint8_t)(*p - '0');
        if (digit > 9) return false;
        v = v * 10 + digit;
        digits++;
    }
    if (digits == 0 || digits > 15) return false;
    double d = (double)v;
    if (point != NULL) d /= tens[end - point - 1];
    *out = negative ? -d : d;
    return true;
}

/* strtod on a copy, because it wants a NUL. */
static bool parse_by_strtod(struct bytes text, char *copy, double *out)
{
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *stop;
    errno = 0;
    double v = strtod(copy, &stop);
    if ((size_t)(stop - copy) != text.len || isnan(v)) return false;
    if (errno == ERANGE && (isinf(v) || v == 0)) return false; /* denormals are welcome */
    *out = v;
    return true;
}

static COLD bool parse_long_double_text(struct bytes text, double *out)
{
    char copy[NUM_LDOUBLE_TEXT_MAX + 1];
    return text.len <= NUM_LDOUBLE_TEXT_MAX && parse_by_strtod(text, copy, out);
}

bool num_parse_double(struct bytes text, double *out)
{
    if (parse_short_decimal(text, out)) return true;
    if (text.len == 0 || isspace(text.data[0])) return false;
    char copy[64];
    if (text.len >= sizeof copy) return parse_long_double_text(text, out);
    return parse_by_strtod(text, copy, out);
}

bool num_parse_ldouble(struct bytes text, long double *out)
{
    if (text.len == 0 || isspace(text.data[0]) || text.len >= NUM_LDOUBLE_TEXT_MAX) return false;
    char copy[NUM_LDOUBLE_TEXT_MAX];
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *stop;
    errno = 0;
    long double v = strtold(copy, &stop);
    if ((size_t)(stop - copy) != text.len || isnan(v)) return false;
    if (errno == ERANGE && (isinf(v) || v == 0)) return false;
    *out = v;
    return true;
}

/* ---- doubles to text */

static size_t emit_exponent(char *out, const char *digits, size_t n, int exponent)
{
    size_t len = 0;
    out[len++] = digits[0];
    if (n > 1) {
        out[len++] = '.';
        memcpy(out + len, digits + 1, n - 1);
        len += n - 1;
    }
    out[len++] = 'e';
    out[len++] = exponent < 0 ? '-' : '+';
    return len + num_format_u64(out + len, (uint64_t)abs(exponent));
}

static size_t emit_point(char *out, const char *digits, size_t n, int power)
{
    int whole = (int)n + power; /* digits before the point */
    if (whole > 0) {
        memcpy(out, digits, (size_t)whole);
        out[whole] = '.';
        memcpy(out + whole + 1, digits + whole, n - (size_t)whole);
        return n + 1;
    }
    size_t zeros = (size_t)-whole;
    memcpy(out, "0.", 2);
    memset(out + 2, '0', zeros);
    memcpy(out + 2 + zeros, digits, n);
    return 2 + zeros + n;
}

static size_t format_positive(char *out, double v)
{
    char digits[NUM__DIGITS_MAX];
    int power;
    size_t n = num__shortest(v, digits, &power);
    int exponent = power + (int)n - 1;
    if (power >= 0 && power <= 7) {
        memcpy(out, digits, n);
        memset(out + n, '0', (size_t)power);
        return n + (size_t)power;
    }
    if (power < 0 && (power > -7 || abs(exponent) < 4)) return emit_point(out, digits, n, power);
    return emit_exponent(out, digits, n, exponent);
}

static size_t emit_text(char *out, const char *text)
{
    size_t len = strlen(text);
    memcpy(out, text, len);
    return len;
}

size_t num_format_double(char *out, double v)
{
    if (isnan(v)) return emit_text(out, "nan");
    if (isinf(v)) return emit_text(out, v < 0 ? "-inf" : "inf");
    if (v == 0) return emit_text(out, signbit(v) ? "-0" : "0");
    if (fabs(v) <= 0x1p62 && v == (double)(int64_t)v) return num_format_i64(out, (int64_t)v);
    if (v > 0) return format_positive(out, v);
    out[0] = '-';
    return 1 + format_positive(out + 1, -v);
}

size_t num_format_ldouble(char *out, size_t cap, long double v)
{
    if (isnan(v) || isinf(v)) {
        const char *text = isnan(v) ? "nan" : v < 0 ? "-inf" : "inf";
        return strlen(text) < cap ? emit_text(out, text) : 0;
    }
    int n = snprintf(out, cap, "%.17Lf", v);
    if (n <= 0 || (size_t)n >= cap) return 0;
    size_t len = (size_t)n; /* there is always a point */
    while (out[len - 1] == '0')
        len--;
    if (out[len - 1] == '.') len--;
    if (len == 2 && memcmp(out, "-0", 2) == 0) return emit_text(out, "0");
    return len;
}

/* ---- memory sizes */

bool num_parse_size(struct bytes text, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1000},
        {"kb", 1024},
        {"m", 1000u * 1000},
        {"mb", 1024u * 1024},
        {"g", 1000u * 1000 * 1000},
        {"gb", 1024u * 1024 * 1024},
        {"t", (uint64_t)1000 * 1000 * 1000 * 1000},
        {"tb", (uint64_t)1 << 40},
    };
    size_t digits = 0;
    uint64_t v = 0;
    for (; digits < text.len; digits++) {
        uint8_t digit = (uint8_t)(text.data[digits] - '0');
        if (digit > 9) break;
        if (__builtin_mul_overflow(v, 10u, &v)) return false;
        if (__builtin_add_overflow(v, digit, &v)) return false;
    }
    if (digits == 0) return false;
    struct bytes unit = bytes_view(text.data + digits, text.len - digits);
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (!bytes_is(unit, units[i].name)) continue;
        if (__builtin_mul_overflow(v, units[i].factor, &v)) return false;
        *out = v;
        return true;
    }
    return false;
}
