/* INFO, TIME, SHUTDOWN, LOLWUT, MEMORY. Numbers of other shards are read where they stand (stat_get). */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "node/commands.h"
#include "node/config.h"
#include "node/load.h"
#include "node/text.h"
#include "node/worker.h"
#include "shard/base/info.h"
#include "version.h"

/* ---- sums over the shards */

struct sums {
    struct core_stats s;
    uint64_t ops, in_per_s, out_per_s, connections;
    struct core_log_stats log;
};

static void add_log(struct sums *t, const struct core_log_stats *one)
{
    struct core_log_stats *sum = &t->log;
    uint64_t last_sync_us = stat_get(&one->last_sync_us);
    if (stat_get(&one->is_on) == 0) return;
    sum->is_on = 1;
    sum->lsn += stat_get(&one->lsn);
    sum->durable_lsn += stat_get(&one->durable_lsn);
    sum->generation = stat_get(&one->generation);
    sum->frames += stat_get(&one->frames);
    sum->units += stat_get(&one->units);
    sum->bytes += stat_get(&one->bytes);
    sum->syncs += stat_get(&one->syncs);
    sum->segments += stat_get(&one->segments);
    sum->delayed_syncs += stat_get(&one->delayed_syncs);
    if (last_sync_us > sum->last_sync_us) sum->last_sync_us = last_sync_us;
    sum->refusing |= stat_get(&one->refusing);
}

static void sum_up(struct sums *t)
{
    struct core *own = &worker_self()->core;
    *t = (struct sums){.ops = 0};
    if (own->journal != NULL) core_show_log(own); /* what this connection wrote is in it */
    for (uint32_t i = 0; i < node.shards; i++) {
        const struct worker *w = node.workers[i];
        const struct core_stats *s = &w->core.stats;
        t->s.commands += stat_get(&s->commands);
        t->s.hits += stat_get(&s->hits);
        t->s.misses += stat_get(&s->misses);
        t->s.expired += stat_get(&s->expired);
        t->s.evicted += stat_get(&s->evicted);
        t->s.dirty += stat_get(&s->dirty);
        t->s.error_replies += stat_get(&s->error_replies);
        t->s.expire_cycle_us += stat_get(&s->expire_cycle_us);
        t->s.lazy_freed += stat_get(&s->lazy_freed);
        t->s.lazy_pending += stat_get(&s->lazy_pending);
        t->s.net_in_bytes += stat_get(&s->net_in_bytes);
        t->s.net_out_bytes += stat_get(&s->net_out_bytes);
        t->s.connections_received += stat_get(&s->connections_received);
        t->s.connections_rejected += stat_get(&s->connections_rejected);
        t->ops += stat_get(&w->ops.commands_per_s);
        t->in_per_s += stat_get(&w->ops.in_per_s);
        t->out_per_s += stat_get(&w->ops.out_per_s);
        t->connections += stat_get32(&w->conns_count);
        add_log(t, &w->core.log_stats);
    }
}

/* ---- sections */

static void section_server(struct info_writer *w, const struct sums *t)
{
    (void)t;
    struct utsname os;
    (void)uname(&os);
    int64_t now_us = clock_wall_us(&clock_real), up_s = (now_us - node.start_wall_us) / 1000000;
    info_section(w, "Server");
    info_str(w, "redis_version", REDIS_VERSION_SPOKEN);
    info_str(w, "moon_version", MOON_VERSION);
#ifdef MOON_COMMIT
    info_str(w, "redis_git_sha1", MOON_COMMIT);
#else
    info_str(w, "redis_git_sha1", "00000000");
#endif
    info_str(w, "redis_git_dirty", "0");
    info_str(w, "redis_mode", config.cluster_enabled ? "cluster" : "standalone");
    info_fmt(w, "os", "%s %s %s", os.sysname, os.release, os.machine);
    info_i64(w, "arch_bits", 64);
    info_str(w, "multiplexing_api", node.io_name);
    info_str(w, "monotonic_clock", "POSIX clock_gettime");
    info_str(w, "gcc_version", __VERSION__);
    info_i64(w, "process_id", getpid());
    info_str(w, "process_supervised", "no");
    info_str(w, "run_id", node.run_id);
    info_u64(w, "tcp_port", config.port);
    info_i64(w, "server_time_usec", now_us);
    info_i64(w, "uptime_in_seconds", up_s);
    info_i64(w, "uptime_in_days", up_s / 86400);
    info_u64(w, "hz", config.hz);
    info_u64(w, "configured_hz", config.hz);
    info_i64(w, "lru_clock", now_us / 1000000 & 0xFFFFFF);
    info_str(w, "executable", node.executable);
    info_str(w, "config_file", node.config_file);
    info_u64(w, "shards", node.shards);
}

