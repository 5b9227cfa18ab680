/* The table of all directives. Order is that of CONFIG GET. */
#include "cluster/show.h"
#include "node/cluster_bus.h"
#include "node/config_priv.h"
#include "node/node.h"
#include "shard/types/value.h"

#define SLOWLOG_LEN_MAX (1u << 20) /* per shard; a larger value is shown, and counts as this */

#define NAMES(list, ...) static const struct config_name list[] = {__VA_ARGS__, {NULL, 0}}

NAMES(io_names, {"auto", IO_AUTO}, {"uring", IO_URING}, {"epoll", IO_EPOLL});
NAMES(fsync_names, {"everysec", JOURNAL_EVERYSEC}, {"always", JOURNAL_ALWAYS}, {"no", JOURNAL_NO});
NAMES(level_names, {"debug", LOG_DEBUG}, {"verbose", LOG_VERBOSE}, {"notice", LOG_NOTICE},
      {"warning", LOG_WARNING}, {"nothing", LOG_NOTHING});
NAMES(format_names, {"text", LOG_TEXT}, {"logfmt", LOG_LOGFMT}, {"json", LOG_JSON});
NAMES(permit_names, {"no", DEBUG_NO}, {"local", DEBUG_LOCAL}, {"yes", DEBUG_YES});
/* Without effect here: only the names count. */
NAMES(policy_names, {"volatile-lru", 0}, {"volatile-lfu", 0}, {"volatile-random", 0},
      {"volatile-ttl", 0}, {"allkeys-lru", 0}, {"allkeys-lfu", 0}, {"allkeys-random", 0},
      {"noeviction", 0});
NAMES(yes_no_optional, {"no", 0}, {"yes", 0}, {"optional", 0});
NAMES(profile_names, {"none", 0}, {"standalone", 0});
NAMES(supervised_names, {"upstart", 0}, {"systemd", 0}, {"auto", 0}, {"no", 0});
NAMES(stamp_names, {"legacy", 0}, {"iso8601", 0}, {"milliseconds", 0});
NAMES(facility_names, {"user", 0}, {"local0", 0}, {"local1", 0}, {"local2", 0}, {"local3", 0},
      {"local4", 0}, {"local5", 0}, {"local6", 0}, {"local7", 0});
NAMES(oom_names, {"no", 0}, {"yes", 0}, {"relative", 0}, {"absolute", 0});
NAMES(sanitize_names, {"no", 0}, {"yes", 0}, {"clients", 0});
NAMES(diskless_names, {"disabled", 0}, {"on-empty-db", 0}, {"swapdb", 0});
NAMES(propagation_names, {"ignore", 0}, {"panic", 0}, {"panic-on-replicas", 0});
NAMES(endpoint_names, {"ip", CLUSTER_BY_IP}, {"hostname", CLUSTER_BY_HOSTNAME},
      {"unknown-endpoint", CLUSTER_BY_NOTHING});
NAMES(channel_names, {"allchannels", 0}, {"resetchannels", 0});
NAMES(order_names, {"relaxed", false}, {"strict", true});
NAMES(on_off_auto, {"auto", 0}, {"on", 0}, {"off", 0});
NAMES(fpi_names, {"enable", 0}, {"disable", 0});

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

static void apply_script_limit(void)
{
    atomic_store_explicit(&node.shared.script_ms_max, (uint64_t)config.busy_reply_threshold_ms,
                          memory_order_relaxed);
}

static void apply_slowlog_len(void)
{
    if (config.slowlog_max_len > SLOWLOG_LEN_MAX) config.slowlog_max_len = SLOWLOG_LEN_MAX;
}

static void apply_bg_thread(void)
{
    if (!mem_background(config.jemalloc_bg_thread))
        log_warning("config",
                    "the allocator could not start its thread: freed memory goes back late");
}

