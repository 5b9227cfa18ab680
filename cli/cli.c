/* How a failure is said, and which word was probably meant. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

#define WORD_BYTES_MAX 32u

enum cli_exit cli_fail(enum cli_exit code, const char *next, const char *fmt, ...)
{
    va_list args;
    fflush(stdout); /* what was already said comes first, also when both go to one file */
    fputs("moonctl: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    if (next != NULL) fprintf(stderr, "  %s\n", next);
    return code;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance by one row; words longer than the row are never near. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    size_t row[WORD_BYTES_MAX + 1];
    if (a_len > WORD_BYTES_MAX || b_len > WORD_BYTES_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    /* A third of the letters may be wrong, at least one, so that "x" does not suggest anything. */
    size_t limit = strlen(word) / 3 + (strlen(word) > 1);
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        if (distance > limit) continue;
        best = candidates[i];
        if (distance == 0) break;
        limit = distance - 1;
    }
    return best;
}
