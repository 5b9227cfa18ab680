/* moonctl bench: options → plan and requests → one run per test → table or JSON. */
#include "cli/bench_report.h"

#include "cli/args.h"
#include "shard/base/assert.h"
#include "shard/base/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define FILL_PIPELINE 64u
#define TESTS_MAX 64u
#define RAW_NAME_MAX 64u
#define DEFAULT_TESTS                                                                              \
    "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,spop,hset,hget,zadd,zscore,zrange,mset"

struct bench {
    struct bench_plan plan;
    struct bench_shape shape;
    double duration_s, warmup_s; /* warmup_s < 0: not given */
    uint64_t cpu, server_pid;    /* cpu: UINT64_MAX not given */
    uint32_t port;
    uint32_t io;     /* index into io_names */
    uint32_t output; /* index into output_names */
    const char *tests;
    bool fill, allow_errors;
    bool any_errors, any_auth_error;
    uint32_t rows;
    struct bench_result result; /* of the run under way */
};

static const char *const io_names[] = {"auto", "uring", "epoll", NULL};
static const enum io_kind io_kinds[] = {IO_AUTO, IO_URING, IO_EPOLL};
static const char *const output_names[] = {"table", "json", NULL};

static const char epilogue[] =
    "tests: ping load set get incr lpush rpush lpop rpop sadd spop hset hget zadd zscore zrange "
    "mset\n"
    "Words after the options are a command of your own, with __key__, __rand__ and __data__.\n"
    "load writes each key of the range once. Tests write and pop keys of their own names (key:…,\n"
    "ctr:…, bench:…): do not run them on data that you need.\n"
    "\nexamples:\n"
    "  moonctl bench -t load,get -P 16 --server-pid $(pidof moon)\n"
    "  moonctl bench -t get --rate 50000 -d 10 -o json\n"
    "  moonctl bench -P 16 -r 100k HSET user:__rand__ name __data__\n";

static enum args_result parse(struct bench *b, struct args *args, int argc, char **argv)
{
    struct bench_plan *p = &b->plan;
    // clang-format off
    const struct args_option options[] = {
        {.letter = 'h', .name = "host", .kind = ARGS_TEXT, .target = &p->target.host,
         .value = "HOST", .help = "server (127.0.0.1)"},
        {.letter = 'p', .name = "port", .kind = ARGS_U32, .target = &b->port,
         .min = 1, .max = 65535, .help = "its port (6379)"},
        {.letter = 's', .name = "socket", .kind = ARGS_TEXT, .target = &p->target.path,
         .value = "PATH", .help = "its Unix socket, instead of host and port"},
        {.letter = 't', .name = "tests", .kind = ARGS_TEXT, .target = &b->tests, .value = "A,B,…",
         .help = "tests to run, in this order"},
        {.letter = 'c', .name = "connections", .kind = ARGS_U32, .target = &p->conns,
         .min = 1, .max = BENCH_CONNS_MAX, .help = "connections (50)"},
        {.letter = 'P', .name = "pipeline", .kind = ARGS_U32, .target = &p->pipeline,
         .min = 1, .max = BENCH_PIPELINE_MAX, .help = "requests per send (1)"},
        {.letter = 'n', .name = "requests", .kind = ARGS_U64, .target = &p->requests,
         .min = 1, .max = 1e15, .help = "requests per test, instead of -d"},
        {.letter = 'd', .name = "duration", .kind = ARGS_DOUBLE, .target = &b->duration_s,
         .min = 0.01, .max = 1e6, .value = "S", .help = "seconds per test (2)"},
        {.name = "warmup", .kind = ARGS_DOUBLE, .target = &b->warmup_s,
         .min = 0, .max = 1e6, .value = "S", .help = "seconds before measuring (0.5; with -n 0)"},
        {.letter = 'r', .name = "range", .kind = ARGS_U64, .target = &b->shape.range,
         .min = 1, .max = (double)BENCH_RANGE_MAX, .help = "different keys (1000000)"},
        {.name = "key-bytes", .kind = ARGS_U32, .target = &b->shape.key_bytes,
         .min = 1, .max = BENCH_KEY_BYTES_MAX, .help = "length of a key (16)"},
        {.name = "key-prefix", .kind = ARGS_TEXT, .target = &b->shape.key_prefix,
         .help = "what keys begin with (key:); {tag} for one slot"},
        {.letter = 'z', .name = "value-bytes", .kind = ARGS_U32, .target = &b->shape.value_bytes,
         .min = 1, .max = 64 << 20, .help = "length of a value (64)"},
        {.name = "rate", .kind = ARGS_DOUBLE, .target = &p->rate, .min = 1, .max = 1e9,
         .help = "requests a second, open loop (0: as fast as replies come)"},
        {.name = "threads", .kind = ARGS_U32, .target = &p->threads,
         .min = 1, .max = BENCH_THREADS_MAX, .help = "threads of the generator (1)"},
        {.name = "cpu", .kind = ARGS_U64, .target = &b->cpu, .min = 0, .max = 1023,
         .help = "pin thread i to CPU N + i"},
        {.name = "io", .kind = ARGS_CHOICE, .target = &b->io, .choices = io_names,
         .help = "auto, uring or epoll"},
        {.name = "sequential", .kind = ARGS_FLAG, .target = &p->sequential,
         .help = "keys in order instead of random ones"},
        {.name = "fill", .kind = ARGS_FLAG, .target = &b->fill,
         .help = "first write what a test reads or pops"},
        {.name = "seed", .kind = ARGS_U64, .target = &p->seed,
         .help = "of keys and values (1)"},
        {.name = "server-pid", .kind = ARGS_U64, .target = &b->server_pid,
         .min = 1, .max = INT32_MAX, .help = "report that process's CPU per request and memory"},
        {.name = "allow-errors", .kind = ARGS_FLAG, .target = &b->allow_errors,
         .help = "exit 0 although replies were errors"},
        {.letter = 'o', .name = "output", .kind = ARGS_CHOICE, .target = &b->output,
         .choices = output_names, .help = "table or json"},
    };
    // clang-format on
    *args = (struct args){.usage = "moonctl bench [OPTION…] [COMMAND…]",
                          .epilogue = epilogue,
                          .options = options,
                          .options_count = COUNT_OF(options)};
    enum args_result r = args_parse(args, argc, argv);
    args->options = NULL; /* they end with this function */
    return r;
}

