/* Where settings come from: built-in values, profile, file (with includes), environment, command line;
 * and back into the file by CONFIG REWRITE. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/config_priv.h"
#include "node/node.h"
#include "version.h"

#define WORDS_MAX 64
#define INCLUDE_DEPTH_MAX 8
#define FILE_BYTES_MAX (1u << 20)

static struct buf warnings;

void config__warn(const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (warnings.data == NULL) buf_init(&warnings, MEM_NODE);
    buf_addf(&warnings, "%s\n", line);
}

void config_log_warnings(void)
{
    const char *at = (const char *)warnings.data;
    size_t left = warnings.len;
    while (left > 0) {
        const char *end = memchr(at, '\n', left);
        log_warning("config", "%.*s", (int)(end - at), at);
        left -= (size_t)(end - at) + 1;
        at = end + 1;
    }
    buf_free(&warnings);
}

/* ---- one directive from anywhere */

static void join(const struct bytes *words, int n, struct buf *out)
{
    for (int i = 0; i < n; i++) {
        if (i > 0) buf_add_byte(out, ' ');
        buf_add_bytes(out, words[i]);
    }
}

static const struct {
    const char *name, *why;
} refused_words[] = {
    {"rename-command", "commands cannot be renamed; use requirepass and protected-mode"},
    {"user", "users other than default are not there yet; requirepass is"},
    {"loadmodule", "modules written for other servers cannot be loaded"},
};

static bool set_words(struct bytes name, const struct bytes *words, int n, const char *where,
                      struct buf *why)
{
    for (size_t i = 0; i < COUNT_OF(refused_words); i++)
        if (bytes_is(name, refused_words[i].name)) {
            buf_addf(why, "%s: '%s' is not supported: %s", where, refused_words[i].name,
                     refused_words[i].why);
            return false;
        }
    const struct directive *d = config__find(name);
    if (d == NULL) {
        buf_addf(why, "%s: unknown directive '%.*s'; moon --help lists all", where, (int)name.len,
                 (const char *)name.data);
        return false;
    }
    if (n == 0) {
        buf_addf(why, "%s: '%s' has no value", where, d->name);
        return false;
    }
    struct buf text;
    buf_init(&text, MEM_NODE);
    /* Repeated lines of the same file add up. */
    if (d->repeats && d->type == CONFIG_STRING && !config__is_preset(d) &&
        !bytes_is(words[0], "")) {
        config__print(d, &text);
        if (text.len > 0) buf_add_byte(&text, ' ');
    }
    join(words, n, &text);
    const char *error = NULL;
    bool flag;
    struct bytes value = buf_bytes(&text);
    if (d->type == CONFIG_BOOL && config__lenient_bool(value, &flag))
        value = flag ? BYTES_LIT("yes") : BYTES_LIT("no");
    bool ok = config__set(d, value, true, &error);
    if (!ok)
        buf_addf(why, "%s: '%s %s': %s", where, d->name,
                 d->sensitive   ? "***"
                 : text.len > 0 ? (buf_add_byte(&text, 0), (const char *)text.data)
                                : "\"\"",
                 error);
    if (ok && d->mode == MODE_KEPT && !config__is_preset(d))
        config__warn("%s: '%s' is accepted but has no effect here%s%s", where, d->name,
                     d->why != NULL ? ": " : "", d->why != NULL ? d->why : "");
    buf_free(&text);
    return ok;
}

/* ---- files */

static bool load_file(const char *path, uint32_t depth, struct buf *why);

static bool include(struct bytes pattern, uint32_t depth, const char *where, struct buf *why)
{
    char path[512];
    if (pattern.len >= sizeof path || depth >= INCLUDE_DEPTH_MAX) {
        buf_addf(why, "%s: include is too deep or its path too long", where);
        return false;
    }
    memcpy(path, pattern.data, pattern.len);
    path[pattern.len] = 0;
    glob_t found;
    int rc = glob(path, 0, NULL, &found);
    if (rc == GLOB_NOMATCH && strpbrk(path, "*?[") != NULL) return true;
    if (rc != 0) {
        buf_addf(why, "%s: include '%s': no such file", where, path);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < found.gl_pathc; i++)
        ok = load_file(found.gl_pathv[i], depth + 1, why);
    globfree(&found);
    return ok;
}

/* A '#' at the start or after white space, outside quotes, begins a comment. */
static struct bytes strip_comment(struct bytes line)
{
    uint8_t quote = 0;
    for (size_t i = 0; i < line.len; i++) {
        uint8_t ch = line.data[i];
        if (quote != 0) {
            if (ch == '\\' && quote == '"')
                i++;
            else if (ch == quote)
                quote = 0;
        } else if (ch == '"' || ch == '\'') {
            quote = ch;
        } else if (ch == '#' && (i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '\t')) {
            return bytes_view(line.data, i);
        }
    }
    return line;
}

