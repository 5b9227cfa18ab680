/* The process: settings → sockets → shards → data (load.c); the reverse at the end. The main thread itself
 * only checks the logs and waits for signals. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/cluster.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/load.h"
#include "node/log_check.h"
#include "node/place_priv.h"
#include "node/text.h"
#include "node/worker_priv.h"
#include "shard/base/log.h"
#include "shard/base/planted.h"
#include "shard/script/script.h"

struct node node;
static pthread_t main_thread;

void node_stop(void)
{
    if (!atomic_exchange(&node.stopping, true)) node_ring(SIGTERM);
}

void node_ring(int signal_number)
{
    (void)pthread_kill(main_thread, signal_number);
}

static int fail_config(struct buf *why)
{
    (void)fprintf(stderr, "moon: %.*s\n", (int)why->len, (const char *)why->data);
    return 1;
}

/* CPUs this process may use: its affinity mask, capped by the cgroup's quota. */
static uint32_t usable_cpus(cpu_set_t *set)
{
    CPU_ZERO(set);
    if (sched_getaffinity(0, sizeof *set, set) != 0) return 1;
    uint32_t n = (uint32_t)CPU_COUNT(set);
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f == NULL) return n;
    unsigned long long quota = 0, period = 0;
    if (fscanf(f, "%llu %llu", &quota, &period) == 2 && period > 0) {
        uint32_t cap = (uint32_t)((quota + period - 1) / period);
        if (cap >= 1 && cap < n) n = cap;
    }
    (void)fclose(f);
    return n;
}

/* Shards beyond the CPUs share them: pinning would only stack threads up. */
static void pin(pthread_t thread, uint32_t index, const cpu_set_t *usable)
{
    uint32_t n = (uint32_t)CPU_COUNT(usable);
    if (node.shards > n) return;
    uint32_t seen = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, usable) || seen++ != index) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((size_t)cpu, &one);
        (void)pthread_setaffinity_np(thread, sizeof one, &one);
        return;
    }
}

static bool enter_dir(void)
{
    if (mkdir(config.dir, 0755) != 0 && errno != EEXIST) {
        log_warning("start", "cannot create the data directory %s: %s", config.dir,
                    strerror(errno));
        return false;
    }
    if (chdir(config.dir) != 0 || getcwd(node.dir, sizeof node.dir) == NULL) {
        log_warning("start", "cannot enter the data directory %s: %s", config.dir, strerror(errno));
        return false;
    }
    return true;
}

struct journal_opts node_journal_opts(bool repair)
{
    return (struct journal_opts){.dir = node.dir,
                                 .logs = node.shards,
                                 .fsync = config.appendfsync,
                                 .segment_bytes = SEGMENT_BYTES,
                                 .repair = repair,
                                 .clock = &clock_real};
}

static void raise_file_limit(void)
{
    uint32_t fits = config_fit_clients(config.maxclients);
    if (fits >= config.maxclients) return;
    log_warning("start",
                "maxclients %u needs %u open files, more than the limit: maxclients is now %u "
                "(ulimit -n)",
                config.maxclients, config.maxclients + CONFIG_FILES_BESIDE_CLIENTS, fits);
    config.maxclients = fits;
}

static bool all_ok(const struct worker_start *starts)
{
    for (uint32_t i = 0; i < node.shards; i++)
        if (!starts[i].ok) return false;
    return true;
}

static void join_all(void)
{
    for (uint32_t i = 0; i < node.shards; i++)
        (void)pthread_join(node.workers[i]->thread, NULL);
}

static void write_pid_file(void)
{
    if (config.pidfile[0] == 0) return;
    FILE *f = fopen(config.pidfile, "w");
    if (f == NULL) {
        log_warning("start", "cannot write the pid file %s: %s", config.pidfile, strerror(errno));
        return;
    }
    (void)fprintf(f, "%d\n", (int)getpid());
    (void)fclose(f);
}

/* Starts the threads; false: why was logged, all have ended. */
static bool start_shards(const cpu_set_t *usable)
{
    static struct worker_start starts[SHARDS_MAX];
    static pthread_barrier_t made, checked;
    static bool go;
    (void)pthread_barrier_init(&made, NULL, node.shards + 1);
    (void)pthread_barrier_init(&checked, NULL, node.shards + 1);
    for (uint32_t i = 0; i < node.shards; i++)
        node.workers[i] = worker_new(i);
    for (uint32_t i = 0; i < node.shards; i++)
        for (uint32_t k = 0; k < node.shards; k++)
            if (i != k) worker_link(node.workers[i], node.workers[k]);
    for (uint32_t i = 0; i < node.shards; i++) {
        starts[i] = (struct worker_start){
            .worker = node.workers[i], .made = &made, .checked = &checked, .go = &go};
        if (pthread_create(&node.workers[i]->thread, NULL, worker_main, &starts[i]) != 0) {
            log_warning("start", "cannot create thread %u of %u", i, node.shards);
            exit(1); /* the barriers count on all */
        }
        pin(node.workers[i]->thread, i, usable);
    }
    (void)pthread_barrier_wait(&made);
    go = all_ok(starts);
    (void)pthread_barrier_wait(&checked);
    if (!go) join_all();
    return go;
}

