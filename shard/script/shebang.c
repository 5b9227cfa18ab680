/* The first line of a script may say what it asks for: "#!lua flags=no-writes,allow-oom". Texts of errors are Redis's. */
#include "shard/script/script_priv.h"

static const struct {
    const char *name;
    uint32_t flag;
} flags[] = {
    {"no-writes", SCRIPT_NO_WRITES},
    {"allow-oom", SCRIPT_ALLOW_OOM},
    {"allow-stale", 0}, /* no replicas yet */
    {"no-cluster", 0},
    {"allow-cross-slot-keys", SCRIPT_CROSS_SLOT},
};

static bool equals(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of(text));
}

static bool add_flag(struct bytes name, uint32_t *to, struct buf *why)
{
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if (!equals(name, flags[i].name)) continue;
        *to |= flags[i].flag;
        return true;
    }
    buf_addf(why, "ERR Unexpected flag in script shebang: %.*s", (int)name.len,
             (const char *)name.data);
    return false;
}

static bool add_flags(struct bytes list, uint32_t *to, struct buf *why)
{
    if (list.len == 0) return true;
    for (;;) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.data);
        if (!add_flag(bytes_view(list.data, len), to, why)) return false;
        if (comma == NULL) return true;
        list = bytes_view(comma + 1, list.len - len - 1);
    }
}

static bool next_word(struct bytes *line, struct bytes *word_out)
{
    size_t at = 0;
    while (at < line->len &&
           (line->data[at] == ' ' || (line->data[at] >= '\t' && line->data[at] <= '\r')))
        at++;
    size_t end = at;
    while (end < line->len && line->data[end] != ' ' &&
           !(line->data[end] >= '\t' && line->data[end] <= '\r'))
        end++;
    *word_out = bytes_view(line->data + at, end - at);
    *line = bytes_view(line->data + end, line->len - end);
    return end > at;
}

bool script__shebang(struct bytes text, uint32_t *flags_out, size_t *skip_out, struct buf *why)
{
    *flags_out = 0;
    *skip_out = 0;
    if (text.len < 2 || memcmp(text.data, "#!", 2) != 0) return true;
    const uint8_t *end = memchr(text.data, '\n', text.len);
    if (end == NULL) {
        buf_addf(why, "ERR Invalid script shebang");
        return false;
    }
    /* The line feed stays: lines keep their numbers. */
    *skip_out = (size_t)(end - text.data);
    *flags_out = SCRIPT_HAS_FLAGS;
    struct bytes line = bytes_view(text.data, *skip_out), word;
    if (!next_word(&line, &word) || !equals(word, "#!lua")) {
        buf_addf(why, "ERR Unexpected engine in script shebang: %.*s", (int)word.len,
                 (const char *)word.data);
        return false;
    }
    while (next_word(&line, &word)) {
        if (word.len < 6 || memcmp(word.data, "flags=", 6) != 0) {
            buf_addf(why, "ERR Unknown lua shebang option: %.*s", (int)word.len,
                     (const char *)word.data);
            return false;
        }
        if (!add_flags(bytes_view(word.data + 6, word.len - 6), flags_out, why)) return false;
    }
    return true;
}
