/* node/command_syntax.h: the argument tree of COMMAND DOCS, read from a row's syntax text.
 *
 *     SET: "key value [NX | XX] [EX seconds | PX milliseconds]"
 *
 *     syntax    := sequence
 *     sequence  := item*                        a token (a word without small letters) takes the plain
 *     item      := word | '<' choice '>'        items after it: "EX seconds", "LIMIT offset count"
 *                | '[' choice ']'               optional
 *                | '[' sequence '...' ']'       repeats the items before it if they are the same:
 *     choice    := sequence ('|' sequence)*     "key [key ...]"; else optional and repeated
 *
 * Types come from names ("seconds" is an integer): Redis's tables have one name for one meaning, and so do
 * the rows here. */
#ifndef MOON_NODE_COMMAND_SYNTAX_H
#define MOON_NODE_COMMAND_SYNTAX_H

#include "shard/base/arena.h"
#include "shard/base/attr.h"
#include "shard/base/bytes.h"

enum syntax_type {
    SYNTAX_STRING,
    SYNTAX_INTEGER,
    SYNTAX_DOUBLE,
    SYNTAX_KEY,
    SYNTAX_PATTERN,
    SYNTAX_UNIX_TIME,
    SYNTAX_PURE_TOKEN,
    SYNTAX_ONEOF,
    SYNTAX_BLOCK,
};
struct syntax_arg {
    enum syntax_type type;
    struct bytes name, token;           /* token.len 0: none */
    bool optional, multiple;            /* may be absent; may come several times */
    bool multiple_token;                /* … each time with its token */
    struct syntax_arg *const *children; /* of SYNTAX_ONEOF and SYNTAX_BLOCK */
    uint32_t children_count;
};

/* A block whose children are the arguments; NULL if the text does not follow the grammar. `has_keys`:
 * names like "source" may mean keys. Borrows text; what is new lies in the arena. Any thread. */
MUST_CHECK const struct syntax_arg *syntax_parse(const char *text, bool has_keys,
                                                 struct arena *arena);
/* "pure-token", as Redis writes it. */
const char *syntax_type_name(enum syntax_type type);

#endif