static void section_clients(struct info_writer *w, const struct sums *t)
{
    info_section(w, "Clients");
    info_u64(w, "connected_clients", t->connections);
    info_i64(w, "cluster_connections", 0);
    info_u64(w, "maxclients", config.maxclients);
    int32_t blocked = atomic_load_explicit(&node.blocked, memory_order_relaxed);
    info_i64(w, "blocked_clients", blocked > 0 ? blocked : 0); /* may be ahead of itself */
    info_i64(w, "tracking_clients", 0);
    info_i64(w, "clients_in_timeout_table", 0);
}

static void section_memory(struct info_writer *w, const struct sums *t)
{
    static _Atomic uint64_t peak; /* seen by INFO */
    struct mem_stats m;
    mem_stats_read(&m);
    uint64_t used = mem_live_bytes_all(), rss = mem_rss_bytes();
    uint64_t data = mem_live_bytes(MEM_DATA), tables = mem_live_bytes(MEM_TABLE);
    uint64_t most = atomic_load_explicit(&peak, memory_order_relaxed);
    if (used > most) most = used;
    atomic_store_explicit(&peak, most, memory_order_relaxed);
    info_section(w, "Memory");
    info_u64(w, "used_memory", used);
    info_human(w, "used_memory_human", used);
    info_u64(w, "used_memory_rss", rss);
    info_human(w, "used_memory_rss_human", rss);
    info_u64(w, "used_memory_peak", most);
    info_human(w, "used_memory_peak_human", most);
    info_u64(w, "used_memory_overhead", used - data);
    info_u64(w, "used_memory_dataset", data);
    info_fmt(w, "used_memory_dataset_perc", "%.2f%%",
             used > 0 ? (double)data * 100 / (double)used : 0.0);
    info_u64(w, "used_memory_tables", tables);
    info_u64(w, "used_memory_clients", mem_live_bytes(MEM_CONN) + mem_live_bytes(MEM_REPLY));
    info_u64(w, "used_memory_journal", mem_live_bytes(MEM_JOURNAL));
    info_u64(w, "allocator_allocated", m.allocated_bytes);
    info_u64(w, "allocator_active", m.active_bytes);
    info_u64(w, "allocator_resident", m.resident_bytes);
    info_u64(w, "maxmemory", config.maxmemory);
    info_human(w, "maxmemory_human", config.maxmemory);
    info_str(w, "maxmemory_policy", "noeviction");
    info_f2(w, "mem_fragmentation_ratio", used > 0 ? (double)rss / (double)used : 0);
    info_i64(w, "mem_fragmentation_bytes", (int64_t)rss - (int64_t)used);
    info_str(w, "mem_allocator", mem_allocator_name());
    info_u64(w, "lazyfree_pending_objects", t->s.lazy_pending);
    info_u64(w, "lazyfreed_objects", t->s.lazy_freed);
}

static void loading_fields(struct info_writer *w)
{
    uint64_t done, total;
    int64_t elapsed_s = (clock_wall_us(&clock_real) - node.load.start_wall_us) / 1000000;
    load_progress(&done, &total);
    info_i64(w, "loading_start_time", node.load.start_wall_us / 1000000);
    info_u64(w, "loading_total_bytes", total);
    info_i64(w, "loading_rdb_used_mem", 0);
    info_u64(w, "loading_loaded_bytes", done);
    info_f2(w, "loading_loaded_perc", total > 0 ? (double)done * 100 / (double)total : 0);
    /* Redis's estimate: as much time for each byte as so far. */
    info_i64(w, "loading_eta_seconds",
             elapsed_s == 0 ? 1 : (int64_t)((uint64_t)elapsed_s * (total - done) / (done + 1)));
}