/* What one option cannot tell alone. */
static enum cli_exit settle_plan(struct bench *b)
{
    struct bench_plan *p = &b->plan;
    if (p->requests > 0 && b->duration_s > 0) {
        return cli_fail(CLI_USAGE, "Leave one of them out.", "-n and -d exclude each other");
    }
    if (p->conns < p->threads) {
        return cli_fail(CLI_USAGE, "Ask for more connections (-c) or fewer --threads.",
                        "%u threads cannot share %u connections", p->threads, p->conns);
    }
    if (p->requests == 0 && b->duration_s == 0) b->duration_s = 2;
    if (b->warmup_s < 0) b->warmup_s = p->requests > 0 ? 0 : 0.5;
    p->target.port = (uint16_t)b->port;
    p->target.auth = getenv("MOONCTL_AUTH");
    p->duration_ns = (uint64_t)(b->duration_s * 1e9);
    p->warmup_ns = (uint64_t)(b->warmup_s * 1e9);
    p->server_pid = (int64_t)b->server_pid;
    p->cpu = b->cpu == UINT64_MAX ? -1 : (int32_t)b->cpu;
    p->io = io_kinds[b->io];
    b->shape.seed = p->seed;
    return CLI_OK;
}

static void flush(struct buf *out)
{
    fwrite(out->data, 1, out->len, stdout);
    fflush(stdout);
    out->len = 0;
}

static void report(struct bench *b, const char *name)
{
    const struct bench_result *r = &b->result;
    struct buf out;
    buf_init(&out, MEM_CONN);
    if (b->output == 1)
        bench_json_row(&out, name, r, b->rows == 0);
    else
        bench_table_row(&out, name, r);
    flush(&out);
    buf_free(&out);
    if (b->rows == 0 && r->io_why != NULL)
        fprintf(stderr, "moonctl: bench runs on epoll: %s\n", r->io_why);
    b->rows++;
    if (r->generator_share > BENCH_SHARE_WARN) {
        fprintf(stderr,
                "moonctl: %s: the generator's core was %.0f %% busy: the server may have waited "
                "for it; use --threads or more CPUs\n",
                name, r->generator_share * 100);
    }
    if (r->nulls * 2 > r->requests) {
        fprintf(stderr,
                "moonctl: %s: most replies are null: there was nothing to read; --fill writes it "
                "first\n",
                name);
    }
    if (r->errors == 0) return;
    b->any_errors = true;
    if (strncmp(r->first_error, "NOAUTH", 6) == 0) b->any_auth_error = true;
    fprintf(stderr, "moonctl: %s: %llu replies were errors, the first: %s\n", name,
            (unsigned long long)r->errors, r->first_error);
}

/* One run, into b->result. */
static enum cli_exit run_words(struct bench *b, const struct bench_plan *plan,
                               const char *const *words, uint32_t count)
{
    struct bench_request request;
    struct bench_plan with_request = *plan;
    const char *why = NULL;
    enum cli_exit code = CLI_OK;
    if (bench_request_build(&request, &b->shape, words, count, &why)) {
        with_request.request = &request;
        code = bench_load_run(&with_request, &b->result);
    } else {
        code = cli_fail(CLI_USAGE, "`moonctl bench --help` tells what placeholders mean.",
                        "bench: %s", why);
    }
    bench_request_free(&request);
    return code;
}

