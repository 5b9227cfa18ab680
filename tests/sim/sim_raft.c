/* tests/sim/sim_raft.c: control-log clusters with the topology behind them, under every fault we know, one
 * seed each.
 *
 *     sim_raft                      the seeds of `make sim`
 *     sim_raft --seed N             one seed in this process, loudly
 *     sim_raft --from N --count M   a campaign (tests/sim/campaign: a long one that can be taken up again)
 *     sim_raft … --jobs J           so many processes at a time
 *     sim_raft … --off GUARD        with a guard switched off (it should fail then) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cluster/topology_priv.h" /* lint: allow private-headers, names of types */
#include "shard/base/attr.h"
#include "shard/base/log.h"
#include "tests/sim/net_raft.h"

#define SEEDS 2000u

#ifdef __SANITIZE_ADDRESS__
/* Each seed is a process that lives for 50 ms: what it frees need not be kept for long. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4:malloc_context_size=3";
}
#endif

/* Seeds beyond the first ones that failed once. */
static const uint64_t failed_once[] = {
    44612, /* a removed member's power goes while it stops */
    55302, /* two power losses in the start that mends a torn copy of meta */
    98268, /* as 44612 */
};

static uint64_t run_seed(uint64_t seed)
{
    struct net_opts opts;
    net_swarm(&opts, seed);
    struct net *n = net_new(seed, &opts);
    uint64_t steps = net_campaign(n);
    net_free(n);
    return steps;
}

/* Of all finished seeds: says the same on a busy machine. */
static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run_failed_once(struct net_counts *counts)
{
    for (uint32_t i = 0; i < COUNT_OF(failed_once); i++) {
        struct net_counts one;
        net_fork_seeds(failed_once[i], 1, run_seed, false, &one);
        counts->passed += one.passed;
        counts->failed += one.failed;
    }
}

/* What the seeds are about. */
static void print_kinds(uint64_t first, uint64_t count)
{
    uint32_t three = 0, five = 0, changing = 0, snapshots = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct net_opts o;
        net_swarm(&o, seed);
        three += o.voters == 3;
        five += o.voters == 5;
        changing += o.churn_ms > 0;
        snapshots += o.snapshot_entries < 4096 || o.snapshot_bytes < 8u << 20;
    }
    printf("%u seeds of 3 voters, %u of 5; members change in %u; snapshots in %u\n", three, five,
           changing, snapshots);
}

/* A run that met nothing proves nothing. */
static bool print_sums(const uint64_t *sums)
{
    bool met = sums[NET_SUM_REPEATED] > 0 && sums[NET_SUM_INSTALLED] > 0;
    printf("applied:");
    for (uint32_t type = 0; type < NET_SUM_REFUSED; type++) {
        if (topology__handler(type) == NULL) continue;
        printf(" %s %llu", topology_entry_name(type), (unsigned long long)sums[type]);
        /* No program knows a second level yet. */
        met = met && (sums[type] >= 5 || type == TOPO_FEATURE_LEVEL);
    }
    printf(
        "\n%llu entries refused, %llu repeated; %llu snapshots restored, %llu of them from the "
        "leader; %llu elections, %llu faults; %llu proposals; all resolved %llu ms of a run after "
        "its faults\n",
        (unsigned long long)sums[NET_SUM_REFUSED], (unsigned long long)sums[NET_SUM_REPEATED],
        (unsigned long long)sums[NET_SUM_RESTORED], (unsigned long long)sums[NET_SUM_INSTALLED],
        (unsigned long long)sums[NET_SUM_LEADERS], (unsigned long long)sums[NET_SUM_FAULTS],
        (unsigned long long)sums[NET_SUM_RESOLVED], (unsigned long long)sums[NET_SUM_HEAL_MS]);
    return met;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = SEEDS;
    bool one = false;
    for (int i = 1; i < argc; i++) {
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        if (strcmp(argv[i], "--seed") == 0) {
            first = value;
            one = true;
        } else if (strcmp(argv[i], "--from") == 0) {
            first = value;
        } else if (strcmp(argv[i], "--count") == 0) {
            count = value;
        } else if (strcmp(argv[i], "--jobs") == 0) {
            net_fork_jobs = (uint32_t)value;
        } else if (strcmp(argv[i], "--off") == 0) {
            rl_guards_off |= 1u << value;
        } else {
            fprintf(stderr, "sim_raft: what is %s?\n", argv[i]);
            return 2;
        }
        i++;
    }
    if (one) {
        uint64_t steps = run_seed(first);
        printf("seed %llu passed in %llu steps\n", (unsigned long long)first,
               (unsigned long long)steps);
        (void)print_sums(net_sums);
        printf("sim: 1 passed, 0 failed\n");
        return 0;
    }
    log_set_level(LOG_NOTHING); /* disks fail by the hundred */
    struct net_counts counts;
    net_fork_seeds(first, (uint32_t)count, run_seed, false, &counts);
    double took = cpu_seconds();
    printf("%.1f s of CPU, %.1f ms per seed, %.0f steps per seed\n", took,
           1000 * took / (double)count, (double)counts.steps / (counts.passed + 1));
    print_kinds(first, count);
    for (uint32_t i = 0; i < NET_SUMS && counts.passed > 0; i++)
        if (i == NET_SUM_HEAL_MS) counts.sums[i] /= counts.passed;
    if (count == SEEDS) run_failed_once(&counts);
    bool met = print_sums(counts.sums) || count < SEEDS;
    if (!met) printf("not every kind of entry was met: the drawing is at fault\n");
    printf("sim: %u passed, %u failed\n", counts.passed, counts.failed + !met);
    return counts.failed > 0 || !met;
}
