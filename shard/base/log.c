/* shard/base/log.c: one line per event, one write(2) per line, from any thread without a lock.
 *
 *   text     1234:M 07 Mar 2025 10:20:30.123 * shard: message
 *   logfmt   ts=2025-03-07T10:20:30.123Z level=notice pid=1234 role=M thread=shard-0 room=shard msg="message"
 *   json     {"ts":"2025-03-07T10:20:30.123Z","level":"notice","pid":1234,...,"msg":"message"}
 *
 * The text form is Redis's, so that what reads Redis logs reads ours; its time is local, the time of
 * the other two is UTC. The descriptor never changes once a file is open: opening again (another
 * path, or the same after rotation) puts the new file under the old number by dup3, so a thread that
 * writes at that moment writes to one of the two. Append mode keeps whole lines apart. */
#include "shard/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/base/num.h"

#define MESSAGE_BYTES_MAX 2048 /* longer messages are cut */
#define LINE_BYTES_MAX 8192 /* holds any message but one that is mostly escapes: that is cut too */
#define THREAD_NAME_BYTES 16

static _Atomic int log_fd = STDOUT_FILENO;
static _Atomic int log_level = LOG_NOTICE;
static _Atomic int log_format = LOG_TEXT;
static _Atomic char log_role = 'M';
static _Thread_local char thread_name[THREAD_NAME_BYTES];

/* ---- where to */

static bool redirect(int fd)
{
    int at = atomic_load_explicit(&log_fd, memory_order_relaxed);
    if (at == STDOUT_FILENO) {
        /* A number of our own: stdout itself is never replaced. */
        int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (own < 0) return false;
        atomic_store_explicit(&log_fd, own, memory_order_relaxed);
        return true;
    }
    return dup3(fd, at, O_CLOEXEC) >= 0;
}

bool log_open(const char *path, enum log_level level, enum log_format format)
{
    bool to_file = path != NULL && path[0] != '\0';
    if (to_file) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) return false;
        bool done = redirect(fd);
        close(fd);
        if (!done) return false;
    } else if (atomic_load_explicit(&log_fd, memory_order_relaxed) != STDOUT_FILENO) {
        if (!redirect(STDOUT_FILENO)) return false;
    }
    log_set_level(level);
    log_set_format(format);
    return true;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_set_format(enum log_format format)
{
    atomic_store_explicit(&log_format, (int)format, memory_order_relaxed);
}

void log_set_role(char role)
{
    atomic_store_explicit(&log_role, role, memory_order_relaxed);
}

void log_set_thread(const char *name)
{
    size_t len = strnlen(name, THREAD_NAME_BYTES - 1);
    memcpy(thread_name, name, len);
    thread_name[len] = '\0';
}

/* ---- the line */

struct line {
    size_t len;
    char text[LINE_BYTES_MAX];
};

/* What the line must still be able to take when its message was cut: quote, brace, newline. */
#define LINE_TAIL_BYTES 4

static void put(struct line *l, const char *text, size_t len)
{
    size_t room = sizeof l->text - LINE_TAIL_BYTES - l->len;
    if (len > room) return; /* an escape is written whole or not at all */
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_u64(struct line *l, uint64_t v)
{
    char text[NUM_I64_TEXT_MAX];
    put(l, text, num_format_u64(text, v));
}

/* The end of the line is always written: put() leaves room for it. */
static void put_tail(struct line *l, const char *text)
{
    size_t len = strlen(text);
    assert(l->len + len <= sizeof l->text);
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

/* Length of the well-formed UTF-8 sequence at p, 0 if there is none. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n == 0 || n > left || p[0] > 0xf4) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0; /* overlong */
    if (p[0] == 0xed && p[1] > 0x9f) return 0; /* surrogate */
    if (p[0] == 0xf0 && p[1] < 0x90) return 0; /* overlong */
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0; /* above U+10FFFF */
    return n;
}

static void put_hex_byte(struct line *l, const char *prefix, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    char text[8];
    size_t len = strlen(prefix);
    memcpy(text, prefix, len);
    text[len] = hex[c >> 4];
    text[len + 1] = hex[c & 15];
    put(l, text, len + 2);
}

/* One byte that may not stand as it is: a forged line or a terminal command must not get through. */
static void put_escaped(struct line *l, uint8_t c, bool json)
{
    switch (c) {
    case '\n':
        put_text(l, "\\n");
        return;
    case '\r':
        put_text(l, "\\r");
        return;
    case '\t':
        put_text(l, "\\t");
        return;
    case '"':
        put_text(l, "\\\"");
        return;
    case '\\':
        put_text(l, "\\\\");
        return;
    default:
        break;
    }
    if (json && c >= 0x80)
        put_text(l, "\\ufffd"); /* JSON has no way to write a stray byte */
    else
        put_hex_byte(l, json ? "\\u00" : "\\x", c);
}

static void put_message(struct line *l, const char *text, enum log_format format)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
    while (p != end) {
        bool quoted = format != LOG_TEXT && (*p == '"' || *p == '\\');
        size_t n = *p < 0x20 || *p == 0x7f || quoted ? 0 : utf8_length(p, (size_t)(end - p));
        if (n != 0)
            put(l, (const char *)p, n);
        else
            put_escaped(l, *p, format == LOG_JSON);
        p += n != 0 ? n : 1;
    }
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "verbose", "notice", "warning"};
    return names[level];
}