/* The first time is the preset. */
static void apply_tls_cluster(void)
{
    static bool preset_done;
    config.tls_cluster_given = preset_done;
    preset_done = true;
}

static void apply_log(void)
{
    log_set_level(config.loglevel);
    log_set_format(config.log_format);
}

/* ---- rows */

#define I32 0, INT32_MAX
#define I64 0, INT64_MAX
#define BOOL(n, field, preset_, ...)                                                               \
    {                                                                                              \
        .name = n, .type = CONFIG_BOOL, .preset = preset_, .target = &config.field, __VA_ARGS__    \
    }
#define U32(n, field, preset_, lo, hi, ...)                                                        \
    {                                                                                              \
        .name = n, .type = CONFIG_U32, .preset = preset_, .target = &config.field, .min = lo,      \
        .max = hi, __VA_ARGS__                                                                     \
    }
#define SIZE(n, field, preset_, lo, hi, ...)                                                       \
    {                                                                                              \
        .name = n, .type = CONFIG_SIZE, .preset = preset_, .target = &config.field, .min = lo,     \
        .max = hi, __VA_ARGS__                                                                     \
    }
#define TEXT(n, field, preset_, ...)                                                               \
    {                                                                                              \
        .name = n, .type = CONFIG_STRING, .preset = preset_, .target = config.field,               \
        .cap = sizeof config.field, __VA_ARGS__                                                    \
    }
#define ENUM(n, field, names_, preset_, ...)                                                       \
    {                                                                                              \
        .name = n, .type = CONFIG_ENUM, .preset = preset_, .target = &config.field,                \
        .names = names_, __VA_ARGS__                                                               \
    }
/* Where encodings change; Redis counts further than we do. */
#define LIMIT(n, alias_, type_, field, preset_)                                                    \
    {                                                                                              \
        .name = n, .alias = alias_, .type = type_, .mode = MODE_LIVE, .preset = preset_,           \
        .target = &type_limits.field, .max = INT64_MAX, .wide = true                               \
    }
/* Known, kept, shown, without effect. FLAG yes or no; NUMBER, BYTES with bounds; CHOICE; WORDS: a text. */
#define FLAG(n, preset_, ...)                                                                      \
    {                                                                                              \
        .name = n, .type = CONFIG_BOOL, .preset = preset_, __VA_ARGS__                             \
    }
#define NUMBER_(n, preset_, lo, hi, ...)                                                           \
    {                                                                                              \
        .name = n, .type = CONFIG_I64, .preset = preset_, .min = lo, .max = hi, __VA_ARGS__        \
    }
#define NUMBER(n, preset_, ...) NUMBER_(n, preset_, __VA_ARGS__)
#define BYTES_(n, preset_, lo, hi, ...)                                                            \
    {                                                                                              \
        .name = n, .type = CONFIG_SIZE, .preset = preset_, .min = lo, .max = hi, __VA_ARGS__       \
    }
#define BYTES(n, preset_, ...) BYTES_(n, preset_, __VA_ARGS__)
#define CHOICE(n, names_, preset_, ...)                                                            \
    {                                                                                              \
        .name = n, .type = CONFIG_ENUM, .preset = preset_, .names = names_, __VA_ARGS__            \
    }
#define WORDS(n, preset_, ...)                                                                     \
    {                                                                                              \
        .name = n, .type = CONFIG_STRING, .preset = preset_, __VA_ARGS__                           \
    }
/* What a row of these may add. */
#define LIVE .mode = MODE_LIVE
#define START .mode = MODE_START
#define FIXED .immutable = true
#define ALSO(alias_) .alias = alias_
#define NONE .alias = NULL
#define TOLD(why_) .mode = MODE_KEPT, .why = why_ /* one warning */
#define REFUSED(why_) .mode = MODE_REFUSED, .why = why_

