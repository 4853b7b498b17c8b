/* Between the daemon and its files: writes down what it writes and syncs, and lets some of it fail. An LD_PRELOAD library.

   RECORDER_WHO     a word of the command line: only a process that has it is looked at (the variables are inherited)
   RECORDER_FOLDER  only files below it
   RECORDER_LOG     the record, appended to; unset: nothing is recorded
   RECORDER_FAIL    "write:17:28:5": from the 17th write on five fail with errno 28; "sync:3:5:1" for syncs of files
                    (SQLite rightly ignores what becomes of a truncation, and also what of a folder's sync).
                    Counted while RECORDER_MARK is not there; made when the first fails, with the process's number in it.
                    The first write that fails for want of room writes half before that, as disks do.

   A record is a head (struct record), a path and data, in the order in which things happened: each is done and written
   down under one lock. Only a sync is two records, its beginning and its end: what was written before it began is on the
   disk once it has ended, whatever was written meanwhile. A file that is there when it is first opened is recorded as a
   whole, since what a killed process wrote last may not have come to be written down.

   It opens nothing of the daemon's by itself: closing a second descriptor would drop the locks of SQLite's. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATED = 'C', OPENED = 'O', WROTE = 'W', TRUNCATED = 'T', RENAMED = 'R', REMOVED = 'U', SYNCING = 'S', SYNCED = 'E' };
enum { IS_FOLDER = 1, READ_ONLY = 2 };

struct record {
    uint8_t what, flags;
    uint16_t path;   /* bytes of path that follow */
    uint32_t data;   /* bytes of data after it */
    uint64_t file;   /* inode number */
    uint64_t at;     /* offset, new size, or which sync */
};

#define MOST 1024
static struct { uint64_t file; int kind, flags; } open_files[MOST]; /* by descriptor; kind: 0 not ours, 1 file, 2 folder */
static uint64_t known[MOST]; /* files whose content is in the record */
static int knows, record = -1, active, failing;
static long passed, first, error, most;
static char fails_at; /* 'w', 's' or 0 */
static const char *folder, *mark;
static uint64_t syncs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int is_asked_for(const char *who) {
    static char words[65536];
    int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
    ssize_t size = fd < 0 ? 0 : syscall(SYS_read, fd, words, sizeof words - 1);
    if (fd >= 0)
        syscall(SYS_close, fd);
    for (ssize_t at = 0; at < size; at += strlen(words + at) + 1)
        if (strcmp(words + at, who) == 0)
            return 1;
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *who = getenv("RECORDER_WHO"), *log = getenv("RECORDER_LOG"), *fail = getenv("RECORDER_FAIL");
    folder = getenv("RECORDER_FOLDER");
    mark = getenv("RECORDER_MARK");
    if (!who || !folder || !is_asked_for(who))
        return;
    active = 1;
    if (log)
        record = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fail && mark && sscanf(fail, "%*[a-z]:%ld:%ld:%ld", &first, &error, &most) == 3)
        fails_at = fail[0];
}

static void note(int what, int flags, const char *path, uint64_t file, uint64_t at, const void *data, size_t size) {
    struct record head = {what, flags, path ? strlen(path) : 0, size, file, at};
    struct iovec parts[] = {{&head, sizeof head}, {(void *) path, head.path}, {(void *) data, size}};
    size_t whole = sizeof head + head.path + size;
    if (record >= 0 && syscall(SYS_writev, record, parts, 3) != (ssize_t) whole)
        abort();
}

static int is_ours(const char *path) {
    size_t size = active ? strlen(folder) : 0;
    return size && strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == 0);
}

/* Say whether this write ('w') or sync ('s') is to fail. Called under the lock. */
static int fails(char kind) {
    if (kind != fails_at || (!failing && access(mark, F_OK) == 0))
        return 0;
    passed++;
    failing = passed >= first && passed < first + most;
    if (passed == first) {
        int fd = syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        dprintf(fd, "%d", getpid());
        syscall(SYS_close, fd);
    }
    errno = error;
    return failing;
}

