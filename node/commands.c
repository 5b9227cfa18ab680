/* The registry: rows of all tables copied side by side (ids are places in it), and a perfect hash over
 * the names of the top-level ones: a seed is searched at start under which no two names share a place, so
 * a look-up is one multiplication chain and one comparison. */
#include "node/commands.h"

#include <ctype.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/cmd/cmd.h"
#include "shard/exec/exec.h"
#include "shard/script/script.h"

#define PLACES                                                                                     \
    4096u /* 16 per name keeps the search short; 32 KiB, of which the used lines are few */
#define NAME_MAX_BYTES 24u

static const struct cmd_table *const tables[] = {
    &string_cmds,      &keys_cmds,         &scan_cmds,       &set_cmds,     &hash_cmds,
    &list_cmds,        &zset_cmds,         &zset_range_cmds, &debug_cmds,   &command_cmds,
    &set_algebra_cmds, &zset_algebra_cmds, &config_cmds,     &client_cmds,  &admin_cmds,
    &slowlog_cmds,     &latency_cmds,      &multi_cmds,      &cluster_cmds, &script_cmds,
};
static struct cmd_spec *rows;
static char (*full_names)[2 * NAME_MAX_BYTES];
static uint32_t rows_count, top_count; /* top-level rows first, then all subcommands */
static uint64_t seed;
static const struct cmd_spec *opcode_rows[256];

/* The first and the last 8 bytes of a name, which overlap or hold less if it is short: all of it up to 16
 * bytes, and enough for the hash beyond. */
struct ends {
    uint64_t first, last;
};

static inline struct ends ends_of(const uint8_t *name, size_t len)
{
    struct ends e = {0, 0};
    if (len >= 8) {
        memcpy(&e.first, name, 8);
        memcpy(&e.last, name + len - 8, 8);
    } else if (len >= 4) {
        memcpy(&e.first, name, 4);
        memcpy(&e.last, name + len - 4, 4);
    } else {
        e.first = (uint64_t)name[0] << 16 | (uint64_t)name[len / 2] << 8 | name[len - 1];
    }
    return e;
}

/* By perfect hash, with the ends of the name in both cases: clients send one or the other, and the row
 * itself need not be looked at. */
static struct place {
    const struct cmd_spec *spec; /* NULL: nothing hashes to here */
    struct ends lower, upper;
    size_t len;
} places[PLACES];

#define FOLD 0x2020202020202020u /* letters differ from their capitals by this bit only */

static inline uint32_t place_of(struct ends e, size_t len, uint64_t with_seed)
{
    uint64_t h = (len * 0x9E3779B97F4A7C15u) ^ (e.first | FOLD);
    h = (h ^ with_seed) * 0xD6E8FEB86659FD93u;
    h ^= (h >> 32) ^ (e.last | FOLD);
    h = (h ^ with_seed) * 0xD6E8FEB86659FD93u;
    return (uint32_t)(h >> 52);
}
static_assert(PLACES == 1u << (64 - 52), "place_of gives this many");

const struct cmd_spec *commands_find(struct bytes name)
{
    if (unlikely(name.len == 0 || name.len > NAME_MAX_BYTES)) return NULL;
    struct ends e = ends_of(name.data, name.len);
    const struct place *p = &places[place_of(e, name.len, seed)];
    if (unlikely(p->len != name.len)) return NULL;
    bool same = (e.first == p->lower.first && e.last == p->lower.last) ||
                (e.first == p->upper.first && e.last == p->upper.last);
    if (likely(same) && name.len <= 16) return p->spec;
    return bytes_is(name, p->spec->name) ? p->spec : NULL; /* long, or letters of both cases */
}

const struct cmd_spec *commands_find_sub(const struct cmd_spec *container, struct bytes name)
{
    for (uint32_t i = 0; i < container->subs_count; i++)
        if (bytes_is(name, container->subs[i].name)) return &container->subs[i];
    return NULL;
}

