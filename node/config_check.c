/* Values of directives that their type alone does not tell: lists, and texts of a form of their own. The error
 * texts are Redis's. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "node/config_priv.h"
#include "node/node.h"
#include "shard/base/num.h"

static char error_text[160];

/* ---- bind */

static bool parse_addresses(struct bytes text, bool apply, char (*at)[64], uint32_t *count,
                            const char **error_out)
{
    char scratch[2048];
    struct bytes words[CONFIG_BIND_MAX];
    int n = text.len < sizeof scratch ? config__split(text, scratch, words, CONFIG_BIND_MAX) : -1;
    *error_out = "Too many bind addresses specified.";
    if (n < 0) return false;
    for (int i = 0; i < n; i++) {
        *error_out = "an address is longer than 63 characters";
        if (words[i].len >= sizeof at[0]) return false;
    }
    if (n == 1 && words[0].len == 0) n = 0;
    if (!apply) return true;
    *count = (uint32_t)n;
    for (int i = 0; i < n; i++) {
        if (words[i].len > 0) memcpy(at[i], words[i].data, words[i].len);
        at[i][words[i].len] = 0;
    }
    return true;
}

bool config__parse_bind(struct bytes text, bool apply, const char **error_out)
{
    return parse_addresses(text, apply, config.bind, &config.bind_count, error_out);
}

void config__print_bind(struct buf *out)
{
    for (uint32_t i = 0; i < config.bind_count; i++)
        buf_addf(out, i == 0 ? "%s" : " %s", config.bind[i]);
}

bool config__parse_bus_bind(struct bytes text, bool apply, const char **error_out)
{
    return parse_addresses(text, apply, config.cluster_bus_bind, &config.cluster_bus_bind_count,
                           error_out);
}

void config__print_bus_bind(struct buf *out)
{
    for (uint32_t i = 0; i < config.cluster_bus_bind_count; i++)
        buf_addf(out, i == 0 ? "%s" : " %s", config.cluster_bus_bind[i]);
}

/* ---- client-output-buffer-limit */

static const char *const class_names[CLIENT_CLASSES] = {"normal", "slave", "pubsub"};

static int client_class(struct bytes name)
{
    if (bytes_is(name, "replica")) return CLIENT_REPLICA;
    for (int i = 0; i < CLIENT_CLASSES; i++)
        if (bytes_is(name, class_names[i])) return i;
    return -1;
}

bool config__parse_output_limit(struct bytes text, bool apply, const char **error_out)
{
    struct bytes words[4 * CLIENT_CLASSES];
    int n = config__words(text, words, 4 * CLIENT_CLASSES);
    *error_out = "Wrong number of arguments in buffer limit configuration.";
    if (n < 0 || n % 4 != 0) return false;
    for (int i = 0; i < n; i += 4) {
        uint64_t hard, soft;
        int64_t seconds;
        int class = client_class(words[i]);
        *error_out = "Invalid client class specified in buffer limit configuration.";
        if (class < 0) return false;
        *error_out = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        if (!num_parse_size(words[i + 1], &hard) || !num_parse_size(words[i + 2], &soft) ||
            !num_parse_i64(words[i + 3], &seconds) || seconds < 0 || seconds > UINT32_MAX)
            return false;
        if (!apply) continue;
        config.output_limit[class].hard = hard;
        config.output_limit[class].soft = soft;
        config.output_limit[class].soft_seconds = (uint32_t)seconds;
    }
    return true;
}

void config__print_output_limit(struct buf *out)
{
    for (int i = 0; i < CLIENT_CLASSES; i++)
        buf_addf(out, "%s%s %llu %llu %u", i == 0 ? "" : " ", class_names[i],
                 (unsigned long long)config.output_limit[i].hard,
                 (unsigned long long)config.output_limit[i].soft,
                 config.output_limit[i].soft_seconds);
}

/* ---- latency-tracking-info-percentiles */

bool config__parse_percentiles(struct bytes text, bool apply, const char **error_out)
{
    struct bytes words[CONFIG_PERCENTILES_MAX];
    int n = config__words(text, words, CONFIG_PERCENTILES_MAX);
    *error_out = "Invalid latency-tracking-info-percentiles parameters";
    if (n < 0) return false;
    double p[CONFIG_PERCENTILES_MAX];
    for (int i = 0; i < n; i++) {
        if (!num_parse_double(words[i], &p[i])) return false;
        if (p[i] >= 0 && p[i] <= 100) continue;
        *error_out = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        return false;
    }
    if (!apply) return true;
    config.percentile_count = (uint32_t)n;
    if (n > 0) memcpy(config.percentile, p, (size_t)n * sizeof *p);
    return true;
}

void config__print_percentiles(struct buf *out)
{
    for (uint32_t i = 0; i < config.percentile_count; i++)
        buf_addf(out, "%s%.10g", i == 0 ? "" : " ", config.percentile[i]);
}

/* ---- texts */