static enum cli_exit fill(struct bench *b, const struct bench_test *t)
{
    struct bench_plan plan = b->plan;
    plan.requests = t->fill_requests && plan.requests > 0 ? plan.requests : b->shape.range;
    plan.duration_ns = plan.warmup_ns = 0;
    plan.rate = 0;
    plan.pipeline = FILL_PIPELINE;
    plan.sequential = true;
    return run_words(b, &plan, t->fill, bench_words_count(t->fill, COUNT_OF(t->fill)));
}

static enum cli_exit run_test(struct bench *b, const struct bench_test *t)
{
    struct bench_plan plan = b->plan;
    enum cli_exit code = CLI_OK;
    if (b->fill && t->fill[0] != NULL) code = fill(b, t);
    if (code != CLI_OK) return code;
    if (t->sequential) {
        plan.sequential = true;
        plan.requests = b->shape.range;
        plan.duration_ns = plan.warmup_ns = 0;
    }
    code = run_words(b, &plan, t->words, bench_words_count(t->words, BENCH_WORDS_MAX));
    if (code == CLI_OK) report(b, t->name);
    return code;
}

static enum cli_exit run_raw(struct bench *b, char **words, uint32_t count)
{
    struct buf name;
    enum cli_exit code = run_words(b, &b->plan, (const char *const *)words, count);
    if (code != CLI_OK) return code;
    buf_init(&name, MEM_CONN);
    for (uint32_t i = 0; i < count && name.len < RAW_NAME_MAX; i++) {
        buf_addf(&name, "%s%s", i == 0 ? "" : " ", words[i]);
    }
    buf_add_byte(&name, '\0');
    report(b, (const char *)name.data);
    buf_free(&name);
    return CLI_OK;
}

/* Splits "get,set" into rows of the table. False: said which one is unknown. */
static bool find_tests(const char *list, const struct bench_test **out, uint32_t *count_out)
{
    const char *names[TESTS_MAX];
    assert(bench_tests_count <= TESTS_MAX);
    for (uint32_t i = 0; i < bench_tests_count; i++)
        names[i] = bench_tests[i].name;
    *count_out = 0;
    for (const char *at = list; *at != '\0';) {
        char word[32];
        size_t len = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), at);
        uint32_t i = 0;
        while (i < bench_tests_count && strcmp(names[i], word) != 0)
            i++;
        if (i == bench_tests_count || *count_out == TESTS_MAX) {
            const char *nearest = cli_nearest(word, names, bench_tests_count);
            char next[64] = "`moonctl bench --help` lists the tests.";
            if (nearest != NULL) snprintf(next, sizeof next, "Did you mean %s?", nearest);
            cli_fail(CLI_USAGE, next, "bench: no test named \"%s\"", word);
            return false;
        }
        out[(*count_out)++] = &bench_tests[i];
        at += len + (at[len] == ',');
    }
    return true;
}

static void begin_report(const struct bench *b)
{
    struct buf out;
    buf_init(&out, MEM_CONN);
    if (b->output == 1)
        bench_json_head(&out, &b->plan, &b->shape, clock_wall_us(&clock_real));
    else
        bench_table_head(&out, &b->plan, &b->shape);
    flush(&out);
    buf_free(&out);
}

static void end_report(const struct bench *b)
{
    struct buf out;
    if (b->output != 1) return;
    buf_init(&out, MEM_CONN);
    bench_json_tail(&out);
    flush(&out);
    buf_free(&out);
}

enum cli_exit cli_bench(int argc, char **argv)
{
    struct bench b = {
        .plan = {.target.host = "127.0.0.1", .conns = 50, .pipeline = 1, .threads = 1, .seed = 1},
        .shape = {.range = 1000000, .key_bytes = 16, .value_bytes = 64},
        .port = 6379,
        .warmup_s = -1,
        .cpu = UINT64_MAX,
        .tests = DEFAULT_TESTS,
    };
    const struct bench_test *tests[TESTS_MAX];
    uint32_t tests_count = 0;
    struct args args;
    enum args_result parsed = parse(&b, &args, argc, argv);
    if (parsed != ARGS_DONE) return parsed == ARGS_HELPED ? CLI_OK : CLI_USAGE;
    enum cli_exit code = settle_plan(&b);
    if (code != CLI_OK) return code;
    if (args.rest_count == 0 && !find_tests(b.tests, tests, &tests_count)) return CLI_USAGE;
    begin_report(&b);
    if (args.rest_count > 0) code = run_raw(&b, args.rest, args.rest_count);
    for (uint32_t i = 0; i < tests_count && code == CLI_OK; i++)
        code = run_test(&b, tests[i]);
    end_report(&b); /* also after a failure: what is printed stays one JSON object */
    if (code != CLI_OK || b.allow_errors || !b.any_errors) return code;
    return b.any_auth_error ? CLI_AUTH : CLI_FAILED;
}
