/* shard/base/bytes.h: a borrowed view of bytes. Never owns; whoever hands it out says until when. */
#ifndef MOON_BASE_BYTES_H
#define MOON_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data; /* may be NULL only if len is 0 */
    size_t len;
};

static inline struct bytes bytes_view(const void *data, size_t len)
{
    return (struct bytes){.data = data, .len = len};
}
/* Of a NUL-terminated string, the NUL not counted. */
static inline struct bytes bytes_of(const char *text)
{
    return bytes_view(text, strlen(text));
}
#define BYTES_LIT(s) ((struct bytes){.data = (const uint8_t *)(s), .len = sizeof(s) - 1})

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
/* ASCII case-insensitive, for command names and options. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);
bool bytes_is(struct bytes a, const char *text_nocase);
/* memcmp order, shorter first on a common prefix: the order of Redis's sds strings. */
int bytes_compare(struct bytes a, struct bytes b);

#endif
