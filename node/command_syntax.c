/* A recursive-descent parser. A sequence gathers its items in a list; a token stays open while plain items
 * follow it and is closed, taking them, by the next token, by a bracket that opens something else, or by
 * the end. So "EX seconds" becomes an argument with a token, "LIMIT offset count" a block with one, and a
 * token alone a pure token. */
#include "node/command_syntax.h"

#include "shard/base/assert.h"

#define ITEMS_MAX 32u      /* of one sequence or choice; the longest row has 12 */
#define DEPTH_MAX 8u       /* of brackets; the deepest row has 4 */
#define NAME_BYTES_MAX 64u /* a joined name is cut there */

struct list {
    struct syntax_arg *items[ITEMS_MAX];
    uint32_t count;
    bool open; /* a token waits for its arguments: items from `from` on */
    struct bytes token;
    uint32_t from;
};
struct parser {
    const char *at;
    struct arena *arena;
    bool has_keys;
    bool bad;
    uint32_t depth;
};

/* ---- words */

struct word_type {
    const char *name;
    enum syntax_type type;
};
static const struct word_type word_types[] = {
    {"key", SYNTAX_KEY},
    {"key1", SYNTAX_KEY},
    {"key2", SYNTAX_KEY},
    {"newkey", SYNTAX_KEY},
    {"source", SYNTAX_KEY},
    {"destination", SYNTAX_KEY},
    {"sourcekey", SYNTAX_KEY},
    {"destkey", SYNTAX_KEY},
    {"pattern", SYNTAX_PATTERN},
    {"seconds", SYNTAX_INTEGER},
    {"milliseconds", SYNTAX_INTEGER},
    {"count", SYNTAX_INTEGER},
    {"numkeys", SYNTAX_INTEGER},
    {"numfields", SYNTAX_INTEGER},
    {"offset", SYNTAX_INTEGER},
    {"index", SYNTAX_INTEGER},
    {"index1", SYNTAX_INTEGER},
    {"index2", SYNTAX_INTEGER},
    {"start", SYNTAX_INTEGER},
    {"stop", SYNTAX_INTEGER},
    {"end", SYNTAX_INTEGER},
    {"db", SYNTAX_INTEGER},
    {"destination-db", SYNTAX_INTEGER},
    {"cursor", SYNTAX_INTEGER},
    {"increment", SYNTAX_INTEGER},
    {"decrement", SYNTAX_INTEGER},
    {"rank", SYNTAX_INTEGER},
    {"len", SYNTAX_INTEGER},
    {"num-matches", SYNTAX_INTEGER},
    {"min-match-len", SYNTAX_INTEGER},
    {"length", SYNTAX_INTEGER},
    {"size", SYNTAX_INTEGER},
    {"limit", SYNTAX_INTEGER},
    {"protover", SYNTAX_INTEGER},
    {"client-id", SYNTAX_INTEGER},
    {"version", SYNTAX_INTEGER},
    {"numreplicas", SYNTAX_INTEGER},
    {"weight", SYNTAX_INTEGER}, /* so says Redis, which takes doubles, too */
    {"score", SYNTAX_DOUBLE},
    {"timeout", SYNTAX_DOUBLE},
    {"longitude", SYNTAX_DOUBLE},
    {"latitude", SYNTAX_DOUBLE},
    {"radius", SYNTAX_DOUBLE},
    {"width", SYNTAX_DOUBLE},
    {"height", SYNTAX_DOUBLE},
};

static enum syntax_type type_of(const struct parser *p, struct bytes word)
{
    static const struct bytes unix_time = BYTES_LIT("unix-time");
    if (word.len >= unix_time.len && memcmp(word.data, unix_time.data, unix_time.len) == 0)
        return SYNTAX_UNIX_TIME;
    for (size_t i = 0; i < COUNT_OF(word_types); i++) {
        if (!bytes_equal(word, bytes_of(word_types[i].name))) continue;
        bool key = word_types[i].type == SYNTAX_KEY;
        return key && !p->has_keys ? SYNTAX_STRING : word_types[i].type;
    }
    return SYNTAX_STRING;
}

static bool is_token(struct bytes word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.data[i] >= 'a' && word.data[i] <= 'z') return false;
    return true;
}

static void skip_spaces(struct parser *p)
{
    p->at += strspn(p->at, " ");
}

