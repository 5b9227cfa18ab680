#include "tests/lib/cmd_fixture.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint32_t alive; /* shards of this program */
static uint64_t bytes_before;

static uint64_t live_bytes(void)
{
    return mem_live_bytes(MEM_DATA) + mem_live_bytes(MEM_TABLE) + mem_live_bytes(MEM_EXEC);
}

/* ---- text for people */

static void add_escaped(struct buf *b, struct bytes v)
{
    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = v.data[i];
        if (c == '\r')
            buf_addf(b, "\\r");
        else if (c == '\n')
            buf_addf(b, "\\n");
        else if (isprint(c))
            buf_add_byte(b, c);
        else
            buf_addf(b, "\\x%02x", c);
    }
}

void fixture_expect_text(const char *want, const char *got, const char *what, const char *file,
                         int line)
{
    if (strcmp(want, got) == 0) return;
    print_error("%s: wanted:\n%s---- got:\n%s----\n", what, want, got);
    _fail(file, line);
}

void fixture_expect(struct fixture *f, const char *wire, const char *const *args, const char *file,
                    int line)
{
    struct bytes got = fixture_run(f, args);
    if (bytes_equal(got, bytes_of(wire))) return;
    struct buf b;
    buf_init(&b, MEM_TEST);
    for (; *args != NULL; args++)
        buf_addf(&b, "%s ", *args);
    buf_addf(&b, "\n  wanted: ");
    add_escaped(&b, bytes_of(wire));
    buf_addf(&b, "\n  got:    ");
    add_escaped(&b, got);
    buf_add_byte(&b, 0);
    print_error("%s\n", (const char *)b.data);
    buf_free(&b);
    _fail(file, line);
}

/* ---- commands by name */

