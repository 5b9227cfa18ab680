/* The table of all directives. Order is that of CONFIG GET. */
#include "node/config_priv.h"
#include "node/node.h"
#include "shard/types/value.h"

static const char *const io_names[] = {"auto", "uring", "epoll", NULL};
static const char *const fsync_names[] = {"always", "everysec", "no", NULL};
static const char *const level_names[] = {"debug", "verbose", "notice", "warning", "nothing", NULL};
static const char *const format_names[] = {"text", "logfmt", "json", NULL};
static const char *const permit_names[] = {"no", "local", "yes", NULL};
static const char *const policy_names[] = {"noeviction", NULL};
static const char *const yes_no_optional[] = {"no", "yes", "optional", NULL};
static const char *const profile_names[] = {"none", "standalone", NULL};
static uint32_t profile_unused, policy_unused, tls_auth_unused;

static void apply_memory(void)
{
    atomic_store_explicit(&node.shared.maxmemory, config.maxmemory, memory_order_relaxed);
}

static void apply_bulk(void)
{
    atomic_store_explicit(&node.shared.string_bytes_max, config.proto_max_bulk_len,
                          memory_order_relaxed);
}

static void apply_slowlog(void)
{
    atomic_store_explicit(&node.shared.slowlog_us, config.slowlog_us, memory_order_relaxed);
}

static void apply_log(void)
{
    log_set_level(config.loglevel);
    log_set_format(config.log_format);
}

static void apply_fsync(void)
{
    config__changed_fsync = true;
}

/* ---- lists */

static bool parse_bind(struct bytes text, bool apply, const char **error_out)
{
    char scratch[2048];
    struct bytes words[CONFIG_BIND_MAX];
    int n = text.len < sizeof scratch ? config__split(text, scratch, words, CONFIG_BIND_MAX) : -1;
    for (int i = 0; i < n; i++)
        if (words[i].len >= sizeof config.bind[0]) n = -1;
    if (n < 0) {
        *error_out = "argument must be at most 16 addresses of at most 63 characters";
        return false;
    }
    if (!apply) return true;
    config.bind_count = (uint32_t)n;
    for (int i = 0; i < n; i++) {
        memcpy(config.bind[i], words[i].data, words[i].len);
        config.bind[i][words[i].len] = 0;
    }
    return true;
}

static void print_bind(struct buf *out)
{
    for (uint32_t i = 0; i < config.bind_count; i++)
        buf_addf(out, i == 0 ? "%s" : " %s", config.bind[i]);
}

static const char *const class_names[CLIENT_CLASSES] = {"normal", "slave", "pubsub"};

static int client_class(struct bytes name)
{
    if (bytes_is(name, "replica")) return CLIENT_REPLICA;
    for (int i = 0; i < CLIENT_CLASSES; i++)
        if (bytes_is(name, class_names[i])) return i;
    return -1;
}

