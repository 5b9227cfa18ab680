/* The reference turns a pattern into a list of byte sets and stars and matches by a table of
 * (element, position): nothing in common with the matcher but the rules. */
#include "shard/base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shard/base/attr.h"
#include "shard/base/limits.h"
#include "shard/base/rng.h"

enum { ELEMENTS_MAX = 32, TEXT_MAX = 24 };
struct element {
    bool star;
    bool takes[256];
};

static int fold(int c, bool nocase)
{
    return nocase && c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static int as_char(uint8_t c)
{
    return c < 128 ? c : c - 256;
}

static void take_literal(struct element *e, uint8_t c, bool nocase)
{
    for (int b = 0; b < 256; b++)
        e->takes[b] |= fold(b, nocase) == fold(c, nocase);
}

static void take_range(struct element *e, uint8_t from, uint8_t to, bool nocase)
{
    int low = as_char(from) < as_char(to) ? as_char(from) : as_char(to);
    int high = as_char(from) < as_char(to) ? as_char(to) : as_char(from);
    for (int b = 0; b < 256; b++) {
        int c = fold(as_char((uint8_t)b), nocase);
        e->takes[b] |= c >= fold(low, nocase) && c <= fold(high, nocase);
    }
}

static size_t compile_class(struct element *e, const uint8_t *p, size_t at, size_t len, bool nocase)
{
    bool negated = at < len && p[at] == '^';
    at += negated;
    for (; at < len && p[at] != ']'; at++) {
        if (p[at] == '\\' && at + 1 < len) {
            e->takes[p[++at]] = true;
        } else if (at + 2 < len && p[at + 1] == '-') {
            take_range(e, p[at], p[at + 2], nocase);
            at += 2;
        } else {
            take_literal(e, p[at], nocase);
        }
    }
    for (int b = 0; negated && b < 256; b++)
        e->takes[b] = !e->takes[b];
    return at < len ? at + 1 : at;
}

static size_t compile(struct element *list, const uint8_t *p, size_t len, bool nocase)
{
    size_t n = 0;
    for (size_t at = 0; at < len; n++) {
        struct element *e = &list[n];
        memset(e, 0, sizeof *e);
        uint8_t c = p[at++];
        if (c == '*')
            e->star = true;
        else if (c == '?')
            memset(e->takes, 1, sizeof e->takes);
        else if (c == '[')
            at = compile_class(e, p, at, len, nocase);
        else if (c == '\\' && at < len)
            take_literal(e, p[at++], nocase);
        else
            take_literal(e, c, nocase);
    }
    return n;
}

static bool reference(struct bytes pattern, struct bytes text, bool nocase)
{
    static struct element list[ELEMENTS_MAX];
    if (text.len == 0) return pattern.len == 0;
    size_t n = compile(list, pattern.data, pattern.len, nocase);
    bool reached[ELEMENTS_MAX + 1][TEXT_MAX + 1] = {0};
    reached[0][0] = true;
    for (size_t i = 0; i < n; i++) {
        for (size_t t = 0; t <= text.len; t++) {
            if (list[i].star) {
                reached[i + 1][t] = reached[i][t] || (t > 0 && reached[i + 1][t - 1]);
            } else {
                reached[i + 1][t] = t > 0 && reached[i][t - 1] && list[i].takes[text.data[t - 1]];
            }
        }
    }
    return reached[n][text.len];
}

static void test_random_patterns_match_the_reference(void **state)
{
    (void)state;
    static const char pattern_alphabet[] = "aabbABc**??[[]]^--\\\\zZ\x80\xff";
    static const char text_alphabet[] = "aaabbABc*?[]^-\\zZ\x80\xff";
    struct rng r;
    rng_seed(&r, 9);
    int matches = 0;
    for (int i = 0; i < 400000; i++) {
        uint8_t pattern[16], text[TEXT_MAX];
        size_t pattern_len = rng_below(&r, 1 + rng_below(&r, sizeof pattern));
        size_t text_len = rng_below(&r, 1 + rng_below(&r, TEXT_MAX));
        for (size_t k = 0; k < pattern_len; k++) {
            pattern[k] = (uint8_t)pattern_alphabet[rng_below(&r, sizeof pattern_alphabet - 1)];
        }
        for (size_t k = 0; k < text_len; k++) {
            text[k] = (uint8_t)text_alphabet[rng_below(&r, sizeof text_alphabet - 1)];
        }
        struct bytes p = bytes_view(pattern, pattern_len), t = bytes_view(text, text_len);
        bool nocase = rng_below(&r, 2) == 0;
        bool expected = reference(p, t, nocase);
        assert_int_equal(glob_match(p, t, nocase), expected);
        matches += expected;
    }
    assert_true(matches > 10000); /* else the alphabets test nothing */
}

static void test_known_cases(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool nocase, match;
    } cases[] = {
        {"h?llo", "hello", false, true},
        {"h*llo", "heeeello", false, true},
        {"h[ae]llo", "hillo", false, false},
        {"h[^e]llo", "hallo", false, true},
        {"h[^e]llo", "hello", false, false},
        {"h[a-b]llo", "hbllo", false, true},
        {"h[b-a]llo", "hallo", false, true},
        {"HELLO", "hello", false, false},
        {"HELLO", "hello", true, true},
        {"[A-C]", "b", true, true},
        {"[Z-a]", "z", true, false},
        {"[\\A]", "a", true, false},
        {"\\*", "*", false, true},
        {"\\*", "x", false, false},
        {"a\\", "a\\", false, true},
        {"[a", "a", false, true},
        {"[", "[", false, false},
        {"[^", "x", false, true},
        {"[a\\]b]", "]", false, true},
        {"[a-", "-", false, true},
        {"[]a]", "a", false, false},
        {"*", "", false, false},
        {"**", "", false, false},
        {"", "", false, true},
        {"", "a", false, false},
        {"a*", "a", false, true},
        {"a***", "a", false, true},
        {"*a*b", "xaxxbxb", false, true},
        {"[\x01-\xff]", "a", false, false},
        {"[\x80-a]", "\x90", false, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool match =
            glob_match(bytes_of(cases[i].pattern), bytes_of(cases[i].text), cases[i].nocase);
        assert_int_equal(match, cases[i].match);
    }
    assert_true(glob_match(BYTES_LIT("a\0*"), BYTES_LIT("a\0b"), false));
    assert_false(glob_match(BYTES_LIT("a\0c"), BYTES_LIT("a\0b"), false));
}

static void test_stars_are_bounded(void **state)
{
    (void)state;
    enum { STARS = GLOB_NESTING_MAX + 1 };
    static uint8_t pattern[2 * STARS + 1], text[2 * STARS];
    for (size_t i = 0; i < STARS; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    memset(text, 'a', sizeof text);
    struct bytes t = bytes_view(text, sizeof text);
    assert_true(glob_match(bytes_view(pattern, 2 * GLOB_NESTING_MAX), t, false));
    assert_false(glob_match(bytes_view(pattern, 2 * STARS), t, false));
    /* A star that ends the pattern matches without nesting. */
    assert_true(glob_match(bytes_view(pattern, 2 * GLOB_NESTING_MAX + 1), t, false));
}

/* The patterns of CVE-2022-36021: hours in a matcher that backtracks into every star. */
static void test_hostile_pattern_is_quick(void **state)
{
    (void)state;
    static uint8_t pattern[1001], text[100000];
    for (size_t i = 0; i < 500; i++)
        memcpy(pattern + 2 * i, "a*", 2);
    pattern[1000] = 'b';
    memset(text, 'a', sizeof text);
    assert_false(
        glob_match(bytes_view(pattern, sizeof pattern), bytes_view(text, sizeof text), false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_patterns_match_the_reference),
        cmocka_unit_test(test_known_cases),
        cmocka_unit_test(test_stars_are_bounded),
        cmocka_unit_test(test_hostile_pattern_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