static void section_persistence(struct info_writer *w, const struct sums *t)
{
    const struct core_log_stats *j = &t->log;
    info_section(w, "Persistence");
    info_i64(w, "loading", node_loading());
    info_i64(w, "async_loading", 0);
    info_u64(w, "rdb_changes_since_last_save", t->s.dirty);
    info_i64(w, "rdb_bgsave_in_progress", 0);
    info_i64(w, "rdb_last_save_time", node.start_wall_us / 1000000);
    info_str(w, "rdb_last_bgsave_status", "ok");
    info_u64(w, "aof_enabled", j->is_on);
    info_i64(w, "aof_rewrite_in_progress", 0);
    info_str(w, "aof_last_bgrewrite_status", "ok");
    info_str(w, "aof_last_write_status", j->refusing ? "err" : "ok");
    if (node_loading()) loading_fields(w);
    if (j->is_on == 0) return;
    info_u64(w, "aof_current_size", j->bytes);
    info_u64(w, "aof_delayed_fsync", j->delayed_syncs);
    info_u64(w, "journal_generation", j->generation);
    info_u64(w, "journal_lsn", j->lsn);
    info_u64(w, "journal_durable_lsn", j->durable_lsn);
    info_u64(w, "journal_frames", j->frames);
    info_u64(w, "journal_units", j->units);
    info_u64(w, "journal_syncs", j->syncs);
    info_u64(w, "journal_segments", j->segments);
    info_u64(w, "journal_last_sync_usec", j->last_sync_us);
    info_i64(w, "journal_memory_newer_than_disk",
             atomic_load_explicit(&node.shared.refuse_rc, memory_order_relaxed) == RC_IO);
    info_u64(w, "journal_refusing_shards",
             atomic_load_explicit(&node.shared.refusing, memory_order_relaxed));
}

static void section_stats(struct info_writer *w, const struct sums *t)
{
    info_section(w, "Stats");
    info_u64(w, "total_connections_received", t->s.connections_received);
    info_u64(w, "total_commands_processed", t->s.commands);
    info_u64(w, "instantaneous_ops_per_sec", t->ops);
    info_u64(w, "total_net_input_bytes", t->s.net_in_bytes);
    info_u64(w, "total_net_output_bytes", t->s.net_out_bytes);
    info_f2(w, "instantaneous_input_kbps", (double)t->in_per_s / 1024);
    info_f2(w, "instantaneous_output_kbps", (double)t->out_per_s / 1024);
    info_u64(w, "rejected_connections", t->s.connections_rejected);
    info_i64(w, "sync_full", 0);
    info_i64(w, "sync_partial_ok", 0);
    info_i64(w, "sync_partial_err", 0);
    info_u64(w, "expired_keys", t->s.expired);
    info_u64(w, "expire_cycle_cpu_milliseconds", t->s.expire_cycle_us / 1000);
    info_u64(w, "evicted_keys", t->s.evicted);
    info_u64(w, "keyspace_hits", t->s.hits);
    info_u64(w, "keyspace_misses", t->s.misses);
    info_i64(w, "pubsub_channels", 0);
    info_i64(w, "pubsub_patterns", 0);
    info_i64(w, "latest_fork_usec", 0);
    info_i64(w, "total_forks", 0);
    info_u64(w, "total_error_replies", t->s.error_replies);
}

static void section_replication(struct info_writer *w, const struct sums *t)
{
    (void)t;
    info_section(w, "Replication");
    info_str(w, "role", "master");
    info_i64(w, "connected_slaves", 0);
    info_str(w, "master_failover_state", "no-failover");
    info_str(w, "master_replid", node.run_id);
    info_str(w, "master_replid2", "0000000000000000000000000000000000000000");
    info_i64(w, "master_repl_offset", 0);
    info_i64(w, "second_repl_offset", -1);
    info_i64(w, "repl_backlog_active", 0);
    info_i64(w, "repl_backlog_size", 0);
    info_i64(w, "repl_backlog_first_byte_offset", 0);
    info_i64(w, "repl_backlog_histlen", 0);
}

static void section_cpu(struct info_writer *w, const struct sums *t)
{
    (void)t;
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    info_section(w, "CPU");
    info_fmt(w, "used_cpu_sys", "%lld.%06lld", (long long)u.ru_stime.tv_sec,
             (long long)u.ru_stime.tv_usec);
    info_fmt(w, "used_cpu_user", "%lld.%06lld", (long long)u.ru_utime.tv_sec,
             (long long)u.ru_utime.tv_usec);
    info_str(w, "used_cpu_sys_children", "0.000000");
    info_str(w, "used_cpu_user_children", "0.000000");
}

static void section_modules(struct info_writer *w, const struct sums *t)
{
    (void)t;
    info_section(w, "Modules");
}