static bool load_line(struct bytes line, const char *where, uint32_t depth, struct buf *why)
{
    char scratch[4096];
    struct bytes words[WORDS_MAX];
    line = strip_comment(line);
    if (line.len >= sizeof scratch) {
        buf_addf(why, "%s: line over %zu characters", where, sizeof scratch);
        return false;
    }
    int n = config__split(line, scratch, words, WORDS_MAX);
    if (n == 0) return true;
    if (n < 0) {
        buf_addf(why, "%s: quotes do not match, or more than %d words", where, WORDS_MAX);
        return false;
    }
    if (bytes_is(words[0], "include")) return n == 2 && include(words[1], depth, where, why);
    return set_words(words[0], words + 1, n - 1, where, why);
}

static bool load_text(struct bytes text, const char *path, uint32_t depth, struct buf *why)
{
    char where[600];
    uint32_t number = 1;
    for (size_t at = 0; at < text.len; number++) {
        const uint8_t *start = text.data + at, *end = memchr(start, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - start) : text.len - at;
        (void)snprintf(where, sizeof where, "%s:%u", path, number);
        if (!load_line(bytes_view(start, len), where, depth, why)) return false;
        at += len + 1;
    }
    return true;
}

static bool read_all(FILE *f, struct buf *out)
{
    size_t n;
    do {
        n = fread(buf_room(out, 4096), 1, 4096, f);
        out->len += n;
    } while (n > 0 && out->len <= FILE_BYTES_MAX);
    return !ferror(f) && out->len <= FILE_BYTES_MAX;
}

/* "-": standard input. False: errno, and *out is empty. */
static bool read_file(const char *path, struct buf *out)
{
    bool piped = strcmp(path, "-") == 0;
    FILE *f = piped ? stdin : fopen(path, "r");
    buf_init(out, MEM_NODE);
    if (f == NULL) return false;
    bool ok = read_all(f, out);
    int error = out->len > FILE_BYTES_MAX ? EFBIG : errno;
    if (!piped) (void)fclose(f);
    if (!ok) buf_free(out);
    errno = error;
    return ok;
}

static bool load_file(const char *path, uint32_t depth, struct buf *why)
{
    struct buf text;
    bool ok = read_file(path, &text);
    if (!ok) buf_addf(why, "cannot read the configuration file %s: %s", path, strerror(errno));
    ok = ok && load_text(buf_bytes(&text), path, depth, why);
    buf_free(&text);
    return ok;
}

/* ---- environment, profile, command line */

static bool load_environment(struct buf *why)
{
    char name[80];
    for (uint32_t i = 0; i < config__count; i++) {
        const struct directive *d = &config__table[i];
        int n = snprintf(name, sizeof name, "MOON_%s", d->name);
        for (int k = 5; k < n; k++)
            name[k] = (char)(name[k] == '-'                     ? '_'
                             : name[k] >= 'a' && name[k] <= 'z' ? name[k] - 32
                                                                : name[k]);
        const char *value = getenv(name);
        if (value == NULL) continue;
        struct bytes word = bytes_of(value);
        if (!set_words(bytes_of(d->name), &word, 1, name, why)) return false;
    }
    return true;
}

static const char *const standalone[][2] = {
    {"shards", "1"}, {"io-busy-poll-us", "40"}, {"io", "epoll"}};

static bool load_profile(const char *name, struct buf *why)
{
    if (name == NULL || strcmp(name, "none") == 0) return true;
    if (strcmp(name, "standalone") != 0) {
        buf_addf(why, "--profile %s: no such profile; there are: none, standalone", name);
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(standalone); i++) {
        struct bytes word = bytes_of(standalone[i][1]);
        if (!set_words(bytes_of(standalone[i][0]), &word, 1, "--profile", why)) return false;
    }
    return true;
}

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] == '-' && arg[2] != 0;
}

static bool load_arguments(int argc, char **argv, int from, struct buf *why)
{
    struct bytes words[WORDS_MAX];
    char where[96];
    for (int i = from; i < argc;) {
        if (!is_option(argv[i])) {
            buf_addf(why, "unexpected argument '%s'; options look like --port 6379", argv[i]);
            return false;
        }
        const char *name = argv[i++] + 2;
        int n = 0;
        while (i < argc && !is_option(argv[i]) && n < WORDS_MAX)
            words[n++] = bytes_of(argv[i++]);
        (void)snprintf(where, sizeof where, "--%.80s", name);
        if (strcmp(name, "config") == 0 || strcmp(name, "check-config") == 0) continue;
        if (strcmp(name, "check-log") == 0) {
            config.check_log = true;
            if (n == 0) continue;
            name = "dir";
        }
        if (!set_words(bytes_of(name), words, n, where, why)) return false;
    }
    return true;
}

