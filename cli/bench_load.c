/* Threads, the measured window and the totals.
 *
 *   open all ─ barrier ─ start ──── warm-up ────┬──── measured ────┬─ drain ─ close
 *                                  window_start ┘                  └ window_end
 *
 * Thread 0 is the caller's. It alone looks at the server's process, at both ends of its own window,
 * together with the count of answers over all threads at that moment: their quotient is the CPU
 * time of one command. With a number of requests instead of a duration each thread ends by itself. */
#include "cli/bench_load.h"

#include "cli/bench_load_priv.h"
#include "cli/proc.h"
#include "shard/base/assert.h"
#include "shard/base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#define NS_PER_S 1000000000u
#define STALL_NS (10ull * NS_PER_S) /* no reply for that long: the server hangs */
#define DRAIN_NS (2ull * NS_PER_S)
#define WAIT_US_MAX 100000 /* so that another thread's failure is seen */

struct load_run {
    struct load_shared shared;
    pthread_barrier_t barrier;
    struct load_worker *workers;
    struct proc_usage usage_first, usage_start, usage_end;
    uint64_t done_start, done_end;
    bool server_known;
};
struct load_thread {
    struct load_run *run;
    struct load_worker *worker;
    pthread_t id;
};

static uint64_t done_by_all(const struct load_run *run)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < run->shared.plan->threads; i++) {
        sum += atomic_load_explicit(&run->workers[i].done, memory_order_relaxed);
    }
    return sum;
}

static void look_at_server(struct load_run *run, const struct load_worker *w,
                           struct proc_usage *usage, uint64_t *done)
{
    if (w->index != 0 || !run->server_known) return;
    *done = done_by_all(run);
    if (!proc_usage_read(run->shared.plan->server_pid, usage)) run->server_known = false;
}

static uint64_t share(uint64_t whole, uint32_t parts, uint32_t index)
{
    return whole / parts + (index < whole % parts);
}

static void open_window(struct load_run *run, struct load_worker *w)
{
    const struct bench_plan *plan = w->plan;
    look_at_server(run, w, &run->usage_start, &run->done_start);
    w->measuring = true;
    w->window_start_ns = clock_mono_ns(&clock_real);
    w->cpu_start_ns = clock_thread_cpu_ns();
    if (plan->requests == 0) return;
    /* What is under way will be answered inside the window and counts. */
    uint64_t wanted = share(plan->requests, plan->threads, w->index);
    w->quota = wanted > w->in_flight ? wanted - w->in_flight : 0;
}

static void close_window(struct load_run *run, struct load_worker *w)
{
    w->cpu_end_ns = clock_thread_cpu_ns();
    w->window_end_ns = clock_mono_ns(&clock_real);
    w->measuring = false;
    w->quota = 0;
    look_at_server(run, w, &run->usage_end, &run->done_end);
}

static int64_t wait_us(uint64_t now_ns, uint64_t until_ns)
{
    if (until_ns <= now_ns) return 0;
    uint64_t us = (until_ns - now_ns + 999) / 1000;
    return us < WAIT_US_MAX ? (int64_t)us : WAIT_US_MAX;
}

static bool stopped(const struct load_worker *w)
{
    return atomic_load_explicit(&w->shared->stop, memory_order_relaxed);
}

/* Runs until the clock reaches until_ns or nothing is left to send and to wait for. */
static void run_until(struct load_worker *w, uint64_t until_ns)
{
    uint64_t now_ns = clock_mono_ns(&clock_real);
    uint64_t progress_ns = now_ns;
    uint64_t in_flight = w->in_flight;
    while (now_ns < until_ns && (w->quota > 0 || w->in_flight > 0) && !stopped(w)) {
        uint64_t next_ns = load__start_batches(w, now_ns);
        load__turn(w, wait_us(now_ns, next_ns < until_ns ? next_ns : until_ns));
        now_ns = clock_mono_ns(&clock_real);
        if (w->turn_ns != 0 || in_flight == 0) progress_ns = now_ns;
        in_flight = w->in_flight;
        if (now_ns - progress_ns < STALL_NS) continue;
        load__fail(w, CLI_TIMEOUT, "no reply for %llu s",
                   (unsigned long long)(STALL_NS / NS_PER_S));
    }
}

static void wait_for_passwords(struct load_worker *w)
{
    uint64_t deadline_ns = clock_mono_ns(&clock_real) + STALL_NS;
    while (w->unready_count > 0 && !stopped(w)) {
        load__turn(w, WAIT_US_MAX);
        if (clock_mono_ns(&clock_real) > deadline_ns)
            load__fail(w, CLI_TIMEOUT, "no reply to AUTH");
    }
}

static void pin(struct load_worker *w)
{
    cpu_set_t set;
    if (w->plan->cpu < 0) return;
    CPU_ZERO(&set);
    CPU_SET((uint32_t)w->plan->cpu + w->index, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        load__fail(w, CLI_FAILED, "cannot run on CPU %u", (unsigned)w->plan->cpu + w->index);
    }
}