static const struct cmd_spec *find_row(const struct cmd_spec *rows, uint32_t count,
                                       struct bytes name)
{
    for (uint32_t i = 0; i < count; i++)
        if (bytes_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

static uint32_t count_rows(const struct cmd_spec *rows, uint32_t count)
{
    uint32_t n = count;
    for (uint32_t i = 0; i < count; i++)
        n += rows[i].subs_count;
    return n;
}

/* Rows of all tables in front, subcommands behind; each is numbered by its place. */
static void copy_rows(struct fixture *f, const struct cmd_table *const *tables)
{
    uint32_t total = 0, top = 0;
    for (const struct cmd_table *const *t = tables; *t != NULL; t++) {
        total += count_rows((*t)->rows, (*t)->count);
        top += (*t)->count;
    }
    f->specs = mem_alloc(MEM_TEST, total * sizeof *f->specs);
    f->spec_count = total;
    f->top_count = top;
    uint32_t n = 0, sub = top;
    for (const struct cmd_table *const *t = tables; *t != NULL; t++) {
        for (uint32_t i = 0; i < (*t)->count; i++) {
            struct cmd_spec *row = &f->specs[n++];
            *row = (*t)->rows[i];
            if (row->subs_count == 0) continue;
            memcpy(&f->specs[sub], row->subs, row->subs_count * sizeof *row);
            row->subs = &f->specs[sub];
            sub += row->subs_count;
        }
    }
    for (uint32_t i = 0; i < total; i++)
        f->specs[i].id = (uint16_t)i;
}

static const struct {
    uint32_t number;
    const char *name;
} opcodes[] = {
#define X(number, name) {number, #name},
#include "shard/exec/opcode.def"
#undef X
};

static uint32_t opcode_count(void)
{
    return opcodes[COUNT_OF(opcodes) - 1].number + 1;
}

static const char *opcode_name(uint32_t number)
{
    for (size_t i = 0; i < COUNT_OF(opcodes); i++)
        if (opcodes[i].number == number) return opcodes[i].name;
    fail_msg("opcode %u is in no list", number);
    return NULL;
}

static void index_opcodes(struct fixture *f)
{
    f->by_opcode = mem_zalloc(MEM_TEST, opcode_count() * sizeof *f->by_opcode);
    for (size_t i = 0; i < COUNT_OF(opcodes); i++)
        f->by_opcode[opcodes[i].number] =
            find_row(f->specs, f->top_count, bytes_of(opcodes[i].name));
}

/* ---- life */

static int64_t clock_wall(void *ctx)
{
    const struct fixture *f = ctx;
    return f->now_ms * 1000;
}

static uint64_t clock_mono(void *ctx)
{
    const struct fixture *f = ctx;
    return (uint64_t)(f->now_ms - FIXTURE_START_MS) * 1000000;
}

static void no_pass(void *ctx)
{
    (void)ctx;
}

static void note_event(void *ctx, const struct db_key *key, enum notify_class cls,
                       const char *event)
{
    struct fixture *f = ctx;
    if (cls == NOTIFY_KEY_MISS || cls == NOTIFY_NEW) return;
    if (key->db != 0) buf_addf(&f->events, "%u:", key->db);
    buf_addf(&f->events, "%s ", event);
    add_escaped(&f->events, key->name);
    buf_add_byte(&f->events, '\n');
}

static void open_core(struct fixture *f, uint32_t index, uint32_t count)
{
    struct io *io;
    const char *why;
    struct io_opts io_opts = {.kind = IO_EPOLL, .entries = 64, .buffers = 16, .buffer_bytes = 4096};
    assert_int_equal(io_open(&io_opts, &io, &why), RC_OK);
    struct core_opts opts = {.index = index,
                             .count = count,
                             .databases = FIXTURE_DATABASES,
                             .shared = &f->shared,
                             .by_opcode = f->by_opcode,
                             .opcodes = opcode_count(),
                             .cmd_count = f->spec_count};
    f->shared.string_bytes_max = 512u << 20;
    f->shared.active_expire = true;
    f->shared.slowlog_us = -1;
    f->clock = (struct clock){.wall_us = clock_wall, .mono_ns = clock_mono, .ctx = f};
    core_init(&f->core, &opts, io, &f->clock, (struct reactor_handler){.pass = no_pass});
    f->core.on_event = note_event;
    f->core.on_event_ctx = f;
    rng_seed(&f->core.rng, 1);
}

static void open_log(struct fixture *f)
{
    struct journal_opts opts = {
        .dir = "memory", .logs = f->core.count, .fsync = JOURNAL_NO, .clock = &f->clock};
    struct journal *log;
    if (f->first == f)
        assert_int_equal(journal_set_open(&opts, f->core.io, &f->set, &f->text), RC_OK);
    f->set = f->first->set;
    assert_int_equal(
        journal_open(f->set, f->core.index, f->core.io, f->core.reactor.timers, NULL, &log), RC_OK);
    core_set_journal(&f->core, log, false);
}

struct fixture *fixture_open(const struct cmd_table *const *tables, uint32_t index, uint32_t count,
                             struct fixture *first)
{
    if (alive++ == 0) bytes_before = live_bytes();
    struct fixture *f = mem_zalloc(MEM_TEST, sizeof *f);
    f->now_ms = FIXTURE_START_MS;
    f->proto = 2;
    f->first = first != NULL ? first : f;
    buf_init(&f->out, MEM_TEST);
    buf_init(&f->events, MEM_TEST);
    buf_init(&f->text, MEM_TEST);
    copy_rows(f, tables);
    index_opcodes(f);
    open_core(f, index, count);
    open_log(f);
    return f;
}

static void close_core(struct fixture *f)
{
    struct io *io = f->core.io;
    (void)slab_use(f->core.slab);
    core_fini(&f->core);
    io_free(io);
}

static void drop(struct fixture *f)
{
    mem_free(MEM_TEST, f->specs, f->spec_count * sizeof *f->specs);
    mem_free(MEM_TEST, f->by_opcode, opcode_count() * sizeof *f->by_opcode);
    buf_free(&f->out);
    buf_free(&f->events);
    buf_free(&f->text);
    mem_free(MEM_TEST, f, sizeof *f);
}

void fixture_free(struct fixture *f)
{
    if (f->core.count == 1) fixture_check(f);
    struct journal *log = f->core.journal;
    close_core(f);
    journal_close(log, true);
    if (f->first == f) journal_set_close(f->set);
    drop(f);
    if (--alive == 0) assert_int_equal(live_bytes(), bytes_before);
}

/* ---- requests */

/* "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" */
static uint32_t wire_size(const struct bytes *argv, uint32_t argc)
{
    size_t n = 3 + num_digits_u64(argc);
    for (uint32_t i = 0; i < argc; i++)
        n += 5 + num_digits_u64(argv[i].len) + argv[i].len;
    return (uint32_t)n;
}

static const struct cmd_spec *find_spec(const struct fixture *f, const struct bytes *argv,
                                        uint32_t argc)
{
    const struct cmd_spec *spec = find_row(f->specs, f->top_count, argv[0]);
    if (spec == NULL)
        fail_msg("no table given to the fixture has %.*s", (int)argv[0].len,
                 (const char *)argv[0].data);
    if (spec->subs_count == 0 || argc < 2) return spec;
    spec = find_row(spec->subs, spec->subs_count, argv[1]);
    if (spec == NULL) fail_msg("no subcommand %.*s", (int)argv[1].len, (const char *)argv[1].data);
    return spec;
}

static bool arity_ok(const struct cmd_spec *spec, uint32_t argc)
{
    return spec->arity > 0 ? argc == (uint32_t)spec->arity : argc >= (uint32_t)-spec->arity;
}

static void reply_arity(struct reply *reply, const struct cmd_spec *spec, const struct bytes *argv)
{
    struct buf name;
    buf_init(&name, MEM_TEST);
    bool is_sub = !bytes_is(argv[0], spec->name);
    for (size_t i = 0; is_sub && i < argv[0].len; i++)
        buf_add_byte(&name, (uint8_t)tolower(argv[0].data[i]));
    if (is_sub) buf_add_byte(&name, '|');
    for (const char *c = spec->name; *c != 0; c++)
        buf_add_byte(&name, (uint8_t)tolower(*c));
    reply_errorf(reply, "ERR wrong number of arguments for '%.*s' command", (int)name.len,
                 (const char *)name.data);
    buf_free(&name);
}

static void run_on_shard(struct fixture *f, const struct cmd_spec *spec, const struct bytes *argv,
                         uint32_t argc, struct reply *reply)
{
    uint32_t *positions = mem_alloc(MEM_TEST, argc * sizeof *positions);
    struct request rq = {.spec = spec,
                         .argv = argv,
                         .argc = argc,
                         .wire_bytes = wire_size(argv, argc),
                         .key = {.db = f->db},
                         .no_touch = f->no_touch};
    if (spec_key_positions(spec, argv, argc, positions) > 0)
        rq.key = db_key(f->db, argv[positions[0]]);
    mem_free(MEM_TEST, positions, argc * sizeof *positions);
    core_pass_begin(&f->core);
    core_run(&f->core, &rq, reply);
    if (!f->core.tx.open) core_pass_end(&f->core);
}

struct bytes fixture_run_bytes(struct fixture *f, const struct bytes *argv, uint32_t argc)
{
    (void)slab_use(f->core.slab);
    f->out.len = 0;
    struct reply reply = {.out = &f->out, .proto = f->proto};
    const struct cmd_spec *spec = find_spec(f, argv, argc);
    if (!arity_ok(spec, argc)) {
        reply_arity(&reply, spec, argv);
    } else if (spec->run_conn != NULL) {
        struct call call = {.spec = spec, .argv = argv, .argc = argc, .reply = &reply};
        spec->run_conn(&call);
    } else {
        run_on_shard(f, spec, argv, argc, &reply);
    }
    return buf_bytes(&f->out);
}

struct bytes fixture_run(struct fixture *f, const char *const *args)
{
    uint32_t argc = 0;
    while (args[argc] != NULL)
        argc++;
    struct bytes *argv = mem_alloc(MEM_TEST, argc * sizeof *argv);
    for (uint32_t i = 0; i < argc; i++)
        argv[i] = bytes_of(args[i]);
    struct bytes wire = fixture_run_bytes(f, argv, argc);
    mem_free(MEM_TEST, argv, argc * sizeof *argv);
    return wire;
}

/* ---- time */

void fixture_advance(struct fixture *f, int64_t ms)
{
    f->now_ms += ms;
    f->core.reactor.wall_us = clock_wall(f);
    f->core.reactor.mono_ns = clock_mono(f);
}

void fixture_upkeep(struct fixture *f)
{
    (void)slab_use(f->core.slab);
    task_wake(&f->core.reactor.tasks, &f->core.expire_task);
    while (task_run(&f->core.reactor.tasks, UINT32_MAX))
        continue;
    core_pass_end(&f->core);
}

/* ---- what was logged and told */

struct reading {
    struct fixture *f;
    uint64_t index;
};

static bool read_unit(void *ctx, const struct journal_unit *u)
{
    struct reading *r = ctx;
    struct buf *text = &r->f->text;
    if (r->index++ < r->f->units_read) return true;
    r->f->units_read++;
    if (u->db != 0) buf_addf(text, "%u:", u->db);
    buf_addf(text, "%s", opcode_name(u->opcode));
    for (uint32_t i = 0; i < u->argc; i++) {
        buf_add_byte(text, ' ');
        add_escaped(text, u->args[i]);
    }
    buf_add_byte(text, '\n');
    return true;
}

const char *fixture_log(struct fixture *f)
{
    struct reading r = {.f = f};
    f->text.len = 0;
    assert_int_equal(journal_set_replay(f->set, f->core.io,
                                        &(struct journal_replay_opts){
                                            .shard = 0, .shards = 1, .apply = read_unit, .ctx = &r},
                                        &f->text),
                     RC_OK);
    buf_add_byte(&f->text, 0);
    return (const char *)f->text.data;
}

const char *fixture_events(struct fixture *f)
{
    f->text.len = 0;
    buf_add_bytes(&f->text, buf_bytes(&f->events));
    buf_add_byte(&f->text, 0);
    f->events.len = 0;
    return (const char *)f->text.data;
}

/* ---- contents */

struct digest {
    uint64_t sum;
    uint8_t db;
};

static void digest_record(void *ctx, struct record *r)
{
    struct digest *d = ctx;
    assert_true(value_check(r));
    uint64_t parts[4] = {hash_bytes(record_key(r)), value_digest(r), (uint64_t)record_expire_ms(r),
                         (uint64_t)d->db << 8 | (uint64_t)record_type(r)};
    d->sum += hash_bytes(bytes_view(parts, sizeof parts));
}

uint64_t fixture_digest(const struct fixture *f)
{
    struct digest d = {0};
    for (d.db = 0; d.db < FIXTURE_DATABASES; d.db++) {
        if (db_count(f->core.ks, d.db) == 0) continue;
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
            db_slot_each(f->core.ks, d.db, (uint16_t)slot, digest_record, &d);
    }
    return d.sum;
}

static uint64_t replay_one(struct fixture *f, uint32_t index, uint32_t count)
{
    struct fixture *copy = mem_zalloc(MEM_TEST, sizeof *copy);
    copy->now_ms = f->now_ms;
    copy->specs = f->specs;
    copy->spec_count = f->spec_count;
    copy->by_opcode = f->by_opcode;
    open_core(copy, index, count);
    copy->core.on_event = NULL;
    f->text.len = 0;
    struct core_replay *replay = NULL;
    bool more = true;
    enum rc rc = core_replay_begin(&copy->core, f->set, &replay);
    while (rc == RC_OK && more)
        rc = core_replay_step(replay, 1000, &more, &f->text);
    if (replay != NULL) core_replay_end(replay);
    if (rc != RC_OK)
        fail_msg("replay: %s %.*s", rc_text(rc), (int)f->text.len, (const char *)f->text.data);
    assert_true(keyspace_check(copy->core.ks));
    uint64_t digest = fixture_digest(copy);
    close_core(copy);
    mem_free(MEM_TEST, copy, sizeof *copy);
    (void)slab_use(f->core.slab);
    return digest;
}

uint64_t fixture_replay_digest(struct fixture *f, uint32_t shards)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < shards; i++)
        sum += replay_one(f, i, shards);
    return sum;
}

void fixture_check(struct fixture *f)
{
    (void)slab_use(f->core.slab);
    assert_true(keyspace_check(f->core.ks));
    uint64_t digest = fixture_digest(f);
    for (uint32_t shards = 1; shards <= 3; shards++) {
        if (fixture_replay_digest(f, shards) == digest) continue;
        fail_msg("what was logged, replayed into %u shards, is not what the shard holds:\n%s",
                 shards, (f->units_read = 0, fixture_log(f)));
    }
}