static const char *argument_after(int argc, char **argv, const char *option)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], option) == 0) return argv[i + 1];
    return NULL;
}

static bool has_argument(int argc, char **argv, const char *option)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], option) == 0) return true;
    return false;
}

static void print_help(void)
{
    (void)printf(
        "Usage: moon [FILE | -] [--directive value …]\n"
        "       moon --check-config FILE\n"
        "       moon --check-log DIR [--log-repair yes]\n\n"
        "FILE has the form of redis.conf. A command line option wins over an environment variable\n"
        "(MOON_MAXMEMORY=1gb), which wins over the file.\n\n"
        "  moon --port 7000 --dir /var/lib/moon --shards 4\n"
        "  moon /etc/moon/moon.conf --appendfsync always\n"
        "  echo 'maxmemory 2gb' | moon -\n\n"
        "--check-log reads the log of a stopped node, says what is damaged and what a repair would "
        "lose,\n"
        "and exits: 0 whole or repaired, 1 failed, 3 no log there, 5 in use, 10 "
        "damaged.\n\nDirectives and their built-in values:\n");
    for (uint32_t i = 0; i < config__count; i++) {
        const struct directive *d = &config__table[i];
        const char *note = d->mode == MODE_REFUSED ? "  (not there yet)"
                           : d->mode == MODE_KEPT || d->mode == MODE_SILENT
                               ? "  (accepted, no effect)"
                               : "";
        (void)printf("  --%s %s%s\n", d->name, d->preset[0] != 0 ? d->preset : "\"\"", note);
    }
}

static bool load_presets(struct buf *why)
{
    for (uint32_t i = 0; i < config__count; i++) {
        const struct directive *d = &config__table[i];
        const char *error = NULL;
        if (config__set(d, bytes_of(d->preset), true, &error)) continue;
        buf_addf(why, "built-in value of %s: %s", d->name, error);
        return false;
    }
    return true;
}

/* The absolute path, empty if there is none or it is too long. */
static void store_path(const char *path, char *to, size_t cap)
{
    char *absolute = realpath(path, NULL);
    to[0] = 0;
    if (absolute != NULL && strlen(absolute) < cap) memcpy(to, absolute, strlen(absolute) + 1);
    free(absolute); /* lint: allow banned-calls, realpath took it from libc */
}

bool config_load(int argc, char **argv, struct buf *why)
{
    if (has_argument(argc, argv, "--help") || has_argument(argc, argv, "-h")) {
        print_help();
        exit(0);
    }
    if (has_argument(argc, argv, "--version") || has_argument(argc, argv, "-v")) {
        (void)printf("Moon server v=%s\n", MOON_VERSION);
        exit(0);
    }
    int from = 1;
    const char *file = argument_after(argc, argv, "--config");
    if (file == NULL) file = argument_after(argc, argv, "--check-config");
    if (argc > 1 && !is_option(argv[1])) file = argv[from++];
    if (!load_presets(why) || !load_profile(argument_after(argc, argv, "--profile"), why))
        return false;
    if (file != NULL && !load_file(file, 0, why)) return false;
    if (file != NULL && strcmp(file, "-") != 0)
        store_path(file, node.config_file, sizeof node.config_file);
    store_path("/proc/self/exe", node.executable, sizeof node.executable);
    if (!load_environment(why) || !load_arguments(argc, argv, from, why)) return false;
    if (!has_argument(argc, argv, "--check-config")) return true;
    (void)printf("configuration is good\n");
    exit(0);
}

/* ---- CONFIG REWRITE: lines of known directives get their values, the rest stays as it is */

static void add_quoted(struct buf *out, struct bytes text)
{
    bool plain = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        plain &= text.data[i] > ' ' && text.data[i] != '"' && text.data[i] != '\'' &&
                 text.data[i] != '#' && text.data[i] != '\\' && text.data[i] < 127;
    if (plain) {
        buf_add_bytes(out, text);
        return;
    }
    buf_add_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t ch = text.data[i];
        if (ch == '"' || ch == '\\')
            buf_addf(out, "\\%c", ch);
        else if (ch < ' ' || ch >= 127)
            buf_addf(out, "\\x%02x", ch);
        else
            buf_add_byte(out, ch);
    }
    buf_add_byte(out, '"');
}

