/* Usage of another process. schedstat counts in nanoseconds, where stat counts in ticks of 10 ms. */
#include "cli/proc.h"

#include "shard/base/bytes.h"
#include "shard/base/num.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* The n-th blank-separated number of a one-line file. */
static bool read_field(const char *path, uint32_t nth, uint64_t *out)
{
    char line[256];
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    size_t len = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[len] = '\0';
    const char *at = line;
    for (uint32_t i = 0; i < nth; i++) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    return num_parse_u64(bytes_view(at, strcspn(at, " \n")), out);
}

static bool read_cpu(int64_t pid, uint64_t *out)
{
    char path[64];
    uint64_t sum = 0;
    bool any = false;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) return false;
    for (const struct dirent *e = readdir(tasks); e != NULL; e = readdir(tasks)) {
        char file[sizeof path + sizeof e->d_name + sizeof "//schedstat"];
        uint64_t ns = 0;
        if (e->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s/schedstat", path, e->d_name);
        if (!read_field(file, 0, &ns)) continue; /* the thread ended while we looked */
        sum += ns;
        any = true;
    }
    closedir(tasks);
    *out = sum;
    return any;
}

bool proc_usage_read(int64_t pid, struct proc_usage *out)
{
    char path[64];
    uint64_t cpu_ns = 0;
    uint64_t pages = 0;
    if (!read_cpu(pid, &cpu_ns)) return false;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/statm", pid);
    if (!read_field(path, 1, &pages)) return false;
    *out =
        (struct proc_usage){.cpu_ns = cpu_ns, .rss_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE)};
    return true;
}