/* Return whether the descriptor is still what it was opened as, and a file of ours. */
static int is_file(int fd) {
    struct stat found;
    return fd >= 0 && fd < MOST && open_files[fd].kind == 1 && fstat(fd, &found) == 0
           && found.st_ino == open_files[fd].file && S_ISREG(found.st_mode);
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void remember(int fd, const char *path, int flags, int was_there) {
    struct stat found;
    if (fd < 0 || fd >= MOST || fstat(fd, &found) != 0)
        return;
    open_files[fd].file = found.st_ino;
    open_files[fd].kind = S_ISDIR(found.st_mode) ? 2 : S_ISREG(found.st_mode) ? 1 : 0;
    open_files[fd].flags = (flags & O_ACCMODE) == O_RDONLY ? READ_ONLY : 0;
    if (open_files[fd].kind == 2)
        return note(OPENED, IS_FOLDER, path, found.st_ino, 0, NULL, 0);
    if (open_files[fd].kind != 1 || (open_files[fd].flags & READ_ONLY))
        return;
    if (!was_there)
        note(CREATED, 0, path, found.st_ino, 0, NULL, 0);
    for (int at = 0; was_there && at < knows; at++)
        if (known[at] == found.st_ino)
            return;
    if (knows < MOST)
        known[knows++] = found.st_ino;
    if (was_there && record >= 0) {
        char *data = malloc(found.st_size + 1);
        ssize_t size = pread(fd, data, found.st_size, 0);
        note(OPENED, 0, path, found.st_ino, 0, data, size > 0 ? size : 0);
        free(data);
    }
}

static int opened(int at, const char *path, int flags, int mode) {
    if (!is_ours(path))
        return syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int was_there = access(path, F_OK) == 0;
    int fd = syscall(SYS_openat, at, path, flags, mode), kept = errno;
    remember(fd, path, flags, was_there);
    if (fd >= 0 && was_there && (flags & O_TRUNC) && is_file(fd))
        note(TRUNCATED, 0, NULL, open_files[fd].file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = kept;
    return fd;
}

#define MODE(flags) ({ va_list rest; va_start(rest, flags); int given = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0; va_end(rest); given; })
int open(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags, MODE(flags)); }
int open64(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags, MODE(flags)); }
int openat(int at, const char *path, int flags, ...) { return opened(at, path, flags, MODE(flags)); }
int openat64(int at, const char *path, int flags, ...) { return opened(at, path, flags, MODE(flags)); }
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

int close(int fd) {
    if (fd >= 0 && fd < MOST)
        open_files[fd].kind = 0;
    return syscall(SYS_close, fd);
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static ssize_t wrote(int fd, const void *data, size_t size, off_t at) {
    pthread_mutex_lock(&lock);
    int begins = !failing, full = fails('w');
    ssize_t done = -1;
    if (full && begins && error == ENOSPC && size > 512)
        full = 0, size /= 2;
    if (!full) {
        done = syscall(SYS_pwrite64, fd, data, size, at);
        if (done > 0)
            note(WROTE, 0, NULL, open_files[fd].file, at, data, done);
    }
    int kept = full ? (int) error : errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return is_file(fd) ? wrote(fd, data, size, at) : syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }

ssize_t write(int fd, const void *data, size_t size) {
    if (!is_file(fd))
        return syscall(SYS_write, fd, data, size);
    off_t at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = wrote(fd, data, size, at);
    if (done > 0)
        lseek(fd, at + done, SEEK_SET);
    return done;
}

static int resized(int fd, off_t size, int only_up, long call, off_t from) {
    pthread_mutex_lock(&lock);
    int done = -1, kept = error;
    struct stat found;
    if (!only_up || !fails('w')) {
        done = call == SYS_ftruncate ? syscall(call, fd, size) : syscall(call, fd, 0, from, size - from);
        kept = errno;
        if (done == 0 && fstat(fd, &found) == 0 && (!only_up || found.st_size == size))
            note(TRUNCATED, 0, NULL, open_files[fd].file, size, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

int ftruncate(int fd, off_t size) {
    return is_file(fd) ? resized(fd, size, 0, SYS_ftruncate, 0) : syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int posix_fallocate(int fd, off_t from, off_t size) {
    int done = is_file(fd) ? resized(fd, from + size, 1, SYS_fallocate, from) : syscall(SYS_fallocate, fd, 0, from, size);
    return done == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t from, off64_t size) { return posix_fallocate(fd, from, size); }

/* ---- names -------------------------------------------------------------------------------------------------------- */

int rename(const char *from, const char *to) {
    if (!is_ours(from) && !is_ours(to))
        return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), kept = errno;
    if (done == 0)
        note(RENAMED, 0, from, 0, 0, to, strlen(to));
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

int unlink(const char *path) {
    if (!is_ours(path))
        return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0), kept = errno;
    if (done == 0)
        note(REMOVED, 0, path, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

/* ---- syncing ------------------------------------------------------------------------------------------------------ */

static int synced(int fd, long call) {
    int flags = 0, refused = 0;
    uint64_t file = 0, number = 0;
    pthread_mutex_lock(&lock);
    int ours = fd >= 0 && fd < MOST && (open_files[fd].kind == 2 || is_file(fd));
    if (ours && !(refused = open_files[fd].kind == 1 && fails('s'))) {
        file = open_files[fd].file;
        flags = (open_files[fd].kind == 2 ? IS_FOLDER : 0) | open_files[fd].flags;
        note(SYNCING, flags, NULL, file, number = ++syncs, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    if (refused) {
        errno = error;
        return -1;
    }
    int done = syscall(call, fd), kept = errno;
    if (ours && done == 0) {
        pthread_mutex_lock(&lock);
        note(SYNCED, flags, NULL, file, number, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = kept;
    return done;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
