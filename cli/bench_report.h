/* cli/bench_report.h: what was measured, for people and for programs. Pure: writes into a buffer. */
#ifndef MOON_CLI_BENCH_REPORT_H
#define MOON_CLI_BENCH_REPORT_H

#include "cli/bench_load.h"

/* A generator busier than this measures itself. */
#define BENCH_SHARE_WARN 0.70

double bench_ops_per_s(const struct bench_result *r);
/* Server CPU microseconds per request; 0 if unknown. */
double bench_server_us(const struct bench_result *r);

/* Table: a head, then one line per test. */
void bench_table_head(struct buf *out, const struct bench_plan *plan,
                      const struct bench_shape *shape);
void bench_table_row(struct buf *out, const char *name, const struct bench_result *r);

/* JSON: one object, schema "moonctl.bench/1": head, rows, tail. */
void bench_json_head(struct buf *out, const struct bench_plan *plan,
                     const struct bench_shape *shape, int64_t wall_us);
void bench_json_row(struct buf *out, const char *name, const struct bench_result *r, bool first);
void bench_json_tail(struct buf *out);

#endif