static void section_commandstats(struct info_writer *w, const struct sums *t)
{
    (void)t;
    info_section(w, "Commandstats");
    for (uint32_t id = 0; id < commands_count(); id++) {
        struct core_cmd_stats s = {.calls = 0};
        for (uint32_t i = 0; i < node.shards; i++) {
            const struct core_cmd_stats *one = &node.workers[i]->core.cmd_stats[id];
            s.calls += stat_get(&one->calls);
            s.ticks += stat_get(&one->ticks);
            s.rejected += stat_get(&one->rejected);
            s.failed += stat_get(&one->failed);
        }
        if (s.calls == 0 && s.rejected == 0) continue;
        char name[80];
        double usec = (double)clock_ticks_to_ns(s.ticks) / 1000;
        (void)snprintf(name, sizeof name, "cmdstat_%s", commands_full_name(commands_by_id(id)));
        info_fmt(w, name,
                 "calls=%llu,usec=%.0f,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%llu",
                 (unsigned long long)s.calls, usec, s.calls > 0 ? usec / (double)s.calls : 0.0,
                 (unsigned long long)s.rejected, (unsigned long long)s.failed);
    }
}

static void add_errors(struct core_error_count *all, const struct core *c)
{
    uint32_t used = atomic_load_explicit(&c->errors_used, memory_order_acquire);
    for (uint32_t k = 0; k < used; k++) {
        const struct core_error_count *e = &c->errors[k];
        uint64_t count = stat_get(&e->count);
        if (count == 0) continue;
        uint32_t at = 0;
        while (at < CORE_ERRORS_MAX - 1 && all[at].count > 0 &&
               strcmp(all[at].prefix, e->prefix) != 0)
            at++;
        if (all[at].count == 0) memcpy(all[at].prefix, e->prefix, sizeof e->prefix);
        all[at].count += count;
    }
}

static void section_errorstats(struct info_writer *w, const struct sums *t)
{
    (void)t;
    info_section(w, "Errorstats");
    struct core_error_count all[CORE_ERRORS_MAX] = {{.count = 0}};
    for (uint32_t i = 0; i < node.shards; i++)
        add_errors(all, &node.workers[i]->core);
    for (uint32_t k = 0; k < CORE_ERRORS_MAX && all[k].count > 0; k++) {
        char name[40];
        (void)snprintf(name, sizeof name, "errorstat_%s", all[k].prefix);
        info_fmt(w, name, "count=%llu", (unsigned long long)all[k].count);
    }
}

static void section_latencystats(struct info_writer *w, const struct sums *t)
{
    (void)t;
    info_section(w, "Latencystats");
    struct stat_histogram sum;
    for (uint32_t id = 0; id < commands_count() && config.latency_tracking; id++) {
        stat_clear(&sum);
        for (uint32_t i = 0; i < node.shards; i++) {
            const struct stat_histogram *h = core_latency(&node.workers[i]->core.cmd_stats[id]);
            if (h != NULL) stat_merge(&sum, h);
        }
        if (sum.count == 0) continue;
        char name[96];
        (void)snprintf(name, sizeof name, "latency_percentiles_usec_%s",
                       commands_full_name(commands_by_id(id)));
        struct buf text;
        buf_init(&text, MEM_REPLY);
        for (uint32_t i = 0; i < config.percentile_count; i++)
            buf_addf(&text, "%sp%.10g=%.3f", i == 0 ? "" : ",", config.percentile[i],
                     (double)stat_percentile(&sum, config.percentile[i]) / 1000);
        info_fmt(w, name, "%.*s", (int)text.len, text.len > 0 ? (const char *)text.data : "");
        buf_free(&text);
    }
}

static void section_cluster(struct info_writer *w, const struct sums *t)
{
    (void)t;
    info_section(w, "Cluster");
    info_i64(w, "cluster_enabled", config.cluster_enabled);
}

