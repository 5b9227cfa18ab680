/* shard/base/num_shortest.c: Grisu2 (Loitsch, "Printing Floating-Point Numbers Quickly and
 * Accurately with Integers", PLDI 2010).
 *
 * The numbers that read back as v lie between the midpoints to its two neighbours. All three are
 * scaled by a power of ten that brings their binary exponent into SCALED_EXP_MIN..MAX; then the
 * digits of the upper midpoint are produced until the rest is so small that what stands there is
 * inside the interval, and the last digit is moved as near to v as the interval allows.
 *
 * Why Grisu2 and not an algorithm that always finds the shortest digits: for one double in a
 * thousand 64-bit scaling is too coarse to prove the shortest text and Grisu2 gives one digit more.
 * Redis prints those digits, and clients see them. So also the choice of the scaling power, where
 * two would do, and the narrowing by one unit at each end are as in the library Redis uses. */
#include "shard/base/num_priv.h"

#include <stdint.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/attr.h"

#define FRACTION_BITS 52
#define HIDDEN_BIT ((uint64_t)1 << FRACTION_BITS)
#define EXPONENT_BIAS (1023 + FRACTION_BITS)

#define SCALED_EXP_MIN (-60)
#define SCALED_EXP_MAX (-32)

#define POWER_FIRST (-348)
#define POWER_STEP 8

/* value = frac * 2^exp */
struct scaled {
    uint64_t frac;
    int exp;
};

/* The upper 64 bits of 10^(POWER_FIRST + i * POWER_STEP), rounded to nearest. */
static const uint64_t power_fracs[] = {
    0xfa8fd5a0081c0288, 0xbaaee17fa23ebf76, 0x8b16fb203055ac76, 0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d, 0xe61acf033d1a45df, 0xab70fe17c79ac6ca, 0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c, 0x8dd01fad907ffc3c, 0xd3515c2831559a83, 0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb, 0xaecc49914078536d, 0x823c12795db6ce57, 0xc21094364dfb5637,
    0x9096ea6f3848984f, 0xd77485cb25823ac7, 0xa086cfcd97bf97f4, 0xef340a98172aace5,
    0xb23867fb2a35b28e, 0x84c8d4dfd2c63f3b, 0xc5dd44271ad3cdba, 0x936b9fcebb25c996,
    0xdbac6c247d62a584, 0xa3ab66580d5fdaf6, 0xf3e2f893dec3f126, 0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b, 0xc9bcff6034c13053, 0x964e858c91ba2655, 0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f, 0xf8a95fcf88747d94, 0xb94470938fa89bcf, 0x8a08f0f8bf0f156b,
    0xcdb02555653131b6, 0x993fe2c6d07b7fac, 0xe45c10c42a2b3b06, 0xaa242499697392d3,
    0xfd87b5f28300ca0e, 0xbce5086492111aeb, 0x8cbccc096f5088cc, 0xd1b71758e219652c,
    0x9c40000000000000, 0xe8d4a51000000000, 0xad78ebc5ac620000, 0x813f3978f8940984,
    0xc097ce7bc90715b3, 0x8f7e32ce7bea5c70, 0xd5d238a4abe98068, 0x9f4f2726179a2245,
    0xed63a231d4c4fb27, 0xb0de65388cc8ada8, 0x83c7088e1aab65db, 0xc45d1df942711d9a,
    0x924d692ca61be758, 0xda01ee641a708dea, 0xa26da3999aef774a, 0xf209787bb47d6b85,
    0xb454e4a179dd1877, 0x865b86925b9bc5c2, 0xc83553c5c8965d3d, 0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3, 0xa59bc234db398c25, 0xf6c69a72a3989f5c, 0xb7dcbf5354e9bece,
    0x88fcf317f22241e2, 0xcc20ce9bd35c78a5, 0x98165af37b2153df, 0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396, 0xfb9b7cd9a4a7443c, 0xbb764c4ca7a44410, 0x8bab8eefb6409c1a,
    0xd01fef10a657842c, 0x9b10a4e5e9913129, 0xe7109bfba19c0c9d, 0xac2820d9623bf429,
    0x80444b5e7aa7cf85, 0xbf21e44003acdd2d, 0x8e679c2f5e44ff8f, 0xd433179d9c8cb841,
    0x9e19db92b4e31ba9, 0xeb96bf6ebadf77d9, 0xaf87023b9bf0ee6b,
};

/* The exponent belonging to power_fracs: floor(log2(10^power)) - 63. */
static int power_exp(int power)
{
    return (int)(((int64_t)power * 217706) >> 16) - 63;
}

static struct scaled times(struct scaled a, struct scaled b)
{
    unsigned __int128 product = (unsigned __int128)a.frac * b.frac + ((unsigned __int128)1 << 63);
    return (struct scaled){.frac = (uint64_t)(product >> 64), .exp = a.exp + b.exp + 64};
}

