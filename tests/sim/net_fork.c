/* tests/sim/net_fork.c: seeds, each in a process of its own, as many at a time as there are CPUs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "tests/sim/net_raft.h"

#define JOBS_MAX 16
#define SECONDS_MAX 120 /* of CPU time, of one seed: it hangs. It may be long until it gets them. */

struct job {
    pid_t pid;
    int from;
    uint64_t seed;
};

struct report { /* of a run that passed */
    uint64_t steps, sums[NET_SUMS];
};
static_assert(sizeof(struct report) <= PIPE_BUF, "it fits the pipe though nobody reads yet");

static void child(uint64_t seed, uint64_t (*run)(uint64_t seed), bool quiet, int to)
{
    struct rlimit most = {SECONDS_MAX, SECONDS_MAX};
    (void)setrlimit(RLIMIT_CPU, &most);
    if (quiet) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
    }
    struct report report = {0};
    memset(net_sums, 0, sizeof net_sums);
    report.steps = run(seed);
    memcpy(report.sums, net_sums, sizeof report.sums);
    (void)fflush(stdout);
    ssize_t wrote = write(to, &report, sizeof report);
    _exit(wrote == sizeof report ? 0 : 1);
}

static void start(struct job *job, uint64_t seed, uint64_t (*run)(uint64_t seed), bool quiet)
{
    int ends[2];
    int err = pipe2(ends, O_CLOEXEC);
    assert(err == 0);
    (void)fflush(stdout);
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) child(seed, run, quiet, ends[1]);
    close(ends[1]);
    *job = (struct job){.pid = pid, .from = ends[0], .seed = seed};
}

static void finish(struct job *job, struct net_counts *out, bool quiet, int status)
{
    struct report report;
    ssize_t got = read(job->from, &report, sizeof report);
    close(job->from);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && got == sizeof report) {
        out->passed++;
        out->steps += report.steps;
        for (uint32_t i = 0; i < NET_SUMS; i++)
            out->sums[i] += report.sums[i];
    } else {
        if (out->failed == 0 || job->seed < out->first_failed) out->first_failed = job->seed;
        out->failed++;
        if (!quiet)
            printf("seed %llu failed: %s %d\n", (unsigned long long)job->seed,
                   WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    job->pid = 0;
}

uint32_t net_fork_jobs; /* 0: as many as there are CPUs */

void net_fork_seeds(uint64_t first, uint32_t count, uint64_t (*run)(uint64_t seed), bool quiet,
                    struct net_counts *out)
{
    struct job jobs[JOBS_MAX] = {{0}};
    long cpus = net_fork_jobs > 0 ? (long)net_fork_jobs : sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t most = cpus < 1 ? 1 : cpus > JOBS_MAX ? JOBS_MAX : (uint32_t)cpus;
    uint32_t started = 0, running = 0;
    *out = (struct net_counts){0};
    while (started < count || running > 0) {
        for (uint32_t i = 0; i < most && started < count; i++) {
            if (jobs[i].pid != 0) continue;
            start(&jobs[i], first + started++, run, quiet);
            running++;
        }
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        for (uint32_t i = 0; i < most; i++) {
            if (jobs[i].pid != pid) continue;
            finish(&jobs[i], out, quiet, status);
            running--;
        }
    }
}