/* Takes the character if it is the next. */
static bool take(struct parser *p, char c)
{
    skip_spaces(p);
    if (*p->at != c) return false;
    p->at++;
    return true;
}

static bool take_ellipsis(struct parser *p)
{
    skip_spaces(p);
    if (strncmp(p->at, "...", 3) != 0) return false;
    p->at += 3;
    return true;
}

/* Empty at a bracket, a bar, an ellipsis and the end. */
static struct bytes take_word(struct parser *p)
{
    skip_spaces(p);
    if (strncmp(p->at, "...", 3) == 0) return bytes_view(p->at, 0);
    struct bytes word = bytes_view(p->at, strcspn(p->at, " []<>|"));
    p->at += word.len;
    return word;
}

/* ---- building */

static struct syntax_arg *new_arg(struct parser *p, enum syntax_type type, struct bytes name)
{
    struct syntax_arg *a = arena_alloc(p->arena, sizeof *a);
    *a = (struct syntax_arg){.type = type, .name = name};
    return a;
}

static struct bytes lower(struct parser *p, struct bytes word)
{
    uint8_t *to = arena_alloc(p->arena, word.len);
    for (size_t i = 0; i < word.len; i++)
        to[i] = word.data[i] >= 'A' && word.data[i] <= 'Z' ? (uint8_t)(word.data[i] + 32)
                                                           : word.data[i];
    return bytes_view(to, word.len);
}

static void push(struct parser *p, struct list *l, struct syntax_arg *a)
{
    if (l->count == ITEMS_MAX)
        p->bad = true;
    else
        l->items[l->count++] = a;
}

/* The names of the children, as Redis names what has no better name: "field_value". */
static struct bytes joined_name(struct parser *p, struct syntax_arg *const *items, uint32_t count)
{
    uint8_t *to = arena_alloc(p->arena, NAME_BYTES_MAX);
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t room = NAME_BYTES_MAX - len, more = items[i]->name.len;
        if (room < more + 1) break;
        if (len > 0) to[len++] = '_';
        if (more > 0) memcpy(to + len, items[i]->name.data, more);
        len += more;
    }
    return bytes_view(to, len);
}

/* What a choice decides, told by a token that can be chosen. */
static struct bytes choice_name(struct parser *p, struct syntax_arg *const *items, uint32_t count)
{
    static const struct {
        const char *token, *name;
    } names[] = {
        {"NX", "condition"}, {"EX", "expiration"}, {"GT", "comparison"},
        {"ASC", "order"},    {"SUM", "aggregate"}, {"LEFT", "where"},
        {"BEFORE", "where"}, {"MIN", "where"},     {"KM", "unit"},
    };
    for (size_t n = 0; n < COUNT_OF(names); n++)
        for (uint32_t i = 0; i < count; i++)
            if (bytes_equal(items[i]->token, bytes_of(names[n].token)))
                return bytes_of(names[n].name);
    return joined_name(p, items, count);
}

static struct syntax_arg *group(struct parser *p, enum syntax_type type, struct bytes name,
                                struct syntax_arg *const *items, uint32_t count)
{
    struct syntax_arg *g = new_arg(p, type, name);
    struct syntax_arg **children = arena_alloc(p->arena, count * sizeof(struct syntax_arg *));
    for (uint32_t i = 0; i < count; i++)
        children[i] = items[i];
    g->children = children;
    g->children_count = count;
    return g;
}

/* The open token takes what came after it. */
static void close_token(struct parser *p, struct list *l)
{
    if (!l->open) return;
    l->open = false;
    uint32_t taken = l->count - l->from;
    if (taken == 1) {
        l->items[l->from]->token = l->token;
        return;
    }
    struct bytes name = lower(p, l->token);
    struct syntax_arg *a = taken == 0 ? new_arg(p, SYNTAX_PURE_TOKEN, name)
                                      : group(p, SYNTAX_BLOCK, name, &l->items[l->from], taken);
    a->token = l->token;
    l->count = l->from;
    push(p, l, a);
}

/* The items of a closed list as one argument. */
static struct syntax_arg *as_one(struct parser *p, const struct list *l)
{
    if (l->count == 0) {
        p->bad = true;
        return new_arg(p, SYNTAX_STRING, bytes_view("", 0));
    }
    if (l->count == 1) return l->items[0];
    return group(p, SYNTAX_BLOCK, joined_name(p, l->items, l->count), l->items, l->count);
}

