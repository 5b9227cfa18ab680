/* node/config.h: settings: one table (config.def) says name, type, default, range, live or not, effect.
 * Precedence: command line > environment MOON_<NAME> > file > profile > built-in. The struct below is
 * what the rest of the node reads as plain fields; live ones change only in CONFIG SET, while all other
 * workers stand still (park.h). */
#ifndef MOON_NODE_CONFIG_H
#define MOON_NODE_CONFIG_H

#include "shard/base/buf.h"
#include "shard/base/log.h"
#include "shard/exec/core.h"

#define CONFIG_BIND_MAX 16
#define CONFIG_PERCENTILES_MAX 16
#define CONFIG_FILES_BESIDE_CLIENTS 128 /* descriptors of logs, rings, listeners */
enum client_class { CLIENT_NORMAL, CLIENT_REPLICA, CLIENT_PUBSUB, CLIENT_CLASSES };

struct config {
    /* network */
    char bind[CONFIG_BIND_MAX][64];
    uint32_t bind_count;
    uint32_t port; /* 0: no TCP */
    char unixsocket[108];
    uint32_t unixsocketperm; /* 0: as the umask says */
    uint32_t tcp_backlog, tcp_keepalive_s, timeout_s, maxclients;
    bool protected_mode;
    char requirepass[512]; /* empty: none */
    uint64_t client_query_buffer_limit, proto_max_bulk_len;
    struct {
        uint64_t hard, soft;
        uint32_t soft_seconds;
    } output_limit[CLIENT_CLASSES];
    uint32_t client_write_timeout_ms;
    /* general */
    uint32_t shards; /* 0: one per CPU */
    enum io_kind io;
    bool
        jemalloc_bg_thread; /* freed pages go back by threads of the allocator (shard/base/mem.h) */
    uint32_t
        strict_order; /* pipeline-order: a write waits for what its connection asked of other shards */
    bool lending;     /* a shard that sleeps is worked on by who has work for it (node/lend.h) */
    uint32_t databases, hz, io_busy_poll_us;
    char dir[256], logfile[256], pidfile[256];
    enum log_level loglevel;
    enum log_format log_format;
    bool daemonize;
    uint32_t shutdown_timeout_s;
    enum { DEBUG_NO, DEBUG_LOCAL, DEBUG_YES } enable_debug_command, enable_protected_configs;
    /* cluster */
    bool cluster_enabled, cluster_full_coverage, cluster_reads_when_down;
    uint32_t cluster_port; /* 0: 10,000 above port */
    uint32_t cluster_announce_port, cluster_announce_tls_port, cluster_announce_bus_port;
    char cluster_announce_ip[256], cluster_announce_hostname[264]; /* rows bound them at 255 */
    uint32_t cluster_endpoint;                                     /* enum cluster_endpoint */
    char cluster_bus_bind[CONFIG_BIND_MAX][64];
    uint32_t cluster_bus_bind_count; /* 0: as bind */
    bool tls_cluster,
        tls_cluster_given; /* "no" that somebody wrote is another one than the preset */
    char tls_cluster_name[256];
    struct config_tls { /* texts as given */
        char cert[256], key[256], key_pass[256], client_cert[256], client_key[256],
            client_key_pass[256];
        char ca_file[256], ca_dir[256], ciphersuites[256];
    } tls;
    /* memory and types: maxmemory lives in node.shared, thresholds in type_limits */
    uint64_t maxmemory;
    /* log */
    bool appendonly;
    bool log_repair; /* cut the log at damage instead of refusing to start, saying what was lost */
    bool check_log;  /* --check-log: look at the log of `dir`, report, exit */
    enum journal_fsync appendfsync;
    int64_t key_load_delay; /* µs per unit of the log; negative: µs per so many */
    /* observing */
    int64_t slowlog_us;
    int64_t busy_reply_threshold_ms; /* 0: none */
    uint32_t slowlog_max_len;
    bool latency_tracking;
    double percentile[CONFIG_PERCENTILES_MAX]; /* of INFO latencystats */
    uint32_t percentile_count;
};
extern struct config config;
/* Held while directives are set or printed; by main, which does not stand still, also to read them. */
void config_lock(void);
void config_unlock(void);
/* Raises the limit of open files for so many clients; returns for how many it is enough. */
uint32_t config_fit_clients(uint32_t want);

/* Built-in values, then profile, file, environment, command line. False: *why says file, line, directive,
 * reason and remedy. --help, --version and --check-config print and exit by themselves. */
MUST_CHECK bool config_load(int argc, char **argv, struct buf *why);
/* Logs the warnings gathered while loading (accepted without effect, …), when the log is open. */
void config_log_warnings(void);

#endif