static void put_time(struct line *l, bool local)
{
    int64_t us = clock_wall_us(&clock_real);
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    if (local)
        localtime_r(&seconds, &tm);
    else
        gmtime_r(&seconds, &tm);
    char text[64];
    size_t n = strftime(text, sizeof text, local ? "%d %b %Y %H:%M:%S" : "%Y-%m-%dT%H:%M:%S", &tm);
    put(l, text, n);
    (void)snprintf(text, sizeof text, ".%03d", (int)(us / 1000 % 1000));
    put_text(l, text);
    if (!local) put_text(l, "Z");
}

static void line_text(struct line *l, enum log_level level, const char *room, const char *message)
{
    const char role_mark[] = {':', atomic_load_explicit(&log_role, memory_order_relaxed), ' ',
                              '\0'};
    const char level_mark[] = {' ', ".-*#"[level], ' ', '\0'};
    put_u64(l, (uint64_t)getpid());
    put_text(l, role_mark);
    put_time(l, true);
    put_text(l, level_mark);
    if (room != NULL && room[0] != '\0') {
        put_text(l, room);
        put_text(l, ": ");
    }
    put_message(l, message, LOG_TEXT);
    put_tail(l, "\n");
}

static void line_logfmt(struct line *l, enum log_level level, const char *room, const char *message)
{
    const char role[] = {atomic_load_explicit(&log_role, memory_order_relaxed), '\0'};
    put_text(l, "ts=");
    put_time(l, false);
    put_text(l, " level=");
    put_text(l, level_name(level));
    put_text(l, " pid=");
    put_u64(l, (uint64_t)getpid());
    put_text(l, " role=");
    put_text(l, role);
    if (thread_name[0] != '\0') {
        put_text(l, " thread=");
        put_text(l, thread_name);
    }
    if (room != NULL && room[0] != '\0') {
        put_text(l, " room=");
        put_text(l, room);
    }
    put_text(l, " msg=\"");
    put_message(l, message, LOG_LOGFMT);
    put_tail(l, "\"\n");
}

static void json_field(struct line *l, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0') return;
    put_text(l, ",\"");
    put_text(l, name);
    put_text(l, "\":\"");
    put_message(l, value, LOG_JSON);
    put_text(l, "\"");
}

static void line_json(struct line *l, enum log_level level, const char *room, const char *message)
{
    const char role[] = {atomic_load_explicit(&log_role, memory_order_relaxed), '\0'};
    put_text(l, "{\"ts\":\"");
    put_time(l, false);
    put_text(l, "\"");
    json_field(l, "level", level_name(level));
    put_text(l, ",\"pid\":");
    put_u64(l, (uint64_t)getpid());
    json_field(l, "role", role);
    json_field(l, "thread", thread_name);
    json_field(l, "room", room);
    put_text(l, ",\"msg\":\"");
    put_message(l, message, LOG_JSON);
    put_tail(l, "\"}\n");
}

static void line_write(const struct line *l)
{
    int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
    ssize_t n;
    do
        n = write(fd, l->text, l->len);
    while (n < 0 && errno == EINTR);
    /* A full disk must not stop the database: the line is lost, the next one is tried. */
}

void log_write(enum log_level level, const char *room, const char *fmt, ...)
{
    if (level < log_get_level() || level >= LOG_NOTHING) return;
    int former_errno = errno; /* callers log and then look at errno */
    char message[MESSAGE_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    assert(n >= 0);
    struct line l;
    l.len = 0;
    switch ((enum log_format)atomic_load_explicit(&log_format, memory_order_relaxed)) {
    case LOG_LOGFMT:
        line_logfmt(&l, level, room, message);
        break;
    case LOG_JSON:
        line_json(&l, level, room, message);
        break;
    case LOG_TEXT:
        line_text(&l, level, room, message);
        break;
    }
    line_write(&l);
    errno = former_errno;
}
