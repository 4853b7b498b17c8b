/* Preloaded into a daemon under test: makes the disk slow, or makes it fail, on request.
 *
 * FAULTS names a folder. A file in it called after a rule switches that rule on, for as long as it is there:
 *     stall-sync      a sync of the store's log waits until the file is gone
 *     fail-sync       a sync of the store's log fails with EIO
 *     fail-log        a write to the store's log fails with EIO
 *     fail-file       a write to the store's file fails with EIO
 * Each sync of the log adds a byte to the file `syncs` there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ends_with(int fd, const char *end)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    size_t length = strlen(end);
    return size >= (ssize_t) length && !memcmp(path + size - length, end, length);
}

static int on(const char *rule)
{
    char path[4096];
    const char *folder = getenv("FAULTS");
    if (!folder)
        return 0;
    snprintf(path, sizeof path, "%s/%s", folder, rule);
    return access(path, F_OK) == 0;
}

static void count(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/syncs", getenv("FAULTS"));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write(fd, ".", 1) != 1)
            abort();
        close(fd);
    }
}

static int sync_of(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);
    if (getenv("FAULTS") && ends_with(fd, "/jobs.sqlite-wal")) {
        while (on("stall-sync"))
            usleep(1000);
        if (on("fail-sync")) {
            errno = EIO;
            return -1;
        }
        int result = real(fd);
        count();
        return result;
    }
    return real(fd);
}

int fsync(int fd) { return sync_of(fd, "fsync"); }
int fdatasync(int fd) { return sync_of(fd, "fdatasync"); }

static int refused(int fd)
{
    return (on("fail-log") && ends_with(fd, "/jobs.sqlite-wal")) || (on("fail-file") && ends_with(fd, "/jobs.sqlite"));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t place)
{
    if (refused(fd)) {
        errno = EIO;
        return -1;
    }
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    return real(fd, data, size, place);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t place)
{
    if (refused(fd)) {
        errno = EIO;
        return -1;
    }
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    return real(fd, data, size, place);
}
