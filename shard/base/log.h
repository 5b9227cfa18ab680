/* shard/base/log.h: leveled log in text, logfmt or JSON. Lines are whole (one write each) and never
 * hold key values unless hide-user-data-from-log is off. Safe from every thread. */
#ifndef MOON_BASE_LOG_H
#define MOON_BASE_LOG_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };
enum log_format { LOG_TEXT, LOG_LOGFMT, LOG_JSON };

/* path NULL or "": stdout, as Redis does. Returns false if the file cannot be opened; the log then
 * goes where it went. May be called again at any time (another path, or the same after rotation). */
MUST_CHECK bool log_open(const char *path, enum log_level level, enum log_format format);
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
enum log_level log_get_level(void);
void log_set_role(char role); /* the letter behind the pid: 'M' primary (at start), 'S' replica */
void log_set_thread(const char *name); /* "shard-0": copied, ≤ 15 bytes */
void log_write(enum log_level level, const char *room, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(room, ...)                                                                       \
    do {                                                                                           \
        if (unlikely(log_get_level() <= LOG_DEBUG)) log_write(LOG_DEBUG, room, __VA_ARGS__);       \
    } while (0)
#define log_verbose(room, ...) log_write(LOG_VERBOSE, room, __VA_ARGS__)
#define log_notice(room, ...) log_write(LOG_NOTICE, room, __VA_ARGS__)
#define log_warning(room, ...) log_write(LOG_WARNING, room, __VA_ARGS__)

#endif