bool config__check_save(struct bytes text, const char **error_out)
{
    struct bytes words[64];
    int n = config__words(text, words, 64);
    *error_out = "Invalid save parameters";
    if (n < 0 || n % 2 != 0) return false;
    for (int i = 0; i < n; i += 2) {
        int64_t seconds, changes;
        if (!num_parse_i64(words[i], &seconds) || seconds < 1 || seconds > INT32_MAX) return false;
        if (!num_parse_i64(words[i + 1], &changes) || changes < 0 || changes > INT32_MAX)
            return false;
    }
    return true;
}

bool config__check_events(struct bytes text, const char **error_out)
{
    *error_out = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
    for (size_t i = 0; i < text.len; i++)
        if (strchr("Ag$lshzxeKEtmdn", text.data[i]) == NULL || text.data[i] == 0) return false;
    return true;
}

bool config__check_oom_values(struct bytes text, const char **error_out)
{
    struct bytes words[3];
    int64_t v[3];
    *error_out = "wrong number of arguments";
    if (config__words(text, words, 3) != 3) return false;
    for (int i = 0; i < 3; i++) {
        *error_out = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
        if (!num_parse_i64(words[i], &v[i]) || v[i] < -2000 || v[i] > 2000) return false;
    }
    return true;
}

/* {title} and the like: only known names, and no brace alone. */
bool config__check_title(struct bytes text, const char **error_out)
{
    static const char *const names[] = {"title",    "listen-addr", "server-mode", "port",
                                        "tls-port", "unixsocket",  "config-file"};
    *error_out = "template format is invalid or contains unknown variables";
    if (text.len == 0) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '{') continue;
        const uint8_t *end = memchr(text.data + i, '}', text.len - i);
        if (end == NULL) return false;
        struct bytes name = bytes_view(text.data + i + 1, (size_t)(end - text.data) - i - 1);
        bool known = false;
        for (size_t k = 0; k < COUNT_OF(names); k++)
            known |= bytes_equal(name, bytes_of(names[k]));
        if (!known) return false;
        i = (size_t)(end - text.data);
    }
    return true;
}

bool config__check_file_name(struct bytes text, const char **error_out)
{
    *error_out = "dbfilename can't be a path, just a filename";
    return text.len == 0 || memchr(text.data, '/', text.len) == NULL;
}

/* Other nodes and clients find it in lines of words and commas. */
bool config__check_announced(struct bytes text, const char **error_out)
{
    *error_out = "Addresses may not contain spaces, commas or control characters";
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] == ',' || text.data[i] >= 127) return false;
    return true;
}

bool config__check_hostname(struct bytes text, const char **error_out)
{
    *error_out = "Hostnames must be less than 256 characters";
    if (text.len >= 256) return false;
    *error_out = "Hostnames may only contain alphanumeric characters, hyphens or dots";
    for (size_t i = 0; i < text.len; i++)
        if (!isalnum(text.data[i]) && text.data[i] != '-' && text.data[i] != '.') return false;
    return true;
}

bool config__check_shutdown_words(struct bytes text, const char **error_out)
{
    static const char *const known[] = {"default", "save", "nosave", "now", "force"};
    struct bytes words[8];
    int n = config__words(text, words, 8);
    *error_out = "argument(s) must be one of the following: default, save, nosave, now, force";
    if (n <= 0) return false;
    for (int i = 0; i < n; i++) {
        bool found = false;
        for (size_t k = 0; k < COUNT_OF(known); k++)
            found |= bytes_is(words[i], known[k]);
        if (!found) return false;
    }
    return true;
}

/* ---- what a running node can change to */

uint32_t config_fit_clients(uint32_t want)
{
    struct rlimit limit;
    rlim_t files = (rlim_t)want + CONFIG_FILES_BESIDE_CLIENTS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= files) return want;
    struct rlimit raised = {.rlim_cur = files,
                            .rlim_max = limit.rlim_max > files ? limit.rlim_max : files};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return want;
    raised = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    (void)setrlimit(RLIMIT_NOFILE, &raised);
    if (limit.rlim_max >= files) return want;
    return limit.rlim_max > CONFIG_FILES_BESIDE_CLIENTS
               ? (uint32_t)(limit.rlim_max - CONFIG_FILES_BESIDE_CLIENTS)
               : 1;
}

bool config__check_live_maxclients(struct bytes text, const char **error_out)
{
    uint64_t want;
    if (!num_parse_u64(text, &want)) return true; /* the type says so */
    uint32_t fits = config_fit_clients((uint32_t)want);
    if (fits >= want) return true;
    (void)snprintf(error_text, sizeof error_text,
                   "The operating system is not able to handle the specified number of clients, "
                   "try with %u",
                   fits);
    *error_out = error_text;
    return false;
}

bool config__check_live_appendonly(struct bytes text, const char **error_out)
{
    bool want;
    *error_out = "the log cannot be switched on or off while the node runs: set it at the start";
    return config__parse_bool(text, &want) && want == config.appendonly;
}

bool config__check_live_dir(struct bytes text, const char **error_out)
{
    *error_out = "the data directory cannot change while the node runs: its log lies there";
    return bytes_equal(text, bytes_of(node.dir)) || bytes_equal(text, bytes_of(config.dir));
}
