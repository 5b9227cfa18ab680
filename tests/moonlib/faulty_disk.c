/* A disk that can be told to hang and to fail, for a node on the epoll backend: loaded before libc, it stands
 * between the node's file calls and the kernel. The file named by MOON_FAULT says what to do with writes and
 * syncs of files whose name contains its second word:
 *
 *   (no file)      as ever
 *   hang log       none returns until the file says something else (buffered writes do: they are not
 *                  asynchronous, a disk that hangs shows in syncs)
 *   stall log-1-0- the same, and the thread that makes a buffered write hangs with it
 *   fail log-1-0-  EIO
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int order(char *word)
{
    const char *path = getenv("MOON_FAULT");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[200] = "";
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    char what[16] = "";
    if (sscanf(text, "%15s %99s", what, word) != 2) return 0;
    return what[0];
}

/* True: the call fails. */
static int fails(int fd, int may_hang)
{
    char link[64], name[512], word[100];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, sizeof name - 1);
    if (n <= 0) return 0;
    name[n] = 0;
    for (;;) {
        int what = order(word);
        if (what == 0 || strstr(name, word) == NULL) return 0;
        if (what == 'f') {
            errno = EIO;
            return 1;
        }
        if (what == 'h' && !may_hang) return 0;
        usleep(2000);
    }
}

int fdatasync(int fd)
{
    static int (*real)(int);
    if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(fd, 1) ? -1 : real(fd);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t, int);
    if (real == NULL)
        real = (ssize_t(*)(int, const struct iovec *, int, off_t, int))dlsym(RTLD_NEXT, "pwritev2");
    return fails(fd, 1) ? -1 : real(fd, iov, count, offset, flags);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (real == NULL)
        real = (ssize_t(*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "pwritev");
    return fails(fd, 0) ? -1 : real(fd, iov, count, offset);
}