static void add_directive(const struct directive *d, struct buf *out)
{
    struct buf value;
    buf_init(&value, MEM_NODE);
    config__print(d, &value);
    buf_addf(out, "%s ", d->name);
    /* Lists and repeated ones are several words; a string is one. */
    if (d->type == CONFIG_LIST || d->repeats)
        buf_add_bytes(out, value.len > 0 ? buf_bytes(&value) : BYTES_LIT("\"\""));
    else
        add_quoted(out, buf_bytes(&value));
    buf_add_byte(out, '\n');
    buf_free(&value);
}

/* The words of a line mean what d is now: the line, with its comment, may stay. */
static bool says_value(const struct directive *d, const struct bytes *words, int n)
{
    bool flag, same = false;
    struct buf text;
    buf_init(&text, MEM_NODE);
    join(words, n, &text);
    struct bytes value = buf_bytes(&text);
    if (d->type == CONFIG_BOOL && config__lenient_bool(value, &flag))
        value = flag ? BYTES_LIT("yes") : BYTES_LIT("no");
    same = n > 0 && config__is_value(d, value);
    buf_free(&text);
    return same;
}

static void rewrite_lines(struct bytes old, struct buf *out, bool *seen)
{
    for (size_t at = 0; at < old.len;) {
        const uint8_t *start = old.data + at, *end = memchr(start, '\n', old.len - at);
        size_t len = end != NULL ? (size_t)(end - start) : old.len - at;
        at += len + 1;
        char scratch[4096];
        struct bytes words[WORDS_MAX], line = strip_comment(bytes_view(start, len));
        int n = line.len < sizeof scratch ? config__split(line, scratch, words, WORDS_MAX) : 0;
        const struct directive *d = n > 0 ? config__find(words[0]) : NULL;
        bool first = d != NULL && !seen[d - config__table];
        if (d == NULL || (first && says_value(d, words + 1, n - 1))) {
            buf_add(out, start, len);
            buf_add_byte(out, '\n');
        } else if (first) {
            add_directive(d, out);
        }
        if (first) seen[d - config__table] = true;
    }
}

static bool write_all(int fd, struct bytes text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text = bytes_view(text.data + n, text.len - (size_t)n);
    }
    return true;
}

/* Without it the rename may be undone by a power loss. */
static bool sync_dir_of(const char *path)
{
    char dir[256];
    (void)snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/'); /* the path is absolute */
    slash[slash == dir] = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) (void)close(fd);
    return ok;
}

/* Gives the new file what the old one had. Another owner may be refused: then it is ours. */
static bool fill_temp(int fd, struct bytes text, const struct stat *was)
{
    bool owned = fchown(fd, was->st_uid, was->st_gid) == 0;
    (void)owned;
    return write_all(fd, text) && fchmod(fd, was->st_mode & 0777) == 0 && fsync(fd) == 0;
}

/* The file is at any moment the old one or the new one, whole. It may hold a password: until it has the old
 * one's mode nobody else may read it. False: errno. */
static bool replace_file(const char *path, struct bytes text)
{
    char temp[300];
    struct stat was;
    (void)snprintf(temp, sizeof temp, "%s.%d.tmp", path, (int)getpid());
    if (stat(path, &was) != 0) return false;
    (void)unlink(temp); /* of a process that died */
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool ok = fill_temp(fd, text, &was) && rename(temp, path) == 0;
    int error = errno;
    (void)close(fd);
    if (ok) return sync_dir_of(path);
    (void)unlink(temp);
    errno = error;
    return false;
}

/* What the file should hold. */
static void render(struct bytes old, struct buf *out)
{
    bool *seen = mem_zalloc(MEM_NODE, config__count * sizeof *seen);
    bool titled = false;
    config_lock();
    rewrite_lines(old, out, seen);
    for (uint32_t i = 0; i < config__count; i++) {
        if (seen[i] || config__is_preset(&config__table[i])) continue;
        if (!titled) buf_addf(out, "# Generated by CONFIG REWRITE\n");
        titled = true;
        add_directive(&config__table[i], out);
    }
    config_unlock();
    mem_free(MEM_NODE, seen, config__count * sizeof *seen);
}

bool config__rewrite(struct buf *why)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    if (node.config_file[0] == 0) {
        buf_addf(why, "The server is running without a config file");
        return false;
    }
    struct buf old, out;
    (void)pthread_mutex_lock(&one);
    bool ok = read_file(node.config_file, &old);
    int error = errno;
    if (ok) {
        buf_init(&out, MEM_NODE);
        render(buf_bytes(&old), &out);
        ok = replace_file(node.config_file, buf_bytes(&out));
        error = errno;
        buf_free(&out);
    }
    if (!ok) buf_addf(why, "Rewriting config file: %s", strerror(error));
    (void)pthread_mutex_unlock(&one);
    buf_free(&old);
    return ok;
}
