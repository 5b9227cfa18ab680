/* tests/sim/sim_raft.c: control-log clusters under every fault we know, one seed each.
 *
 *     sim_raft                      the seeds of `make sim`
 *     sim_raft --seed N             one seed in this process, loudly
 *     sim_raft --from N --count M   a campaign
 *     sim_raft --off GUARD …        with a guard switched off (it should fail then) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

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
        printf("sim: 1 passed, 0 failed\n");
        return 0;
    }
    log_set_level(LOG_NOTHING); /* disks fail by the hundred */
    struct net_counts counts;
    net_fork_seeds(first, (uint32_t)count, run_seed, false, &counts);
    double took = cpu_seconds();
    printf("%.1f s of CPU, %.1f ms per seed, %.0f steps per seed\n", took,
           1000 * took / (double)count, (double)counts.steps / (counts.passed + 1));
    printf("sim: %u passed, %u failed\n", counts.passed, counts.failed);
    return counts.failed > 0;
}
