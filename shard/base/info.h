/* shard/base/info.h: writer of INFO text: "# Section\r\nname:value\r\n". */
#ifndef MOON_BASE_INFO_H
#define MOON_BASE_INFO_H

#include "shard/base/buf.h"

struct info_writer {
    struct buf *out;
    bool first; /* no blank line before the first section */
};
void info_section(struct info_writer *w, const char *name);
void info_str(struct info_writer *w, const char *name, const char *value);
void info_i64(struct info_writer *w, const char *name, int64_t value);
void info_u64(struct info_writer *w, const char *name, uint64_t value);
void info_f2(struct info_writer *w, const char *name, double value);      /* two decimals */
void info_human(struct info_writer *w, const char *name, uint64_t bytes); /* 1.23M as Redis */
void info_fmt(struct info_writer *w, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
