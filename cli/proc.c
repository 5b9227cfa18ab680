/* Usage of another process. schedstat counts in nanoseconds, where stat counts in ticks of 10 ms. */
#include "cli/proc.h"

#include "shard/base/bytes.h"
#include "shard/base/num.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* The first two blank-separated numbers of a one-line file. */
static bool read_pair(const char *path, uint64_t *first_out, uint64_t *second_out)
{
    char line[256];
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    size_t len = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[len] = '\0';
    size_t first_len = strcspn(line, " ");
    const char *second = line + first_len + (line[first_len] == ' ');
    return num_parse_u64(bytes_view(line, first_len), first_out) &&
           num_parse_u64(bytes_view(second, strcspn(second, " \n")), second_out);
}

static bool read_threads(int64_t pid, struct proc_usage *out)
{
    char path[64];
    bool any = false;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) return false;
    for (const struct dirent *e = readdir(tasks); e != NULL; e = readdir(tasks)) {
        char file[sizeof path + sizeof e->d_name + sizeof "//schedstat"];
        uint64_t cpu_ns = 0;
        uint64_t wait_ns = 0;
        if (e->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s/schedstat", path, e->d_name);
        if (!read_pair(file, &cpu_ns, &wait_ns)) continue; /* the thread ended while we looked */
        out->cpu_ns += cpu_ns;
        out->wait_ns += wait_ns;
        any = true;
    }
    closedir(tasks);
    return any;
}

bool proc_usage_read(int64_t pid, struct proc_usage *out)
{
    char path[64];
    struct proc_usage usage = {0};
    uint64_t mapped_pages = 0;
    uint64_t resident_pages = 0;
    if (!read_threads(pid, &usage)) return false;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/statm", pid);
    if (!read_pair(path, &mapped_pages, &resident_pages)) return false;
    usage.rss_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    *out = usage;
    return true;
}