static void stop_shards(void)
{
    atomic_store(&node.stopping, true);
    for (uint32_t i = 0; i < node.shards; i++)
        reactor_stop(&node.workers[i]->core.reactor);
    join_all();
}

static void wait_for_stop(const sigset_t *signals)
{
    for (;;) {
        int signal_number = 0;
        if (sigwait(signals, &signal_number) != 0 || signal_number == LOAD_BELL) continue;
        if (!atomic_exchange(&node.stopping, true))
            log_notice("stop", "%s received: closing",
                       signal_number == SIGINT ? "SIGINT" : "SIGTERM");
        return;
    }
}

static sigset_t block_signals(void)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, LOAD_BELL);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    return signals;
}

static void log_ready(void)
{
    config_lock(); /* clients may be setting them already */
    log_notice("start", "%u shard%s, %s, %s; data in %s", node.shards, node.shards == 1 ? "" : "s",
               node.io_name,
               !config.appendonly                       ? "appendonly no"
               : config.appendfsync == JOURNAL_ALWAYS   ? "appendfsync always"
               : config.appendfsync == JOURNAL_EVERYSEC ? "appendfsync everysec"
                                                        : "appendfsync no",
               node.dir);
    log_notice("start", "Ready to accept connections on port %u", config.port);
    config_unlock();
}

static void init_node(cpu_set_t *usable)
{
    uint8_t key[16];
    rng_secret(key, sizeof key);
    hash_seed(key);
    rng_hex(node.run_id, 40);
    node.start_wall_us = clock_wall_us(&clock_real);
    atomic_store(&node.next_client_id, 1);
    atomic_store(&node.shared.active_expire, true);
    atomic_store(&node.shared.maxmemory, config.maxmemory);
    atomic_store(&node.shared.string_bytes_max, config.proto_max_bulk_len);
    atomic_store(&node.shared.slowlog_us, config.slowlog_us);
    atomic_store(&node.shared.script_ms_max, (uint64_t)config.busy_reply_threshold_ms);
    uint32_t cpus = usable_cpus(usable);
    node.shards = config.shards == 0 ? cpus : config.shards;
    if (node.shards > SHARDS_MAX) node.shards = SHARDS_MAX;
    static const struct script_host host = {.find = commands_find,
                                            .find_sub = commands_find_sub,
                                            .refuse = cluster_refuses,
                                            .run_spread = multi__run_spread,
                                            .widen = script__widen,
                                            .refuse_keys = script__refuses,
                                            .version = REDIS_VERSION_SPOKEN};
    script_set_host(&host);
    commands_init();
}

/* Only in builds for tests. */
static bool plant_mistakes(void)
{
#ifdef MOON_TEST
    const char *words = getenv("MOON_PLANT");
    if (words == NULL) return true;
    if (!plant_words(words)) {
        log_warning("start", "MOON_PLANT=%s: no such mistake", words);
        return false;
    }
    for (uint32_t i = 0; i < PLANT_COUNT; i++)
        if (plant_bits >> i & 1) log_warning("start", "planted: %s", plant_text((enum plant)i));
#endif
    return true;
}

int main(int argc, char **argv)
{
    main_thread = pthread_self();
    sigset_t signals = block_signals();
    struct buf why;
    buf_init(&why, MEM_NODE);
    if (!config_load(argc, argv, &why)) return fail_config(&why);
    if (!log_open(config.logfile, config.loglevel, config.log_format)) {
        (void)fprintf(stderr, "moon: cannot open the log file %s: %s\n", config.logfile,
                      strerror(errno));
        return 1;
    }
    log_set_thread("main");
    config_log_warnings();
    if (!plant_mistakes()) return 1;
    cpu_set_t usable;
    init_node(&usable);
    struct io *io;
    const char *unused;
    struct io_opts file_io = {.kind = IO_EPOLL, .entries = 8, .buffers = 8, .buffer_bytes = 4096};
    if (io_open(&file_io, &io, &unused) != RC_OK) return 1;
    if (config.check_log) return log_check_run(io);
    raise_file_limit();
    if (!enter_dir() || !cluster_settings_fit() || !listen__bind() || !start_shards(&usable))
        return 1;
    write_pid_file();
    bool failed;
    if (load_node(io, &signals, &failed)) {
        log_ready();
        wait_for_stop(&signals);
    }
    stop_shards();
    if (config.pidfile[0] != 0) (void)unlink(config.pidfile);
    if (failed) return 1;
    log_notice("stop", "Moon is now ready to exit, bye bye...");
    return 0;
}