static void section_shards(struct info_writer *w, const struct sums *t)
{
    (void)t;
    info_section(w, "Shards");
    for (uint32_t i = 0; i < node.shards; i++) {
        const struct worker *s = node.workers[i];
        const struct reactor *r = &s->core.reactor;
        struct stat_histogram pass_cpu = {.count = 0};
        char name[32];
        uint64_t keys = 0;
        stat_merge(&pass_cpu, &r->pass_cpu);
        for (uint32_t db = 0; db < config.databases; db++)
            keys += db_count(s->core.ks, (uint8_t)db);
        (void)snprintf(name, sizeof name, "shard%u", i);
        info_fmt(
            w, name,
            "keys=%llu,clients=%u,commands=%llu,turns=%llu,sleeps=%llu,wakes=%llu,spin_usec=%llu,"
            "lends=%llu,refused=%llu,optimistic_reads=%llu,optimistic_retries=%llu,"
            "pass_p99_usec=%.1f,pass_max_usec=%.1f,pass_p999_usec=%.1f,passes_measured=%llu",
            (unsigned long long)keys, stat_get32(&s->conns_count),
            (unsigned long long)stat_get(&s->core.stats.commands),
            (unsigned long long)stat_get(&r->turns), (unsigned long long)stat_get(&r->sleeps),
            (unsigned long long)stat_get(&r->wakes_sent),
            (unsigned long long)stat_get(&r->spin_ns) / 1000,
            (unsigned long long)stat_get(&s->lends), (unsigned long long)stat_get(&s->refused),
            (unsigned long long)stat_get(&s->txn.collects),
            (unsigned long long)stat_get(&s->txn.redone),
            (double)stat_percentile(&pass_cpu, 99) / 1000, (double)pass_cpu.max_ns / 1000,
            (double)stat_percentile(&pass_cpu, 99.9) / 1000, (unsigned long long)pass_cpu.count);
    }
}

static void section_keyspace(struct info_writer *w, const struct sums *t)
{
    (void)t;
    int64_t now_ms = clock_wall_us(&clock_real) / 1000;
    info_section(w, "Keyspace");
    for (uint32_t db = 0; db < config.databases; db++) {
        uint64_t keys = 0, expires = 0;
        int64_t ttl = 0;
        for (uint32_t i = 0; i < node.shards; i++) {
            const struct keyspace *ks = node.workers[i]->core.ks;
            keys += db_count(ks, (uint8_t)db);
            expires += db_count_expires(ks, (uint8_t)db);
            int64_t one = db_average_ttl_ms(ks, (uint8_t)db, now_ms);
            if (one > ttl) ttl = one;
        }
        if (keys == 0) continue;
        char name[16];
        (void)snprintf(name, sizeof name, "db%u", db);
        info_fmt(w, name, "keys=%llu,expires=%llu,avg_ttl=%lld", (unsigned long long)keys,
                 (unsigned long long)expires, (long long)ttl);
    }
}

static const struct section {
    const char *name;
    void (*write)(struct info_writer *w, const struct sums *t);
    bool by_default;
} sections[] = {
    {"server", section_server, true},
    {"clients", section_clients, true},
    {"memory", section_memory, true},
    {"persistence", section_persistence, true},
    {"stats", section_stats, true},
    {"replication", section_replication, true},
    {"cpu", section_cpu, true},
    {"modules", section_modules, true},
    {"commandstats", section_commandstats, false},
    {"errorstats", section_errorstats, true},
    {"latencystats", section_latencystats, false},
    {"cluster", section_cluster, true},
    {"shards", section_shards, true},
    {"keyspace", section_keyspace, true},
};

static bool wanted(const struct call *c, const struct section *s)
{
    if (c->argc == 1) return s->by_default;
    for (uint32_t i = 1; i < c->argc; i++) {
        if (bytes_is(c->argv[i], s->name) || bytes_is(c->argv[i], "all") ||
            bytes_is(c->argv[i], "everything"))
            return true;
        if (bytes_is(c->argv[i], "default") && s->by_default) return true;
    }
    return false;
}

static void run_info(struct call *c)
{
    struct buf text;
    struct sums t;
    buf_init(&text, MEM_REPLY);
    struct info_writer w = {.out = &text, .first = true};
    sum_up(&t);
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        if (wanted(c, &sections[i])) sections[i].write(&w, &t);
    reply_verbatim(c->reply, "txt", buf_bytes(&text));
    buf_free(&text);
}

/* ---- the rest */

static void run_time(struct call *c)
{
    int64_t us = clock_wall_us(&clock_real);
    reply_array(c->reply, 2);
    reply_bulk_i64(c->reply, us / 1000000);
    reply_bulk_i64(c->reply, us % 1000000);
}

/* SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] | ABORT */
static bool parse_shutdown(const struct call *c, bool *abort_out, bool *save_out)
{
    bool abort = false, save = false, nosave = false, other = false;
    for (uint32_t i = 1; i < c->argc; i++) {
        if (bytes_is(c->argv[i], "abort"))
            abort = true;
        else if (bytes_is(c->argv[i], "save"))
            save = true;
        else if (bytes_is(c->argv[i], "nosave"))
            nosave = true;
        else if (bytes_is(c->argv[i], "now") || bytes_is(c->argv[i], "force"))
            other = true;
        else
            return false;
    }
    *abort_out = abort;
    *save_out = save;
    return !(save && nosave) && !(abort && (save || nosave || other));
}

static void run_shutdown(struct call *c)
{
    bool abort, save;
    if (!parse_shutdown(c, &abort, &save))
        reply_error(c->reply, ERR_SYNTAX);
    else if (abort)
        reply_error(c->reply, "ERR No shutdown in progress.");
    else if (save)
        reply_error(c->reply, "ERR SHUTDOWN SAVE: snapshots are not there yet; the log "
                              "(appendonly yes) keeps the data");
    else
        node_stop(); /* no reply: the connection closes when the log is safe */
}

static void run_lastsave(struct call *c)
{
    reply_i64(c->reply, node.start_wall_us / 1000000);
}

static void run_lolwut(struct call *c)
{
    static const char text[] = "\n"
                               "        .-'''-.\n"
                               "      .'  o    '.\n"
                               "     /      O    \\\n"
                               "    |  .     o    |\n"
                               "     \\    O   .  /\n"
                               "      '. .     .'\n"
                               "        '-...-'\n\n"
                               "Moon " MOON_VERSION "\n";
    reply_verbatim(c->reply, "txt", BYTES_LIT(text));
}

static void run_purge(struct call *c)
{
    mem_purge();
    reply_ok(c->reply);
}

static void run_memory_help(struct call *c)
{
    static const char *const lines[] = {
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", "PURGE",
        "    Ask the allocator to release memory.", "HELP", "    Print this help."};
    reply_text_lines(c->reply, lines, COUNT_OF(lines));
}

// clang-format off
static const struct cmd_spec memory_subs[] = {
    {.name = "HELP", .run_conn = run_memory_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, .group = "server", .since = "4.0.0", .complexity = "O(1)", .summary = "Returns helpful text about the subcommands.", .syntax = ""},
    {.name = "PURGE", .run_conn = run_purge, .arity = 2, .group = "server", .since = "4.0.0", .complexity = "Depends on how much memory is allocated.", .summary = "Gives unused memory back to the operating system.", .syntax = "", .tips = "request_policy:all_shards response_policy:all_succeeded"},
};
static const struct cmd_spec rows[] = {
    {.name = "INFO", .run_conn = run_info, .arity = -1, .flags = CMD_LOADING | CMD_STALE, .acl = ACL_DANGEROUS, .group = "server", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Returns facts and statistics about the server.", .syntax = "[section [section ...]]", .tips = "nondeterministic_output request_policy:all_shards response_policy:special"},
    {.name = "LASTSAVE", .run_conn = run_lastsave, .arity = 1, .flags = CMD_LOADING | CMD_STALE | CMD_FAST, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "server", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Returns the time of the last snapshot; without one, of the start.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "LOLWUT", .run_conn = run_lolwut, .arity = -1, .flags = CMD_READONLY | CMD_FAST, .group = "server", .since = "5.0.0", .complexity = "O(1)",
     .summary = "Shows a moon and the version.", .syntax = "[VERSION version]"},
    {.name = "MEMORY", .arity = -2, .group = "server", .since = "4.0.0", .complexity = "Depends on subcommand.", .summary = "A container for commands about memory.", .syntax = "", .subs = memory_subs, .subs_count = COUNT_OF(memory_subs)},
    {.name = "SHUTDOWN", .run_conn = run_shutdown, .arity = -1, .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "server", .since = "1.0.0", .complexity = "O(N), N what is left to write",
     .summary = "Writes the log to its end and stops the server.", .syntax = "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]"},
    {.name = "TIME", .run_conn = run_time, .arity = 1, .flags = CMD_LOADING | CMD_STALE | CMD_FAST, .group = "server", .since = "2.6.0", .complexity = "O(1)",
     .summary = "Returns the server's time in seconds and microseconds.", .syntax = "", .tips = "nondeterministic_output"},
};
// clang-format on

const struct cmd_table admin_cmds = {.rows = rows, .count = COUNT_OF(rows)};
