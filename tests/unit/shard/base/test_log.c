#include "shard/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[80], rotated[80];
static char content[1 << 20];

static const char *read_log(const char *from)
{
    int fd = open(from, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, content, sizeof content - 1);
    close(fd);
    assert_true(n >= 0);
    content[n] = '\0';
    return content;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&re, text, 0, NULL, 0) != 0) fail_msg("%s does not match %s", text, pattern);
    regfree(&re);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/moon-test-log-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(rotated, sizeof rotated, "%s/log.1", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    bool closed = log_open(NULL, LOG_NOTHING, LOG_TEXT);
    unlink(path);
    unlink(rotated);
    return closed && rmdir(folder) == 0 ? 0 : -1;
}

static void start(enum log_level level, enum log_format format)
{
    unlink(path);
    assert_true(log_open(path, level, format));
}

static void test_text_looks_like_redis(void **state)
{
    (void)state;
    start(LOG_DEBUG, LOG_TEXT);
    log_debug("shard", "a %d", 1);
    log_verbose("shard", "b");
    log_notice("", "c");
    log_set_role('S');
    log_warning("shard", "d");
    log_set_role('M');
    assert_matches(read_log(path),
                   "^[0-9]+:M [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8}\\.[0-9]{3} \\. shard: a 1\n"
                   "[0-9]+:M [^\n]+ - shard: b\n"
                   "[0-9]+:M [^\n]+ \\* c\n"
                   "[0-9]+:S [^\n]+ # shard: d\n$");
    char pid[32];
    snprintf(pid, sizeof pid, "%d:M ", (int)getpid());
    assert_memory_equal(content, pid, strlen(pid));
}

static void test_levels_filter(void **state)
{
    (void)state;
    start(LOG_WARNING, LOG_TEXT);
    assert_int_equal(log_get_level(), LOG_WARNING);
    log_debug("r", "no");
    log_verbose("r", "no");
    log_notice("r", "no");
    assert_string_equal(read_log(path), "");
    log_set_level(LOG_NOTHING);
    log_warning("r", "no");
    log_write(LOG_NOTHING, "r", "no");
    assert_string_equal(read_log(path), "");
    log_set_level(LOG_VERBOSE);
    log_debug("r", "no");
    log_verbose("r", "yes");
    assert_matches(read_log(path), "^[^\n]* - r: yes\n$");
}

static void test_text_stays_one_line(void **state)
{
    (void)state;
    start(LOG_NOTICE, LOG_TEXT);
    log_notice("r", "%s", "a\nforged:M line\x1b[31m \"q\" \\ \xff \xc3\xa4");
    assert_matches(read_log(path),
                   "r: a\\\\nforged:M line\\\\x1b\\[31m \"q\" \\\\ \\\\xff \xc3\xa4\n$");
}

static void test_logfmt(void **state)
{
    (void)state;
    start(LOG_NOTICE, LOG_LOGFMT);
    log_set_thread("shard-0");
    log_warning("journal", "say \"hi\" \\ %d\n", 5);
    log_set_thread("");
    assert_matches(read_log(path), "^ts=[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z "
                                   "level=warning pid=[0-9]+ role=M thread=shard-0 room=journal "
                                   "msg=\"say \\\\\"hi\\\\\" \\\\\\\\ 5\\\\n\"\n$");
}

static void test_json(void **state)
{
    (void)state;
    start(LOG_NOTICE, LOG_JSON);
    log_notice("journal", "say \"hi\" \\ \x01\t \xff\xc0\x80 \xe2\x82\xac");
    assert_matches(read_log(path), "^\\{\"ts\":\"[^\"]+Z\",\"level\":\"notice\",\"pid\":[0-9]+,"
                                   "\"role\":\"M\",\"room\":\"journal\",\"msg\":\"say "
                                   "\\\\\"hi\\\\\" \\\\\\\\ \\\\u0001\\\\t "
                                   "\\\\ufffd\\\\ufffd\\\\ufffd \xe2\x82\xac\"\\}\n$");
}

static void test_long_messages_are_cut_not_torn(void **state)
{
    (void)state;
    static char message[100000];
    memset(message, 'x', sizeof message - 1);
    start(LOG_NOTICE, LOG_JSON);
    log_notice("r", "%s", message);
    size_t len = strlen(read_log(path));
    assert_in_range(len, 1000, 10000);
    assert_matches(content, "x\"\\}\n$");

    memset(message, 1, sizeof message - 1); /* every byte grows to six */
    start(LOG_NOTICE, LOG_JSON);
    log_notice("r", "%s", message);
    len = strlen(read_log(path));
    assert_in_range(len, 1000, 10000);
    assert_matches(content, "\\\\u0001\"\\}\n$");
}

static void test_rotation(void **state)
{
    (void)state;
    start(LOG_NOTICE, LOG_TEXT);
    log_notice("r", "before");
    assert_int_equal(rename(path, rotated), 0);
    log_notice("r", "still before");
    assert_true(log_open(path, LOG_NOTICE, LOG_TEXT));
    log_notice("r", "after");
    assert_matches(read_log(rotated), "^[^\n]*before\n[^\n]*still before\n$");
    assert_matches(read_log(path), "^[^\n]*after\n$");
}

static void test_open_appends_and_failure_changes_nothing(void **state)
{
    (void)state;
    start(LOG_NOTICE, LOG_TEXT);
    log_notice("r", "one");
    assert_false(log_open("/nonexistent/folder/log", LOG_WARNING, LOG_JSON));
    assert_int_equal(log_get_level(), LOG_NOTICE);
    log_notice("r", "two");
    assert_true(log_open(path, LOG_NOTICE, LOG_TEXT));
    log_notice("r", "three");
    assert_matches(read_log(path), "^[^\n]*one\n[^\n]*two\n[^\n]*three\n$");
}

static void test_errno_is_kept(void **state)
{
    (void)state;
    start(LOG_NOTICE, LOG_TEXT);
    errno = ENOSPC;
    log_notice("r", "x");
    assert_int_equal(errno, ENOSPC);
}

enum { THREADS = 4, LINES = 500 };

static void *thread_logs(void *unused)
{
    (void)unused;
    log_set_thread("thread-name-too-long");
    for (int i = 0; i < LINES; i++)
        log_notice("r", "line of some length %d end", i);
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    start(LOG_NOTICE, LOG_LOGFMT);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thread_logs, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    int lines = 0;
    read_log(path);
    char *end;
    for (char *line = content; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++) {
        *end = '\0';
        assert_matches(line, "^ts=[^ ]+ level=notice pid=[0-9]+ role=M thread=thread-name-too "
                             "room=r msg=\"line of some length [0-9]+ end\"$");
    }
    assert_int_equal(lines, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_looks_like_redis),
        cmocka_unit_test(test_levels_filter),
        cmocka_unit_test(test_text_stays_one_line),
        cmocka_unit_test(test_logfmt),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_long_messages_are_cut_not_torn),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_open_appends_and_failure_changes_nothing),
        cmocka_unit_test(test_errno_is_kept),
        cmocka_unit_test(test_lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
