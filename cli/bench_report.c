/* Table and JSON of what was measured. Times are microseconds in both. */
#include "cli/bench_report.h"

#include <inttypes.h>
#include <time.h>

double bench_ops_per_s(const struct bench_result *r)
{
    return r->wall_ns == 0 ? 0 : (double)r->requests * 1e9 / (double)r->wall_ns;
}

double bench_server_us(const struct bench_result *r)
{
    if (!r->server_known || r->server_requests == 0) return 0;
    return (double)r->server_cpu_ns / 1e3 / (double)r->server_requests;
}

static double percentile_us(const struct bench_result *r, double percent)
{
    /* The upper edge of the last bucket may lie above what was ever seen. */
    uint64_t ns = stat_percentile(&r->latency, percent);
    return (double)(ns < r->latency.max_ns ? ns : r->latency.max_ns) / 1e3;
}

void bench_table_head(struct buf *out, const struct bench_plan *plan,
                      const struct bench_shape *shape)
{
    if (plan->target.path != NULL)
        buf_addf(out, "%s", plan->target.path);
    else
        buf_addf(out, "%s:%u", plan->target.host, (unsigned)plan->target.port);
    buf_addf(out,
             ", %u connections, pipeline %u, %u B keys over %" PRIu64 ", %u B values, %u thread%s",
             plan->conns, plan->pipeline, shape->key_bytes, shape->range, shape->value_bytes,
             plan->threads, plan->threads == 1 ? "" : "s");
    if (plan->rate > 0) buf_addf(out, ", %.0f/s asked for", plan->rate);
    buf_addf(out, "\n%-12s %10s %11s %9s %9s %9s %9s %7s %8s %6s %8s %9s\n", "test", "requests",
             "ops/s", "p50 us", "p99 us", "p99.9 us", "max us", "errors", "nulls", "gen %",
             "us cpu", "RSS MiB");
}

void bench_table_row(struct buf *out, const char *name, const struct bench_result *r)
{
    buf_addf(out,
             "%-12.12s %10" PRIu64 " %11.0f %9.1f %9.1f %9.1f %9.1f %7" PRIu64 " %8" PRIu64
             " %6.1f",
             name, r->requests, bench_ops_per_s(r), percentile_us(r, 50), percentile_us(r, 99),
             percentile_us(r, 99.9), (double)r->latency.max_ns / 1e3, r->errors, r->nulls,
             r->generator_share * 100);
    if (r->server_known) {
        buf_addf(out, " %8.3f %9.1f\n", bench_server_us(r),
                 (double)r->server_rss_after / (1 << 20));
    } else {
        buf_addf(out, " %8s %9s\n", "-", "-");
    }
}

static void add_json_text(struct buf *out, const char *text)
{
    buf_add_byte(out, '"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            buf_addf(out, "\\%c", *c);
        else if ((unsigned char)*c < 32)
            buf_addf(out, "\\u%04x", (unsigned)*c);
        else
            buf_add_byte(out, (uint8_t)*c);
    }
    buf_add_byte(out, '"');
}

static void add_iso_time(struct buf *out, int64_t wall_us)
{
    struct tm tm;
    char text[32];
    time_t seconds = wall_us / 1000000;
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_addf(out, "\"%s\"", text);
}

void bench_json_head(struct buf *out, const struct bench_plan *plan,
                     const struct bench_shape *shape, int64_t wall_us)
{
    buf_addf(out, "{\"schema\": \"moonctl.bench/1\", \"started\": ");
    add_iso_time(out, wall_us);
    buf_addf(out, ",\n \"settings\": {\"target\": ");
    add_json_text(out, plan->target.path != NULL ? plan->target.path : plan->target.host);
    buf_addf(
        out,
        ", \"port\": %u, \"connections\": %u, \"pipeline\": %u, \"threads\": %u, \"key_bytes\": %u",
        plan->target.path != NULL ? 0 : (unsigned)plan->target.port, plan->conns, plan->pipeline,
        plan->threads, shape->key_bytes);
    buf_addf(out,
             ", \"key_range\": %" PRIu64 ", \"value_bytes\": %u, \"rate\": %.3f, \"seed\": %" PRIu64
             "}",
             shape->range, shape->value_bytes, plan->rate, plan->seed);
    buf_addf(out, ",\n \"tests\": [");
}

void bench_json_row(struct buf *out, const char *name, const struct bench_result *r, bool first)
{
    buf_addf(out, "%s\n  {\"name\": ", first ? "" : ",");
    add_json_text(out, name);
    buf_addf(out, ", \"requests\": %" PRIu64 ", \"seconds\": %.6f, \"ops_per_s\": %.1f",
             r->requests, (double)r->wall_ns / 1e9, bench_ops_per_s(r));
    buf_addf(out,
             ", \"latency_us\": {\"p50\": %.2f, \"p99\": %.2f, \"p99_9\": %.2f, \"max\": %.2f}",
             percentile_us(r, 50), percentile_us(r, 99), percentile_us(r, 99.9),
             (double)r->latency.max_ns / 1e3);
    buf_addf(out,
             ", \"errors\": %" PRIu64 ", \"nulls\": %" PRIu64
             ", \"generator_share\": %.4f, \"io\": \"%s\"",
             r->errors, r->nulls, r->generator_share, r->io == IO_URING ? "uring" : "epoll");
    if (r->errors > 0) {
        buf_addf(out, ", \"first_error\": ");
        add_json_text(out, r->first_error);
    }
    if (r->server_known) {
        buf_addf(out,
                 ", \"server\": {\"cpu_us_per_request\": %.5f, \"cpu_s\": %.6f, "
                 "\"rss_bytes_before\": %" PRIu64,
                 bench_server_us(r), (double)r->server_cpu_ns / 1e9, r->server_rss_before);
        buf_addf(out, ", \"rss_bytes_after\": %" PRIu64 ", \"cpu_wait_s\": %.6f}",
                 r->server_rss_after, (double)r->server_wait_ns / 1e9);
    }
    buf_add_byte(out, '}');
}

void bench_json_tail(struct buf *out)
{
    buf_addf(out, "\n ]}\n");
}