static bool parse_output_limit(struct bytes text, bool apply, const char **error_out)
{
    char scratch[1024];
    struct bytes words[4 * CLIENT_CLASSES];
    int n =
        text.len < sizeof scratch ? config__split(text, scratch, words, 4 * CLIENT_CLASSES) : -1;
    *error_out = "Wrong number of arguments in buffer limit configuration.";
    if (n <= 0 || n % 4 != 0) return false;
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

static void print_output_limit(struct buf *out)
{
    for (int i = 0; i < CLIENT_CLASSES; i++)
        buf_addf(out, "%s%s %llu %llu %u", i == 0 ? "" : " ", class_names[i],
                 (unsigned long long)config.output_limit[i].hard,
                 (unsigned long long)config.output_limit[i].soft,
                 config.output_limit[i].soft_seconds);
}

/* ---- rows */

#define BOOL(n, field, preset_, mode_)                                                             \
    {                                                                                              \
        .name = n, .type = CONFIG_BOOL, .mode = mode_, .preset = preset_, .target = &config.field  \
    }
#define U32(n, field, preset_, lo, hi, mode_)                                                      \
    {                                                                                              \
        .name = n, .type = CONFIG_U32, .mode = mode_, .preset = preset_, .target = &config.field,  \
        .min = lo, .max = hi                                                                       \
    }
#define SIZE(n, field, preset_, lo, hi, mode_)                                                     \
    {                                                                                              \
        .name = n, .type = CONFIG_SIZE, .mode = mode_, .preset = preset_, .target = &config.field, \
        .min = lo, .max = hi                                                                       \
    }
#define TEXT(n, field, preset_, mode_)                                                             \
    {                                                                                              \
        .name = n, .type = CONFIG_STRING, .mode = mode_, .preset = preset_,                        \
        .target = config.field, .cap = sizeof config.field                                         \
    }
#define ENUM(n, field, names_, preset_, mode_)                                                     \
    {                                                                                              \
        .name = n, .type = CONFIG_ENUM, .mode = mode_, .preset = preset_, .target = &config.field, \
        .names = names_                                                                            \
    }
#define LIMIT(n, alias_, field, preset_, hi)                                                       \
    {                                                                                              \
        .name = n, .alias = alias_, .type = CONFIG_U32, .mode = MODE_LIVE, .preset = preset_,      \
        .target = &type_limits.field, .max = hi                                                    \
    }
/* Known, kept, shown, without effect. */
#define KEPT(n, type_, preset_, why_)                                                              \
    {                                                                                              \
        .name = n, .type = type_, .mode = MODE_KEPT, .preset = preset_, .min = INT64_MIN,          \
        .max = INT64_MAX, .why = why_                                                              \
    }
#define QUIET(n, type_, preset_)                                                                   \
    {                                                                                              \
        .name = n, .type = type_, .mode = MODE_SILENT, .preset = preset_, .min = INT64_MIN,        \
        .max = INT64_MAX                                                                           \
    }
#define REFUSED(n, type_, preset_, why_)                                                           \
    {                                                                                              \
        .name = n, .type = type_, .mode = MODE_REFUSED, .preset = preset_, .min = INT64_MIN,       \
        .max = INT64_MAX, .why = why_                                                              \
    }

#define LATER_TLS "TLS is not there yet: put stunnel or a proxy in front, or leave it out"
#define LATER_REPL "replication is not there yet"
#define LATER_CLUSTER "cluster mode is not there yet"
#define LATER_RDB "snapshots are not there yet; the log (appendonly yes) keeps the data"
#define LATER_EVICT                                                                                \
    "only noeviction is there yet: with maxmemory set, writes are refused when it is full"
#define OURS_LOG "the log of this server needs no rewriting of this kind"

// clang-format off
const struct directive config__table[] = {
    /* network and clients */
    {.name = "bind", .type = CONFIG_LIST, .mode = MODE_START, .preset = "* -::*", .parse = parse_bind, .print = print_bind},
    QUIET("bind-source-addr", CONFIG_STRING, ""),
    U32("port", port, "6379", 0, 65535, MODE_START),
    REFUSED("tls-port", CONFIG_U32, "0", LATER_TLS),
    TEXT("unixsocket", unixsocket, "", MODE_START),
    {.name = "unixsocketperm", .type = CONFIG_OCTAL, .mode = MODE_START, .preset = "0", .target = &config.unixsocketperm, .max = 0777},
    QUIET("unixsocketgroup", CONFIG_STRING, ""),
    U32("tcp-backlog", tcp_backlog, "511", 0, INT32_MAX, MODE_START),
    U32("tcp-keepalive", tcp_keepalive_s, "300", 0, INT32_MAX, MODE_LIVE),
    U32("timeout", timeout_s, "0", 0, INT32_MAX, MODE_LIVE),
    U32("maxclients", maxclients, "10000", 1, INT32_MAX, MODE_LIVE),
    BOOL("protected-mode", protected_mode, "yes", MODE_LIVE),
    {.name = "requirepass", .type = CONFIG_STRING, .mode = MODE_LIVE, .preset = "", .target = config.requirepass, .cap = sizeof config.requirepass, .sensitive = true},
    SIZE("client-query-buffer-limit", client_query_buffer_limit, "1073741824", 1 << 20, INT64_MAX, MODE_LIVE),
    {.name = "client-output-buffer-limit", .type = CONFIG_LIST, .mode = MODE_LIVE, .preset = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", .parse = parse_output_limit, .print = print_output_limit, .repeats = true},
    QUIET("maxmemory-clients", CONFIG_SIZE, "0"),
    {.name = "proto-max-bulk-len", .type = CONFIG_SIZE, .mode = MODE_LIVE, .preset = "536870912", .target = &config.proto_max_bulk_len, .min = 1 << 20, .max = STRING_BYTES_MAX, .applied = apply_bulk},
    QUIET("client-default-resp", CONFIG_I64, "2"),
    QUIET("tracking-table-max-keys", CONFIG_I64, "1000000"),
    QUIET("max-new-connections-per-cycle", CONFIG_I64, "10"),
    QUIET("max-new-tls-connections-per-cycle", CONFIG_I64, "1"),
    KEPT("io-threads", CONFIG_I64, "1", "shards do that work: see shards"),
    QUIET("io-threads-do-reads", CONFIG_BOOL, "no"),
    QUIET("prefetch-batch-max-size", CONFIG_I64, "16"),
    QUIET("events-per-io-thread", CONFIG_I64, "2"),
    QUIET("socket-mark-id", CONFIG_I64, "0"),
    U32("client-write-timeout-ms", client_write_timeout_ms, "60000", 0, INT32_MAX, MODE_LIVE),
    /* TLS */
    QUIET("tls-cert-file", CONFIG_STRING, ""), QUIET("tls-key-file", CONFIG_STRING, ""), QUIET("tls-key-file-pass", CONFIG_STRING, ""),
    QUIET("tls-client-cert-file", CONFIG_STRING, ""), QUIET("tls-client-key-file", CONFIG_STRING, ""), QUIET("tls-client-key-file-pass", CONFIG_STRING, ""),
    QUIET("tls-ca-cert-file", CONFIG_STRING, ""), QUIET("tls-ca-cert-dir", CONFIG_STRING, ""), QUIET("tls-dh-params-file", CONFIG_STRING, ""),
    QUIET("tls-protocols", CONFIG_STRING, ""), QUIET("tls-ciphers", CONFIG_STRING, ""), QUIET("tls-ciphersuites", CONFIG_STRING, ""),
    {.name = "tls-auth-clients", .type = CONFIG_ENUM, .mode = MODE_SILENT, .preset = "yes", .target = &tls_auth_unused, .names = yes_no_optional},
    REFUSED("tls-replication", CONFIG_BOOL, "no", LATER_TLS), REFUSED("tls-cluster", CONFIG_BOOL, "no", LATER_TLS),
    QUIET("tls-prefer-server-ciphers", CONFIG_BOOL, "no"), QUIET("tls-session-caching", CONFIG_BOOL, "yes"),
    QUIET("tls-session-cache-size", CONFIG_I64, "20480"), QUIET("tls-session-cache-timeout", CONFIG_I64, "300"),
    /* general */
    REFUSED("daemonize", CONFIG_BOOL, "no", "let systemd or the shell run it in the background (deploy/README.md)"),
    QUIET("supervised", CONFIG_STRING, "no"),
    TEXT("pidfile", pidfile, "", MODE_START),
    QUIET("always-show-logo", CONFIG_BOOL, "no"), QUIET("set-proc-title", CONFIG_BOOL, "yes"), QUIET("proc-title-template", CONFIG_STRING, "{title} {listen-addr} {server-mode}"),
    {.name = "loglevel", .type = CONFIG_ENUM, .mode = MODE_LIVE, .preset = "notice", .target = &config.loglevel, .names = level_names, .applied = apply_log},
    TEXT("logfile", logfile, "", MODE_START),
    {.name = "log-format", .type = CONFIG_ENUM, .mode = MODE_LIVE, .preset = "text", .target = &config.log_format, .names = format_names, .applied = apply_log},
    QUIET("log-timestamp-format", CONFIG_STRING, "legacy"), KEPT("syslog-enabled", CONFIG_BOOL, "no", "logs go to stdout or logfile"), QUIET("syslog-ident", CONFIG_STRING, "moon"), QUIET("syslog-facility", CONFIG_STRING, "local0"),
    QUIET("crash-log-enabled", CONFIG_BOOL, "yes"), QUIET("crash-memcheck-enabled", CONFIG_BOOL, "yes"), QUIET("hide-user-data-from-log", CONFIG_BOOL, "yes"),
    U32("databases", databases, "16", 1, DATABASES_MAX, MODE_START),
    U32("hz", hz, "10", 1, 500, MODE_LIVE),
    QUIET("dynamic-hz", CONFIG_BOOL, "yes"), QUIET("activerehashing", CONFIG_BOOL, "yes"), QUIET("active-expire-effort", CONFIG_I64, "1"),
    ENUM("enable-debug-command", enable_debug_command, permit_names, "no", MODE_START),
    ENUM("enable-protected-configs", enable_protected_configs, permit_names, "no", MODE_START),
    QUIET("enable-module-command", CONFIG_STRING, "no"),
    U32("shutdown-timeout", shutdown_timeout_s, "10", 0, INT32_MAX, MODE_LIVE),
    QUIET("shutdown-on-sigint", CONFIG_STRING, "default"), QUIET("shutdown-on-sigterm", CONFIG_STRING, "default"),
    QUIET("oom-score-adj", CONFIG_STRING, "no"), QUIET("oom-score-adj-values", CONFIG_STRING, "0 200 800"), QUIET("disable-thp", CONFIG_BOOL, "yes"),
    QUIET("locale-collate", CONFIG_STRING, ""),
    {.name = "busy-reply-threshold", .alias = "lua-time-limit", .type = CONFIG_I64, .mode = MODE_SILENT, .preset = "5000", .max = INT64_MAX},
    QUIET("ignore-warnings", CONFIG_STRING, ""), QUIET("extended-redis-compatibility", CONFIG_BOOL, "no"), QUIET("availability-zone", CONFIG_STRING, ""),
    {.name = "server-cpulist", .alias = "server_cpulist", .type = CONFIG_STRING, .mode = MODE_SILENT, .preset = ""},
    {.name = "bio-cpulist", .alias = "bio_cpulist", .type = CONFIG_STRING, .mode = MODE_SILENT, .preset = ""},
    /* memory, eviction, encodings */
    {.name = "maxmemory", .type = CONFIG_SIZE, .mode = MODE_LIVE, .preset = "0", .target = &config.maxmemory, .max = INT64_MAX, .applied = apply_memory},
    {.name = "maxmemory-policy", .type = CONFIG_ENUM, .mode = MODE_LIVE, .preset = "noeviction", .target = &policy_unused, .names = policy_names, .why = LATER_EVICT},
    QUIET("maxmemory-samples", CONFIG_I64, "5"), QUIET("maxmemory-eviction-tenacity", CONFIG_I64, "10"), QUIET("lfu-log-factor", CONFIG_I64, "10"), QUIET("lfu-decay-time", CONFIG_I64, "1"),
    QUIET("lazyfree-lazy-eviction", CONFIG_BOOL, "yes"), QUIET("lazyfree-lazy-expire", CONFIG_BOOL, "yes"), QUIET("lazyfree-lazy-server-del", CONFIG_BOOL, "yes"),
    QUIET("lazyfree-lazy-user-del", CONFIG_BOOL, "yes"), QUIET("lazyfree-lazy-user-flush", CONFIG_BOOL, "yes"),
    KEPT("activedefrag", CONFIG_BOOL, "no", NULL), QUIET("active-defrag-ignore-bytes", CONFIG_SIZE, "104857600"), QUIET("active-defrag-threshold-lower", CONFIG_I64, "10"), QUIET("active-defrag-threshold-upper", CONFIG_I64, "100"),
    QUIET("active-defrag-cycle-min", CONFIG_I64, "1"), QUIET("active-defrag-cycle-max", CONFIG_I64, "25"), QUIET("active-defrag-max-scan-fields", CONFIG_I64, "1000"), QUIET("jemalloc-bg-thread", CONFIG_BOOL, "yes"),
    LIMIT("hash-max-listpack-entries", "hash-max-ziplist-entries", hash_listpack_entries, "512", UINT32_MAX), LIMIT("hash-max-listpack-value", "hash-max-ziplist-value", hash_listpack_value, "64", UINT32_MAX),
    {.name = "list-max-listpack-size", .alias = "list-max-ziplist-size", .type = CONFIG_U32, .mode = MODE_LIVE, .preset = "-2", .target = &type_limits.list_listpack_size, .min = INT32_MIN, .max = INT32_MAX},
    LIMIT("list-compress-depth", NULL, list_compress_depth, "0", INT32_MAX),
    LIMIT("set-max-intset-entries", NULL, set_intset_entries, "512", UINT32_MAX), LIMIT("set-max-listpack-entries", NULL, set_listpack_entries, "128", UINT32_MAX), LIMIT("set-max-listpack-value", NULL, set_listpack_value, "64", UINT32_MAX),
    LIMIT("zset-max-listpack-entries", "zset-max-ziplist-entries", zset_listpack_entries, "128", UINT32_MAX), LIMIT("zset-max-listpack-value", "zset-max-ziplist-value", zset_listpack_value, "64", UINT32_MAX),
    QUIET("hll-sparse-max-bytes", CONFIG_SIZE, "3000"), QUIET("stream-node-max-bytes", CONFIG_SIZE, "4096"), QUIET("stream-node-max-entries", CONFIG_I64, "100"),
    REFUSED("notify-keyspace-events", CONFIG_STRING, "", "keyspace notifications come with pub/sub, which is not there yet"),
    {.name = "slowlog-log-slower-than", .type = CONFIG_I64, .mode = MODE_LIVE, .preset = "10000", .target = &config.slowlog_us, .min = -1, .max = INT64_MAX, .applied = apply_slowlog},
    U32("slowlog-max-len", slowlog_max_len, "128", 0, 1 << 20, MODE_LIVE),
    QUIET("latency-monitor-threshold", CONFIG_I64, "0"),
    BOOL("latency-tracking", latency_tracking, "yes", MODE_LIVE),
    QUIET("latency-tracking-info-percentiles", CONFIG_STRING, "50 99 99.9"),
    QUIET("commandlog-execution-slower-than", CONFIG_I64, "10000"), QUIET("commandlog-request-larger-than", CONFIG_I64, "1048576"), QUIET("commandlog-reply-larger-than", CONFIG_I64, "1048576"),
    QUIET("commandlog-slow-execution-max-len", CONFIG_I64, "128"), QUIET("commandlog-large-request-max-len", CONFIG_I64, "128"), QUIET("commandlog-large-reply-max-len", CONFIG_I64, "128"),
    /* persistence */
    {.name = "save", .type = CONFIG_STRING, .mode = MODE_KEPT, .preset = "3600 1 300 100 60 10000", .why = LATER_RDB, .repeats = true},
    TEXT("dir", dir, ".", MODE_START),
    QUIET("dbfilename", CONFIG_STRING, "dump.rdb"),
    QUIET("rdbcompression", CONFIG_BOOL, "yes"), QUIET("rdbchecksum", CONFIG_BOOL, "yes"), QUIET("rdb-save-incremental-fsync", CONFIG_BOOL, "yes"), QUIET("rdb-del-sync-files", CONFIG_BOOL, "no"),
    QUIET("stop-writes-on-bgsave-error", CONFIG_BOOL, "yes"), QUIET("sanitize-dump-payload", CONFIG_STRING, "no"),
    {.name = "appendonly", .type = CONFIG_BOOL, .mode = MODE_START, .preset = "yes", .target = &config.appendonly, .denied_loading = true},
    BOOL("log-repair", log_repair, "no", MODE_START),
    QUIET("appendfilename", CONFIG_STRING, "appendonly.aof"), QUIET("appenddirname", CONFIG_STRING, "appendonlydir"),
    {.name = "appendfsync", .type = CONFIG_ENUM, .mode = MODE_LIVE, .preset = "everysec", .target = &config.appendfsync, .names = fsync_names, .applied = apply_fsync},
    {.name = "key-load-delay", .type = CONFIG_I64, .mode = MODE_LIVE, .preset = "0", .target = &config.key_load_delay, .min = INT32_MIN, .max = INT32_MAX, .hidden = true},
    QUIET("no-appendfsync-on-rewrite", CONFIG_BOOL, "no"), QUIET("auto-aof-rewrite-percentage", CONFIG_I64, "100"), QUIET("auto-aof-rewrite-min-size", CONFIG_SIZE, "67108864"),
    KEPT("aof-load-truncated", CONFIG_BOOL, "yes", "a torn tail is cut and told, damage refuses to start"), QUIET("aof-use-rdb-preamble", CONFIG_BOOL, "yes"), QUIET("aof-timestamp-enabled", CONFIG_BOOL, "no"),
    QUIET("aof-rewrite-incremental-fsync", CONFIG_BOOL, "yes"), QUIET("aof-disable-auto-gc", CONFIG_BOOL, "no"),
    /* replication */
    {.name = "replicaof", .alias = "slaveof", .type = CONFIG_STRING, .mode = MODE_REFUSED, .preset = "", .why = LATER_REPL},
    {.name = "primaryauth", .alias = "masterauth", .type = CONFIG_STRING, .mode = MODE_SILENT, .preset = "", .sensitive = true}, {.name = "primaryuser", .alias = "masteruser", .type = CONFIG_STRING, .mode = MODE_SILENT, .preset = ""},
    {.name = "replica-serve-stale-data", .alias = "slave-serve-stale-data", .type = CONFIG_BOOL, .mode = MODE_SILENT, .preset = "yes"}, {.name = "replica-read-only", .alias = "slave-read-only", .type = CONFIG_BOOL, .mode = MODE_SILENT, .preset = "yes"},
    QUIET("repl-diskless-sync", CONFIG_BOOL, "yes"), QUIET("repl-diskless-sync-delay", CONFIG_I64, "5"), QUIET("repl-diskless-sync-max-replicas", CONFIG_I64, "0"), QUIET("repl-diskless-load", CONFIG_STRING, "disabled"),
    QUIET("dual-channel-replication-enabled", CONFIG_BOOL, "no"),
    {.name = "repl-ping-replica-period", .alias = "repl-ping-slave-period", .type = CONFIG_I64, .mode = MODE_SILENT, .preset = "10", .min = 1, .max = INT32_MAX},
    QUIET("repl-timeout", CONFIG_I64, "60"), QUIET("repl-disable-tcp-nodelay", CONFIG_BOOL, "no"), QUIET("repl-backlog-size", CONFIG_SIZE, "10485760"), QUIET("repl-backlog-ttl", CONFIG_I64, "3600"),
    {.name = "replica-priority", .alias = "slave-priority", .type = CONFIG_I64, .mode = MODE_SILENT, .preset = "100", .max = INT32_MAX}, QUIET("replica-announced", CONFIG_BOOL, "yes"),
    {.name = "replica-announce-ip", .alias = "slave-announce-ip", .type = CONFIG_STRING, .mode = MODE_SILENT, .preset = ""}, {.name = "replica-announce-port", .alias = "slave-announce-port", .type = CONFIG_I64, .mode = MODE_SILENT, .preset = "0", .max = 65535},
    {.name = "min-replicas-to-write", .alias = "min-slaves-to-write", .type = CONFIG_I64, .mode = MODE_REFUSED, .preset = "0", .max = INT32_MAX, .why = LATER_REPL}, {.name = "min-replicas-max-lag", .alias = "min-slaves-max-lag", .type = CONFIG_I64, .mode = MODE_SILENT, .preset = "10", .max = INT32_MAX},
    {.name = "replica-lazy-flush", .alias = "slave-lazy-flush", .type = CONFIG_BOOL, .mode = MODE_SILENT, .preset = "yes"}, {.name = "replica-ignore-maxmemory", .alias = "slave-ignore-maxmemory", .type = CONFIG_BOOL, .mode = MODE_SILENT, .preset = "yes"},
    QUIET("replica-ignore-disk-write-errors", CONFIG_BOOL, "no"), QUIET("propagation-error-behavior", CONFIG_STRING, "ignore"),
    /* cluster */
    REFUSED("cluster-enabled", CONFIG_BOOL, "no", LATER_CLUSTER), QUIET("cluster-config-file", CONFIG_STRING, "nodes.conf"), QUIET("cluster-node-timeout", CONFIG_I64, "15000"), QUIET("cluster-port", CONFIG_I64, "0"),
    {.name = "cluster-replica-validity-factor", .alias = "cluster-slave-validity-factor", .type = CONFIG_I64, .mode = MODE_SILENT, .preset = "10", .max = INT32_MAX}, QUIET("cluster-migration-barrier", CONFIG_I64, "1"), QUIET("cluster-allow-replica-migration", CONFIG_BOOL, "yes"),
    QUIET("cluster-require-full-coverage", CONFIG_BOOL, "yes"), QUIET("cluster-allow-reads-when-down", CONFIG_BOOL, "no"), QUIET("cluster-allow-pubsubshard-when-down", CONFIG_BOOL, "yes"),
    {.name = "cluster-replica-no-failover", .alias = "cluster-slave-no-failover", .type = CONFIG_BOOL, .mode = MODE_SILENT, .preset = "no"},
    QUIET("cluster-announce-ip", CONFIG_STRING, ""), QUIET("cluster-announce-port", CONFIG_I64, "0"), QUIET("cluster-announce-tls-port", CONFIG_I64, "0"), QUIET("cluster-announce-bus-port", CONFIG_I64, "0"),
    QUIET("cluster-announce-hostname", CONFIG_STRING, ""), QUIET("cluster-announce-human-nodename", CONFIG_STRING, ""), QUIET("cluster-announce-client-ipv4", CONFIG_STRING, ""), QUIET("cluster-announce-client-ipv6", CONFIG_STRING, ""),
    QUIET("cluster-preferred-endpoint-type", CONFIG_STRING, "ip"), QUIET("cluster-link-sendbuf-limit", CONFIG_SIZE, "0"), QUIET("cluster-slot-stats-enabled", CONFIG_BOOL, "no"), QUIET("cluster-blacklist-ttl", CONFIG_I64, "60"),
    QUIET("cluster-ping-interval", CONFIG_I64, "0"), QUIET("cluster-databases", CONFIG_I64, "1"),
    /* ACL */
    REFUSED("aclfile", CONFIG_STRING, "", "users other than default are not there yet; requirepass is"), QUIET("acllog-max-len", CONFIG_I64, "128"), QUIET("acl-pubsub-default", CONFIG_STRING, "resetchannels"),
    /* ours */
    U32("shards", shards, "1", 0, SHARDS_MAX, MODE_START),
    {.name = "profile", .type = CONFIG_ENUM, .mode = MODE_START, .preset = "none", .target = &profile_unused, .names = profile_names},
    {.name = "io", .alias = "io-driver", .type = CONFIG_ENUM, .mode = MODE_START, .preset = "auto", .target = &config.io, .names = io_names},
    U32("io-busy-poll-us", io_busy_poll_us, "0", 0, 1000000, MODE_START),
    QUIET("initial-keyspace-hint", CONFIG_I64, "0"), QUIET("uring-entries", CONFIG_I64, "1024"), QUIET("conn-park-secs", CONFIG_I64, "60"),
    REFUSED("pipeline-order", CONFIG_STRING, "relaxed", "strict order across shards comes with the transaction scheduler"),
};
// clang-format on
const uint32_t config__count = COUNT_OF(config__table);
