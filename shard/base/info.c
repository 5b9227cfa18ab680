/* shard/base/info.c: lines of INFO. */
#include "shard/base/info.h"

#include <stdarg.h>
#include <stdio.h>

#include "shard/base/assert.h"
#include "shard/base/num.h"

#define INFO_VALUE_BYTES_MAX 1024 /* of one formatted value; longer ones go through info_str */

static void begin(struct info_writer *w, const char *name)
{
    buf_add_bytes(w->out, bytes_of(name));
    buf_add_byte(w->out, ':');
}

static void end(struct info_writer *w)
{
    buf_add(w->out, "\r\n", 2);
}

void info_section(struct info_writer *w, const char *name)
{
    if (!w->first) end(w);
    w->first = false;
    buf_add(w->out, "# ", 2);
    buf_add_bytes(w->out, bytes_of(name));
    end(w);
}

void info_str(struct info_writer *w, const char *name, const char *value)
{
    begin(w, name);
    buf_add_bytes(w->out, bytes_of(value));
    end(w);
}

void info_i64(struct info_writer *w, const char *name, int64_t value)
{
    char text[NUM_I64_TEXT_MAX];
    begin(w, name);
    buf_add(w->out, text, num_format_i64(text, value));
    end(w);
}

void info_u64(struct info_writer *w, const char *name, uint64_t value)
{
    char text[NUM_I64_TEXT_MAX];
    begin(w, name);
    buf_add(w->out, text, num_format_u64(text, value));
    end(w);
}

void info_f2(struct info_writer *w, const char *name, double value)
{
    info_fmt(w, name, "%.2f", value);
}

void info_human(struct info_writer *w, const char *name, uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    double scaled = (double)bytes;
    uint32_t unit = 0;
    /* By the integer, not by the rounded text: 1048575 is 1024.00K, as Redis writes it. */
    for (uint64_t rest = bytes; rest >= 1024 && unit < sizeof units - 2; rest >>= 10) {
        scaled /= 1024;
        unit++;
    }
    if (unit == 0)
        info_fmt(w, name, "%uB", (unsigned)bytes);
    else
        info_fmt(w, name, "%.2f%c", scaled, units[unit]);
}

void info_fmt(struct info_writer *w, const char *name, const char *fmt, ...)
{
    char text[INFO_VALUE_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert(n >= 0);
    assert((size_t)n < sizeof text);
    begin(w, name);
    buf_add(w->out, text, (size_t)n);
    end(w);
}