const struct cmd_spec *commands_find_full(struct bytes name)
{
    const uint8_t *bar = name.len > 0 ? memchr(name.data, '|', name.len) : NULL;
    if (bar == NULL) return commands_find(name);
    size_t before = (size_t)(bar - name.data);
    const struct cmd_spec *container = commands_find(bytes_view(name.data, before));
    if (container == NULL) return NULL;
    return commands_find_sub(container, bytes_view(bar + 1, name.len - before - 1));
}

uint32_t commands_count(void)
{
    return rows_count;
}

uint32_t commands_top_count(void)
{
    return top_count;
}

const struct cmd_spec *commands_by_id(uint32_t id)
{
    return id < rows_count ? &rows[id] : NULL;
}

const char *commands_full_name(const struct cmd_spec *spec)
{
    return full_names[spec->id];
}

const struct cmd_spec *const *commands_by_opcode(void)
{
    return opcode_rows;
}

uint32_t commands_opcodes(void)
{
    return COUNT_OF(opcode_rows);
}

static struct ends ends_in_case(const char *name, bool upper)
{
    uint8_t text[NAME_MAX_BYTES];
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        text[i] = (uint8_t)(upper ? toupper((uint8_t)name[i]) : tolower((uint8_t)name[i]));
    return ends_of(text, len);
}

static bool try_seed(uint64_t with_seed)
{
    memset(places, 0, sizeof places);
    for (uint32_t i = 0; i < top_count; i++) {
        const char *name = rows[i].name;
        struct ends lower = ends_in_case(name, false);
        struct place *p = &places[place_of(lower, strlen(name), with_seed)];
        if (p->spec != NULL) return false;
        *p = (struct place){.spec = &rows[i],
                            .lower = lower,
                            .upper = ends_in_case(name, true),
                            .len = strlen(name)};
    }
    return true;
}

static void put_lower(char *to, const char *from)
{
    size_t at = strlen(to);
    for (; *from != 0 && at < 2 * NAME_MAX_BYTES - 1; from++)
        to[at++] = (char)(*from >= 'A' && *from <= 'Z' ? *from + 32 : *from);
    to[at] = 0;
}

static void copy_rows(void)
{
    uint32_t subs = 0;
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        top_count += tables[t]->count;
        for (uint32_t i = 0; i < tables[t]->count; i++)
            subs += tables[t]->rows[i].subs_count;
    }
    rows_count = top_count + subs;
    assert(rows_count <= UINT16_MAX);
    rows = mem_zalloc(MEM_NODE, rows_count * sizeof *rows);
    full_names = mem_zalloc(MEM_NODE, rows_count * sizeof *full_names);
    uint32_t top = 0, sub = top_count;
    for (size_t t = 0; t < COUNT_OF(tables); t++)
        for (uint32_t i = 0; i < tables[t]->count; i++) {
            struct cmd_spec *r = &rows[top++];
            *r = tables[t]->rows[i];
            assert(strlen(r->name) <= NAME_MAX_BYTES);
            if (r->subs_count == 0) continue;
            memcpy(&rows[sub], r->subs, r->subs_count * sizeof *rows);
            r->subs = &rows[sub];
            sub += r->subs_count;
        }
    for (uint32_t i = 0; i < rows_count; i++)
        rows[i].id = (uint16_t)i;
}

static void name_rows(void)
{
    for (uint32_t i = 0; i < top_count; i++) {
        put_lower(full_names[i], rows[i].name);
        for (uint32_t k = 0; k < rows[i].subs_count; k++) {
            char *to = full_names[rows[i].subs[k].id];
            put_lower(to, rows[i].name);
            put_lower(to, "|");
            put_lower(to, rows[i].subs[k].name);
        }
    }
}

static void map_opcodes(void)
{
#define X(number, name) opcode_rows[number] = commands_find(BYTES_LIT(#name));
#include "shard/exec/opcode.def"
#undef X
}

void commands_init(void)
{
    if (rows != NULL) return;
    copy_rows();
    name_rows();
    for (seed = 1; !try_seed(seed); seed++)
        assert(seed < 1000000);
    map_opcodes();
}