static void drive(struct load_run *run, struct load_worker *w)
{
    const struct bench_plan *plan = w->plan;
    uint64_t window_ns = run->shared.start_ns + plan->warmup_ns;
    w->schedule_ns = run->shared.start_ns;
    w->quota = plan->warmup_ns > 0 ? UINT64_MAX : 0;
    run_until(w, window_ns);
    if (plan->requests == 0) w->quota = UINT64_MAX;
    open_window(run, w);
    run_until(w, plan->requests > 0 ? UINT64_MAX : window_ns + plan->duration_ns);
    close_window(run, w);
    run_until(w, clock_mono_ns(&clock_real) + DRAIN_NS);
}

static void *run_worker(void *arg)
{
    struct load_thread *t = arg;
    struct load_worker *w = t->worker;
    const struct bench_plan *plan = w->plan;
    prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul,
          0ul); /* the default 50 µs would be seen as latency */
    pin(w);
    w->conns_count = (uint32_t)share(plan->conns, plan->threads, w->index);
    rng_seed(&w->rng, plan->seed + w->index);
    for (uint32_t i = 0; i < w->index; i++)
        w->sequence += share(plan->requests, plan->threads, i);
    if (plan->rate > 0)
        w->interval_ns = (double)NS_PER_S * plan->pipeline * plan->threads / plan->rate;
    if (!stopped(w)) load__open(w);
    wait_for_passwords(w);
    pthread_barrier_wait(&t->run->barrier);
    if (w->index == 0) t->run->shared.start_ns = clock_mono_ns(&clock_real);
    pthread_barrier_wait(&t->run->barrier);
    if (!stopped(w)) drive(t->run, w);
    load__close(w);
    return NULL;
}

static void add_up(const struct load_run *run, struct bench_result *out)
{
    const struct load_worker *first = &run->workers[0];
    *out = (struct bench_result){.io_why = first->io_why, .io = first->io_kind};
    for (uint32_t i = 0; i < run->shared.plan->threads; i++) {
        const struct load_worker *w = &run->workers[i];
        uint64_t wall_ns = w->window_end_ns - w->window_start_ns;
        double busy =
            wall_ns == 0 ? 0 : (double)(w->cpu_end_ns - w->cpu_start_ns) / (double)wall_ns;
        out->requests += w->measured;
        out->errors += w->errors;
        out->nulls += w->nulls;
        if (wall_ns > out->wall_ns) out->wall_ns = wall_ns;
        if (busy > out->generator_share) out->generator_share = busy;
        if (out->first_error[0] == '\0')
            memcpy(out->first_error, w->first_error, sizeof out->first_error);
        stat_merge(&out->latency, &w->latency);
    }
    out->server_known = run->server_known && run->usage_end.cpu_ns >= run->usage_start.cpu_ns;
    if (!out->server_known) return;
    out->server_cpu_ns = run->usage_end.cpu_ns - run->usage_start.cpu_ns;
    out->server_wait_ns = run->usage_end.wait_ns - run->usage_start.wait_ns;
    out->server_requests = run->done_end - run->done_start;
    out->server_rss_before = run->usage_first.rss_bytes;
    out->server_rss_after = run->usage_end.rss_bytes;
}

static void run_threads(struct load_run *run, struct load_thread *threads)
{
    uint32_t count = run->shared.plan->threads;
    pthread_barrier_init(&run->barrier, NULL, count);
    for (uint32_t i = 0; i < count; i++) {
        threads[i] = (struct load_thread){.run = run, .worker = &run->workers[i]};
        run->workers[i].shared = &run->shared;
        run->workers[i].plan = run->shared.plan;
        run->workers[i].index = i;
    }
    for (uint32_t i = 1; i < count; i++) {
        int failed = pthread_create(&threads[i].id, NULL, run_worker, &threads[i]);
        assert(failed == 0); /* the others would wait at the barrier for ever */
    }
    run_worker(&threads[0]);
    for (uint32_t i = 1; i < count; i++)
        pthread_join(threads[i].id, NULL);
    pthread_barrier_destroy(&run->barrier);
}

enum cli_exit bench_load_run(const struct bench_plan *plan, struct bench_result *out)
{
    struct load_run run = {.shared.plan = plan, .server_known = plan->server_pid != 0};
    struct load_thread threads[BENCH_THREADS_MAX];
    enum cli_exit code = CLI_OK;
    assert(plan->threads >= 1);
    assert(plan->threads <= BENCH_THREADS_MAX);
    assert(plan->conns >= plan->threads);
    assert((plan->requests > 0) != (plan->duration_ns > 0));
    if (run.server_known && !proc_usage_read(plan->server_pid, &run.usage_first)) {
        return cli_fail(
            CLI_NOT_FOUND,
            "--server-pid takes the process id of the server under test, on this machine.",
            "no process %lld that may be looked at", (long long)plan->server_pid);
    }
    run.workers = mem_zalloc(MEM_CONN, plan->threads * sizeof *run.workers);
    run_threads(&run, threads);
    for (uint32_t i = 0; i < plan->threads && code == CLI_OK; i++) {
        code = run.workers[i].failed;
        if (code != CLI_OK) (void)cli_fail(code, NULL, "bench: %s", run.workers[i].why);
    }
    if (code == CLI_OK) add_up(&run, out);
    mem_free(MEM_CONN, run.workers, plan->threads * sizeof *run.workers);
    return code;
}
