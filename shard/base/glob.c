/* shard/base/glob.c: Redis's patterns, byte for byte, oddities included.
 *
 * Every element but the star takes exactly one byte, so when a match fails only the last star need
 * take one byte more: what an earlier star could still try, the last one has tried. That makes the
 * matcher a loop of at most pattern x text steps, without recursion.
 *
 * Oddities that clients can see and that are kept:
 *   - a pattern of stars alone does not match the empty text (the loop never looks at it);
 *   - an unterminated '[' class ends with the pattern; "[^" there matches any byte;
 *   - in a class an escaped byte is compared as it is even when case does not count, and a range is
 *     put in order before its ends are folded, so "[Z-a]" without case matches nothing;
 *   - bytes above 127 are negative in ranges, as char is on the machines Redis runs on;
 *   - a backslash that ends the pattern stands for itself. */
#include "shard/base/glob.h"

#include "shard/base/limits.h"

struct glob {
    const uint8_t *next; /* in the pattern */
    const uint8_t *end;
    bool nocase;
};

static uint8_t lower(uint8_t c)
{
    return (uint8_t)(c - 'A') < 26 ? (uint8_t)(c | 0x20) : c;
}

static bool same(const struct glob *g, uint8_t a, uint8_t b)
{
    return g->nocase ? lower(a) == lower(b) : a == b;
}

static bool in_range(const struct glob *g, uint8_t from, uint8_t to, uint8_t c)
{
    if ((int8_t)from > (int8_t)to) {
        uint8_t swap = from;
        from = to;
        to = swap;
    }
    if (g->nocase) {
        from = lower(from);
        to = lower(to);
        c = lower(c);
    }
    return (int8_t)c >= (int8_t)from && (int8_t)c <= (int8_t)to;
}

/* Behind the '['. Leaves next behind the ']' or at the end. */
static bool match_class(struct glob *g, uint8_t c)
{
    bool found = false;
    bool negated = g->next != g->end && *g->next == '^';
    if (negated) g->next++;
    while (g->next != g->end && *g->next != ']') {
        size_t left = (size_t)(g->end - g->next);
        if (*g->next == '\\' && left >= 2) {
            found |= g->next[1] == c;
            g->next += 2;
        } else if (left >= 3 && g->next[1] == '-') {
            found |= in_range(g, g->next[0], g->next[2], c);
            g->next += 3;
        } else {
            found |= same(g, g->next[0], c);
            g->next++;
        }
    }
    if (g->next != g->end) g->next++;
    return found != negated;
}

/* One element that is not a star, against one byte. */
static bool match_one(struct glob *g, uint8_t c)
{
    uint8_t p = *g->next++;
    if (p == '?') return true;
    if (p == '[') return match_class(g, c);
    if (p == '\\' && g->next != g->end) p = *g->next++;
    return same(g, p, c);
}

static void skip_stars(struct glob *g)
{
    while (g->next != g->end && *g->next == '*')
        g->next++;
}

bool glob_match(struct bytes pattern, struct bytes text, bool nocase)
{
    if (text.len == 0) return pattern.len == 0;
    struct glob g = {.next = pattern.data, .end = pattern.data + pattern.len, .nocase = nocase};
    const uint8_t *t = text.data, *text_end = t + text.len;
    const uint8_t *star_next = NULL,
                  *star_text = NULL; /* behind the last star; what it left over */
    uint32_t stars = 0;
    while (t != text_end) {
        if (g.next != g.end && *g.next == '*') {
            skip_stars(&g);
            if (g.next == g.end) return true;
            if (++stars > GLOB_NESTING_MAX) return false;
            star_next = g.next;
            star_text = t;
        } else if (g.next != g.end && match_one(&g, *t)) {
            t++;
        } else {
            if (star_next == NULL) return false;
            g.next = star_next;
            t = ++star_text;
        }
    }
    skip_stars(&g);
    return g.next == g.end;
}