#define LATER_TLS "TLS is not there yet: put stunnel or a proxy in front, or leave it out"
#define LATER_REPL "replication is not there yet"
#define LATER_RDB "snapshots are not there yet; the log (appendonly yes) keeps the data"
#define LATER_EVICT                                                                                \
    "only noeviction is there yet: with maxmemory set, writes are refused when it is full"
#define LATER_USERS "users other than default are not there yet; requirepass is"
#define OTHER_STORAGE "it describes the storage of another server"

// clang-format off
const struct directive config__table[] = {
    /* network and clients */
    {.name = "bind", .type = CONFIG_LIST, LIVE, .listens = true, .preset = "* -::*", .parse = config__parse_bind, .print = config__print_bind},
    WORDS("bind-source-addr", "", NONE),
    U32("port", port, "6379", 0, 65535, LIVE, .listens = true),
    NUMBER("tls-port", "0", 0, 65535, REFUSED(LATER_TLS)),
    TEXT("unixsocket", unixsocket, "", START),
    {.name = "unixsocketperm", .type = CONFIG_OCTAL, START, .preset = "0", .target = &config.unixsocketperm, .max = 0777},
    WORDS("unixsocketgroup", "", FIXED),
    U32("tcp-backlog", tcp_backlog, "511", 0, INT32_MAX, START),
    U32("tcp-keepalive", tcp_keepalive_s, "300", 0, INT32_MAX, LIVE),
    U32("timeout", timeout_s, "0", 0, INT32_MAX, LIVE),
    U32("maxclients", maxclients, "10000", 1, UINT32_MAX, LIVE, .check_live = config__check_live_maxclients),
    BOOL("protected-mode", protected_mode, "yes", LIVE),
    TEXT("requirepass", requirepass, "", LIVE, .sensitive = true),
    SIZE("client-query-buffer-limit", client_query_buffer_limit, "1073741824", 1 << 20, INT64_MAX, LIVE),
    {.name = "client-output-buffer-limit", .type = CONFIG_LIST, LIVE, .preset = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", .parse = config__parse_output_limit, .print = config__print_output_limit, .repeats = true},
    BYTES("maxmemory-clients", "0", -100, INT64_MAX, .percent = true),
    SIZE("proto-max-bulk-len", proto_max_bulk_len, "536870912", 1 << 20, STRING_BYTES_MAX, LIVE, .applied = apply_bulk),
    NUMBER("client-default-resp", "2", 2, 3, FIXED),
    NUMBER("tracking-table-max-keys", "1000000", I64, NONE),
    NUMBER("max-new-connections-per-cycle", "10", 1, 1000, NONE),
    NUMBER("max-new-tls-connections-per-cycle", "1", 1, 1000, NONE),
    NUMBER("io-threads", "1", 1, 256, FIXED, TOLD("shards do that work: see shards")),
    FLAG("io-threads-do-reads", "no", FIXED),
    NUMBER("prefetch-batch-max-size", "16", 0, 128, NONE),
    NUMBER("events-per-io-thread", "2", I32, NONE),
    NUMBER("socket-mark-id", "0", 0, UINT32_MAX, FIXED),
    U32("client-write-timeout-ms", client_write_timeout_ms, "60000", 0, INT32_MAX, LIVE),
    /* TLS */
    TEXT("tls-cert-file", tls.cert, "", LIVE, .applied = cluster_bus_reload), TEXT("tls-key-file", tls.key, "", LIVE, .applied = cluster_bus_reload), TEXT("tls-key-file-pass", tls.key_pass, "", LIVE, .applied = cluster_bus_reload, .sensitive = true),
    TEXT("tls-client-cert-file", tls.client_cert, "", LIVE, .applied = cluster_bus_reload), TEXT("tls-client-key-file", tls.client_key, "", LIVE, .applied = cluster_bus_reload), TEXT("tls-client-key-file-pass", tls.client_key_pass, "", LIVE, .applied = cluster_bus_reload, .sensitive = true),
    TEXT("tls-ca-cert-file", tls.ca_file, "", LIVE, .applied = cluster_bus_reload), TEXT("tls-ca-cert-dir", tls.ca_dir, "", LIVE, .applied = cluster_bus_reload), WORDS("tls-dh-params-file", "", NONE),
    WORDS("tls-protocols", "", NONE), WORDS("tls-ciphers", "", NONE), TEXT("tls-ciphersuites", tls.ciphersuites, "", LIVE, .applied = cluster_bus_reload),
    CHOICE("tls-auth-clients", yes_no_optional, "yes", NONE),
    FLAG("tls-replication", "no", REFUSED(LATER_TLS)), BOOL("tls-cluster", tls_cluster, "no", START, .applied = apply_tls_cluster), TEXT("tls-cluster-name", tls_cluster_name, "", START),
    FLAG("tls-prefer-server-ciphers", "no", NONE), FLAG("tls-session-caching", "yes", NONE),
    NUMBER("tls-session-cache-size", "20480", I32, NONE), NUMBER("tls-session-cache-timeout", "300", I32, NONE),
    /* general */
    FLAG("daemonize", "no", FIXED, REFUSED("let systemd or the shell run it in the background (deploy/README.md)")),
    CHOICE("supervised", supervised_names, "no", FIXED),
    TEXT("pidfile", pidfile, "", START),
    FLAG("always-show-logo", "no", FIXED), FLAG("set-proc-title", "yes", FIXED), WORDS("proc-title-template", "{title} {listen-addr} {server-mode}", .check = config__check_title),
    ENUM("loglevel", loglevel, level_names, "notice", LIVE, .applied = apply_log),
    TEXT("logfile", logfile, "", START),
    ENUM("log-format", log_format, format_names, "text", LIVE, .applied = apply_log),
    CHOICE("log-timestamp-format", stamp_names, "legacy", NONE),
    FLAG("syslog-enabled", "no", FIXED, TOLD("logs go to stdout or logfile")), WORDS("syslog-ident", "moon", FIXED), CHOICE("syslog-facility", facility_names, "local0", FIXED),
    FLAG("crash-log-enabled", "yes", NONE), FLAG("crash-memcheck-enabled", "yes", NONE), FLAG("hide-user-data-from-log", "yes", NONE),
    U32("databases", databases, "16", 1, DATABASES_MAX, START),
    U32("hz", hz, "10", 0, INT32_MAX, LIVE, .least = 1, .most = 500),
    FLAG("dynamic-hz", "yes", NONE), FLAG("activerehashing", "yes", NONE), NUMBER("active-expire-effort", "1", 1, 10, NONE),
    ENUM("enable-debug-command", enable_debug_command, permit_names, "no", START),
    ENUM("enable-protected-configs", enable_protected_configs, permit_names, "no", START),
    CHOICE("enable-module-command", permit_names, "no", FIXED),
    U32("shutdown-timeout", shutdown_timeout_s, "10", 0, INT32_MAX, LIVE),
    WORDS("shutdown-on-sigint", "default", .check = config__check_shutdown_words), WORDS("shutdown-on-sigterm", "default", .check = config__check_shutdown_words),
    CHOICE("oom-score-adj", oom_names, "no", NONE), WORDS("oom-score-adj-values", "0 200 800", .check = config__check_oom_values), FLAG("disable-thp", "yes", FIXED),
    WORDS("locale-collate", "", NONE),
    {.name = "busy-reply-threshold", .type = CONFIG_I64, LIVE, .preset = "5000", .target = &config.busy_reply_threshold_ms, .min = 0, .max = INT64_MAX, .applied = apply_script_limit, ALSO("lua-time-limit")},
    WORDS("ignore-warnings", "", NONE), FLAG("extended-redis-compatibility", "no", NONE), WORDS("availability-zone", "", NONE),
    WORDS("server-cpulist", "", FIXED, ALSO("server_cpulist")), WORDS("bio-cpulist", "", FIXED, ALSO("bio_cpulist")),
    WORDS("aof-rewrite-cpulist", "", FIXED, ALSO("aof_rewrite_cpulist")), WORDS("bgsave-cpulist", "", FIXED, ALSO("bgsave_cpulist")),
    /* memory, eviction, encodings */
    SIZE("maxmemory", maxmemory, "0", 0, INT64_MAX, LIVE, .applied = apply_memory),
    CHOICE("maxmemory-policy", policy_names, "noeviction", REFUSED(LATER_EVICT)),
    NUMBER("maxmemory-samples", "5", 1, INT32_MAX, NONE), NUMBER("maxmemory-eviction-tenacity", "10", 0, 100, NONE), NUMBER("lfu-log-factor", "10", I32, NONE), NUMBER("lfu-decay-time", "1", I32, NONE),
    FLAG("lazyfree-lazy-eviction", "yes", NONE), FLAG("lazyfree-lazy-expire", "yes", NONE), FLAG("lazyfree-lazy-server-del", "yes", NONE),
    FLAG("lazyfree-lazy-user-del", "yes", NONE), FLAG("lazyfree-lazy-user-flush", "yes", NONE),
    FLAG("activedefrag", "no", TOLD(NULL)), BYTES("active-defrag-ignore-bytes", "104857600", 1, INT64_MAX, NONE), NUMBER("active-defrag-threshold-lower", "10", 0, 1000, NONE), NUMBER("active-defrag-threshold-upper", "100", 0, 1000, NONE),
    NUMBER("active-defrag-cycle-min", "1", 1, 99, NONE), NUMBER("active-defrag-cycle-max", "25", 1, 99, NONE), NUMBER("active-defrag-max-scan-fields", "1000", 1, INT64_MAX, NONE), BOOL("jemalloc-bg-thread", jemalloc_bg_thread, "yes", LIVE, .applied = apply_bg_thread),
    LIMIT("hash-max-listpack-entries", "hash-max-ziplist-entries", CONFIG_I64, hash_listpack_entries, "512"), LIMIT("hash-max-listpack-value", "hash-max-ziplist-value", CONFIG_SIZE, hash_listpack_value, "64"),
    {.name = "list-max-listpack-size", .alias = "list-max-ziplist-size", .type = CONFIG_U32, LIVE, .preset = "-2", .target = &type_limits.list_listpack_size, .min = INT32_MIN, .max = INT32_MAX},
    {.name = "list-compress-depth", .type = CONFIG_U32, LIVE, .preset = "0", .target = &type_limits.list_compress_depth, .max = INT32_MAX},
    LIMIT("set-max-intset-entries", NULL, CONFIG_I64, set_intset_entries, "512"), LIMIT("set-max-listpack-entries", NULL, CONFIG_I64, set_listpack_entries, "128"), LIMIT("set-max-listpack-value", NULL, CONFIG_I64, set_listpack_value, "64"),
    LIMIT("zset-max-listpack-entries", "zset-max-ziplist-entries", CONFIG_I64, zset_listpack_entries, "128"), LIMIT("zset-max-listpack-value", "zset-max-ziplist-value", CONFIG_SIZE, zset_listpack_value, "64"),
    BYTES("hll-sparse-max-bytes", "3000", I64, NONE), BYTES("stream-node-max-bytes", "4096", I64, NONE), NUMBER("stream-node-max-entries", "100", I64, NONE),
    WORDS("notify-keyspace-events", "", REFUSED("keyspace notifications come with pub/sub, which is not there yet"), .check = config__check_events),
    {.name = "slowlog-log-slower-than", .type = CONFIG_I64, LIVE, .preset = "10000", .target = &config.slowlog_us, .min = -1, .max = INT64_MAX, .applied = apply_slowlog},
    {.name = "slowlog-max-len", .type = CONFIG_I64, LIVE, .preset = "128", .target = &config.slowlog_max_len, .max = INT64_MAX, .wide = true, .applied = apply_slowlog_len},
    NUMBER("latency-monitor-threshold", "0", I64, NONE),
    BOOL("latency-tracking", latency_tracking, "yes", LIVE),
    {.name = "latency-tracking-info-percentiles", .type = CONFIG_LIST, LIVE, .preset = "50 99 99.9", .parse = config__parse_percentiles, .print = config__print_percentiles},
    NUMBER("commandlog-execution-slower-than", "10000", -1, INT64_MAX, NONE), NUMBER("commandlog-request-larger-than", "1048576", -1, INT64_MAX, NONE), NUMBER("commandlog-reply-larger-than", "1048576", -1, INT64_MAX, NONE),
    NUMBER("commandlog-slow-execution-max-len", "128", I64, NONE), NUMBER("commandlog-large-request-max-len", "128", I64, NONE), NUMBER("commandlog-large-reply-max-len", "128", I64, NONE),
    /* persistence */
    WORDS("save", "3600 1 300 100 60 10000", TOLD(LATER_RDB), .check = config__check_save, .repeats = true),
    TEXT("dir", dir, ".", LIVE, .guarded = true, .denied_loading = true, .check_live = config__check_live_dir),
    WORDS("dbfilename", "dump.rdb", .guarded = true, .check = config__check_file_name),
    FLAG("rdbcompression", "yes", NONE), FLAG("rdbchecksum", "yes", FIXED), FLAG("rdb-save-incremental-fsync", "yes", NONE), FLAG("rdb-del-sync-files", "no", NONE),
    FLAG("stop-writes-on-bgsave-error", "yes", NONE), CHOICE("sanitize-dump-payload", sanitize_names, "no", NONE),
    BOOL("appendonly", appendonly, "yes", LIVE, .denied_loading = true, .check_live = config__check_live_appendonly),
    BOOL("log-repair", log_repair, "no", START),
    WORDS("appendfilename", "appendonly.aof", FIXED), WORDS("appenddirname", "appendonlydir", FIXED),
    ENUM("appendfsync", appendfsync, fsync_names, "everysec", LIVE),
    {.name = "key-load-delay", .type = CONFIG_I64, LIVE, .preset = "0", .target = &config.key_load_delay, .min = INT32_MIN, .max = INT32_MAX, .hidden = true},
    FLAG("no-appendfsync-on-rewrite", "no", NONE), NUMBER("auto-aof-rewrite-percentage", "100", I32, NONE), BYTES("auto-aof-rewrite-min-size", "67108864", I64, NONE),
    FLAG("aof-load-truncated", "yes", TOLD("a torn tail is cut and told, damage refuses to start")), FLAG("aof-use-rdb-preamble", "yes", NONE), FLAG("aof-timestamp-enabled", "no", NONE),
    FLAG("aof-rewrite-incremental-fsync", "yes", NONE), FLAG("aof-disable-auto-gc", "no", NONE),
    /* replication */
    WORDS("replicaof", "", FIXED, ALSO("slaveof"), REFUSED(LATER_REPL)),
    WORDS("primaryauth", "", ALSO("masterauth"), .sensitive = true), WORDS("primaryuser", "", ALSO("masteruser")),
    FLAG("replica-serve-stale-data", "yes", ALSO("slave-serve-stale-data")), FLAG("replica-read-only", "yes", ALSO("slave-read-only")),
    FLAG("repl-diskless-sync", "yes", NONE), NUMBER("repl-diskless-sync-delay", "5", I32, NONE), NUMBER("repl-diskless-sync-max-replicas", "0", I32, NONE), CHOICE("repl-diskless-load", diskless_names, "disabled", .denied_loading = true),
    FLAG("dual-channel-replication-enabled", "no", NONE),
    NUMBER("repl-ping-replica-period", "10", 1, INT32_MAX, ALSO("repl-ping-slave-period")),
    NUMBER("repl-timeout", "60", 1, INT32_MAX, NONE), FLAG("repl-disable-tcp-nodelay", "no", NONE), BYTES("repl-backlog-size", "10485760", 1, INT64_MAX, .least = 16384, .most = INT64_MAX), NUMBER("repl-backlog-ttl", "3600", I64, NONE),
    NUMBER("replica-priority", "100", I32, ALSO("slave-priority")), FLAG("replica-announced", "yes", NONE),
    WORDS("replica-announce-ip", "", ALSO("slave-announce-ip")), NUMBER("replica-announce-port", "0", 0, 65535, ALSO("slave-announce-port")),
    NUMBER("min-replicas-to-write", "0", I32, ALSO("min-slaves-to-write"), REFUSED(LATER_REPL)), NUMBER("min-replicas-max-lag", "10", I32, ALSO("min-slaves-max-lag")),
    FLAG("replica-lazy-flush", "yes", ALSO("slave-lazy-flush")), FLAG("replica-ignore-maxmemory", "yes", ALSO("slave-ignore-maxmemory")),
    FLAG("replica-ignore-disk-write-errors", "no", NONE), CHOICE("propagation-error-behavior", propagation_names, "ignore", NONE),
    /* cluster */
    BOOL("cluster-enabled", cluster_enabled, "no", START), WORDS("cluster-config-file", "nodes.conf", FIXED), NUMBER("cluster-node-timeout", "15000", I64, NONE), U32("cluster-port", cluster_port, "0", 0, 65535, START),
    {.name = "cluster-bus-bind", .type = CONFIG_LIST, START, .preset = "", .parse = config__parse_bus_bind, .print = config__print_bus_bind},
    NUMBER("cluster-replica-validity-factor", "10", I32, ALSO("cluster-slave-validity-factor")), NUMBER("cluster-migration-barrier", "1", I32, NONE), FLAG("cluster-allow-replica-migration", "yes", NONE),
    BOOL("cluster-require-full-coverage", cluster_full_coverage, "yes", LIVE), BOOL("cluster-allow-reads-when-down", cluster_reads_when_down, "no", LIVE), FLAG("cluster-allow-pubsubshard-when-down", "yes", NONE),
    FLAG("cluster-replica-no-failover", "no", ALSO("cluster-slave-no-failover")),
    TEXT("cluster-announce-ip", cluster_announce_ip, "", LIVE, .check = config__check_announced), U32("cluster-announce-port", cluster_announce_port, "0", 0, 65535, LIVE), U32("cluster-announce-tls-port", cluster_announce_tls_port, "0", 0, 65535, LIVE),
    U32("cluster-announce-bus-port", cluster_announce_bus_port, "0", 0, 65535, LIVE),
    TEXT("cluster-announce-hostname", cluster_announce_hostname, "", LIVE, .check = config__check_hostname), WORDS("cluster-announce-human-nodename", "", .check = config__check_hostname), WORDS("cluster-announce-client-ipv4", "", NONE), WORDS("cluster-announce-client-ipv6", "", NONE),
    ENUM("cluster-preferred-endpoint-type", cluster_endpoint, endpoint_names, "ip", LIVE), BYTES("cluster-link-sendbuf-limit", "0", I64, NONE), FLAG("cluster-slot-stats-enabled", "no", NONE), NUMBER("cluster-blacklist-ttl", "60", I64, NONE),
    NUMBER("cluster-ping-interval", "0", I32, .hidden = true), NUMBER("cluster-databases", "1", 1, INT32_MAX, FIXED),
    /* ACL */
    WORDS("aclfile", "", FIXED, REFUSED(LATER_USERS)), NUMBER("acllog-max-len", "128", I64, NONE), CHOICE("acl-pubsub-default", channel_names, "resetchannels", NONE),
    /* ours */
    U32("shards", shards, "1", 0, SHARDS_MAX, START),
    BOOL("shard-lending", lending, "yes", LIVE),
    CHOICE("profile", profile_names, "none", START),
    ENUM("io", io, io_names, "auto", START, ALSO("io-driver")),
    U32("io-busy-poll-us", io_busy_poll_us, "0", 0, 1000000, START),
    NUMBER("initial-keyspace-hint", "0", I64, FIXED), NUMBER("uring-entries", "1024", 256, 32768, FIXED), NUMBER("conn-park-secs", "60", I32, NONE),
    ENUM("pipeline-order", strict_order, order_names, "relaxed", LIVE),
    /* The Rust Moon's storage: its files of settings are read, these say nothing here. */
    CHOICE("wal-kv-log", on_off_auto, "auto", FIXED, TOLD(OTHER_STORAGE)), BYTES("wal-segment-size", "16777216", I64, FIXED, TOLD(OTHER_STORAGE)), BYTES("max-wal-size", "268435456", I64, FIXED, TOLD(OTHER_STORAGE)),
    CHOICE("wal-fpi", fpi_names, "enable", FIXED, TOLD(OTHER_STORAGE)), WORDS("wal-compression", "lz4", FIXED, TOLD(OTHER_STORAGE)), NUMBER("wal-max-checkpoint-lag-ms", "10000", I64, FIXED, TOLD(OTHER_STORAGE)),
    WORDS("pagecache-size", "", FIXED, TOLD(OTHER_STORAGE)), NUMBER("memory-arenas-cap", "8", 1, 256, FIXED, TOLD(OTHER_STORAGE)),
    NUMBER("segment-warm-after", "3600", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("segment-cold-after", "0", I64, FIXED, TOLD(OTHER_STORAGE)), WORDS("segment-cold-min-qps", "", FIXED, TOLD(OTHER_STORAGE)),
    BYTES("vec-warm-mmap-budget", "2147483648", I64, FIXED, TOLD(OTHER_STORAGE)), CHOICE("vec-codes-mlock", fpi_names, "enable", FIXED, TOLD(OTHER_STORAGE)),
    NUMBER("vec-diskann-beam-width", "0", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("vec-diskann-cache-levels", "0", I64, FIXED, TOLD(OTHER_STORAGE)),
    NUMBER("ft-search-workers", "0", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("max-unflushed-immutable-segments", "20", I64, FIXED, TOLD(OTHER_STORAGE)),
    NUMBER("graph-merge-max-segments", "8", I64, FIXED, TOLD(OTHER_STORAGE)), WORDS("graph-merge-dead-edge-trigger", "0.20", FIXED, TOLD(OTHER_STORAGE)),
    NUMBER("mvcc-committed-prune-margin", "1000", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("mvcc-old-snapshot-threshold-secs", "600", I64, FIXED, TOLD(OTHER_STORAGE)),
    NUMBER("manifest-tombstone-retain-epochs", "2", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("manifest-tombstone-retain-secs", "300", I64, FIXED, TOLD(OTHER_STORAGE)),
    CHOICE("autovacuum", fpi_names, "enable", FIXED, TOLD(OTHER_STORAGE)), NUMBER("autovacuum-interval-secs", "30", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("autovacuum-budget-ms-min", "5", I64, FIXED, TOLD(OTHER_STORAGE)),
    NUMBER("autovacuum-budget-ms-max", "200", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("autovacuum-target-p95-ms", "10", I64, FIXED, TOLD(OTHER_STORAGE)), NUMBER("autovacuum-starvation-cap-secs", "300", I64, FIXED, TOLD(OTHER_STORAGE)),
    FLAG("unsafe-multishard-aof", "no", FIXED, TOLD(OTHER_STORAGE)), FLAG("experimental-per-shard-rewrite", "no", FIXED, TOLD(OTHER_STORAGE)),
};
// clang-format on
const uint32_t config__count = COUNT_OF(config__table);