static struct scaled normalized(struct scaled v)
{
    int shift = __builtin_clzll(v.frac);
    return (struct scaled){.frac = v.frac << shift, .exp = v.exp - shift};
}

static struct scaled of_double(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint64_t frac = bits & (HIDDEN_BIT - 1);
    int exp = (int)(bits >> FRACTION_BITS & 0x7ff);
    if (exp == 0) return (struct scaled){.frac = frac, .exp = 1 - EXPONENT_BIAS};
    return (struct scaled){.frac = frac | HIDDEN_BIT, .exp = exp - EXPONENT_BIAS};
}

/* The cached power that brings `exp` into the window. The first guess decides where two would do. */
static struct scaled power_for(int exp, int *power_out)
{
    const int count = (int)COUNT_OF(power_fracs);
    int guess = (int)(-(exp + count) * 0.30102999566398114);
    int index = (guess - POWER_FIRST) / POWER_STEP;
    for (;;) {
        assert(index >= 0);
        assert(index < count);
        int power = POWER_FIRST + index * POWER_STEP;
        int result_exp = exp + power_exp(power) + 64;
        if (result_exp >= SCALED_EXP_MIN && result_exp <= SCALED_EXP_MAX) {
            *power_out = power;
            return (struct scaled){.frac = power_fracs[index], .exp = power_exp(power)};
        }
        index += result_exp < SCALED_EXP_MIN ? 1 : -1;
    }
}

/* What is left of the interval while digits are produced; all in units of 2^exp. */
struct rest {
    uint64_t width;    /* upper - lower */
    uint64_t to_value; /* upper - v */
    uint64_t gone;     /* upper - what the digits say so far */
};

/* Lowers the last digit, worth `unit`, while that brings the text nearer to v inside the interval. */
static void move_last_digit(char *last, struct rest r, uint64_t unit)
{
    while (r.gone < r.to_value && r.width - r.gone >= unit &&
           (r.gone + unit < r.to_value || r.to_value - r.gone > r.gone + unit - r.to_value)) {
        (*last)--;
        r.gone += unit;
    }
}

/* Digits of upper until the interval is reached. Returns their count; *drop_out is how many decimal
 * places of the scaled number they leave out (negative: how many they go behind its point). */
static size_t produce(struct scaled upper, struct rest r, char *digits, int *drop_out)
{
    int point = -upper.exp; /* binary digits behind the point */
    uint64_t one = (uint64_t)1 << point;
    uint32_t whole = (uint32_t)(upper.frac >> point); /* point >= 32: it fits */
    uint64_t part = upper.frac & (one - 1);
    size_t n = 0;
    int places = 10;
    for (uint32_t unit = 1000000000; unit > 0; unit /= 10) {
        uint32_t digit = whole / unit;
        if (digit != 0 || n != 0) digits[n++] = (char)('0' + digit);
        whole -= digit * unit;
        places--;
        r.gone = ((uint64_t)whole << point) + part;
        if (r.gone <= r.width) {
            *drop_out = places;
            move_last_digit(&digits[n - 1], r, (uint64_t)unit << point);
            return n;
        }
    }
    uint64_t to_value = r.to_value; /* of the places behind the point: ten times more each */
    for (;;) {
        part *= 10;
        r.width *= 10;
        to_value *= 10;
        places--;
        uint64_t digit = part >> point;
        if (digit != 0 || n != 0) digits[n++] = (char)('0' + digit);
        assert(n < NUM__DIGITS_MAX);
        part &= one - 1;
        if (part < r.width) {
            *drop_out = places;
            r.gone = part;
            r.to_value = to_value;
            move_last_digit(&digits[n - 1], r, one);
            return n;
        }
    }
}

size_t num__shortest(double v, char digits[NUM__DIGITS_MAX], int *power_out)
{
    struct scaled w = of_double(v);
    assert(w.frac != 0);
    /* Below a power of two the doubles lie twice as close. */
    int lower_shift = w.frac == HIDDEN_BIT ? 2 : 1;
    struct scaled upper = normalized((struct scaled){(w.frac << 1) + 1, w.exp - 1});
    struct scaled lower = {(w.frac << lower_shift) - 1, w.exp - lower_shift};
    lower.frac <<= lower.exp - upper.exp;
    lower.exp = upper.exp;
    w = normalized(w);

    int power;
    struct scaled ten = power_for(upper.exp, &power);
    w = times(w, ten);
    upper = times(upper, ten);
    lower = times(lower, ten);
    upper.frac--; /* each product may be off by one: stay inside */
    lower.frac++;

    struct rest r = {.width = upper.frac - lower.frac, .to_value = upper.frac - w.frac};
    int drop;
    size_t n = produce(upper, r, digits, &drop);
    *power_out = drop - power;
    return n;
}