/* "key [key ...]": if the last items are those of `again`, they come several times; else false. */
static bool repeat_last(struct parser *p, struct list *l, const struct list *again)
{
    if (again->items[0]->token.len > 0) close_token(p, l);
    uint32_t first = l->open ? l->from : 0, n = again->count;
    if (l->count - first < n) return false;
    struct syntax_arg **last = &l->items[l->count - n];
    for (uint32_t i = 0; i < n; i++)
        if (!bytes_equal(last[i]->name, again->items[i]->name) ||
            !bytes_equal(last[i]->token, again->items[i]->token))
            return false;
    if (n > 1) {
        last[0] = group(p, SYNTAX_BLOCK, joined_name(p, last, n), last, n);
        l->count -= n - 1;
    }
    last[0]->multiple = true;
    last[0]->multiple_token = last[0]->token.len > 0;
    return true;
}

/* ---- the grammar */

static void parse_sequence(struct parser *p, struct list *l);

/* Choices up to the closing bracket, which is taken. *repeats_out: an ellipsis stood before it, then
 * *first_out are the items that repeat. */
static struct syntax_arg *parse_choice(struct parser *p, char closing, struct list *first_out,
                                       bool *repeats_out)
{
    struct syntax_arg *choices[ITEMS_MAX];
    uint32_t count = 0;
    struct list l, *to = first_out;
    do {
        parse_sequence(p, to);
        choices[count++] = as_one(p, to);
        to = &l;
    } while (!p->bad && count < ITEMS_MAX && take(p, '|'));
    *repeats_out = count == 1 && take_ellipsis(p);
    p->bad = p->bad || !take(p, closing);
    if (count == 1) return choices[0];
    return group(p, SYNTAX_ONEOF, choice_name(p, choices, count), choices, count);
}

/* After '['. */
static void parse_optional(struct parser *p, struct list *l)
{
    struct list inner;
    bool repeats;
    struct syntax_arg *a = parse_choice(p, ']', &inner, &repeats);
    if (p->bad || (repeats && repeat_last(p, l, &inner))) return;
    close_token(p, l);
    a->optional = true;
    a->multiple = a->multiple || repeats;
    push(p, l, a);
}

static void parse_word(struct parser *p, struct list *l, struct bytes word)
{
    if (!is_token(word)) {
        push(p, l, new_arg(p, type_of(p, word), word));
        return;
    }
    close_token(p, l);
    l->open = true;
    l->token = word;
    l->from = l->count;
}

static void parse_sequence(struct parser *p, struct list *l)
{
    *l = (struct list){.count = 0};
    if (++p->depth > DEPTH_MAX) p->bad = true;
    while (!p->bad) {
        struct list inner;
        bool repeats;
        if (take(p, '[')) {
            parse_optional(p, l);
        } else if (take(p, '<')) {
            struct syntax_arg *a = parse_choice(p, '>', &inner, &repeats);
            a->multiple = a->multiple || repeats;
            push(p, l, a);
        } else {
            struct bytes word = take_word(p);
            if (word.len == 0) break;
            parse_word(p, l, word);
        }
    }
    close_token(p, l);
    p->depth--;
}

const struct syntax_arg *syntax_parse(const char *text, bool has_keys, struct arena *arena)
{
    struct parser p = {.at = text, .arena = arena, .has_keys = has_keys};
    struct list l;
    parse_sequence(&p, &l);
    skip_spaces(&p);
    if (p.bad || *p.at != 0) return NULL;
    return group(&p, SYNTAX_BLOCK, bytes_view("", 0), l.items, l.count);
}

const char *syntax_type_name(enum syntax_type type)
{
    switch (type) {
    case SYNTAX_STRING:
        return "string";
    case SYNTAX_INTEGER:
        return "integer";
    case SYNTAX_DOUBLE:
        return "double";
    case SYNTAX_KEY:
        return "key";
    case SYNTAX_PATTERN:
        return "pattern";
    case SYNTAX_UNIX_TIME:
        return "unix-time";
    case SYNTAX_PURE_TOKEN:
        return "pure-token";
    case SYNTAX_ONEOF:
        return "oneof";
    case SYNTAX_BLOCK:
        return "block";
    }
    assert(false);
    return NULL;
}
