/* Records what one process does to the files below one directory, in order and with the data.
 *
 * Preloaded into a process (LD_PRELOAD), it stands before the C library's file functions. From
 * `recorder_start` on, each successful operation is appended to the log under one lock that also
 * covers the operation itself, so the order of the log is the order of the operations. The process
 * writes marks between them with `recorder_mark`, and can ask to be killed before an operation with
 * `recorder_die`.
 *
 * What the log cannot hold (stores through a shared mapping, copies inside the kernel) the reader
 * finds by comparing the directory that the log leads to with the real one; shared mappings are
 * logged by name. A file is known by its inode, which is found anew at each operation, so duplicated
 * descriptors and forks need no bookkeeping.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { START, OPEN, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, MAP, MARK };

struct record {
    uint32_t kind;
    uint32_t mode;   /* st_mode of what was made */
    uint64_t file;   /* inode */
    uint64_t offset; /* of a write; size after a truncation; flags of an open */
    uint64_t length; /* of the payload that follows: data, or paths, each ended by a zero byte */
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int log_fd = -1;
static uint32_t dying_kinds;
static uint32_t dying_after;

static void enter(enum kind kind) {
    pthread_mutex_lock(&turn);
    if (dying_after && (dying_kinds >> kind & 1) && --dying_after == 0)
        kill(getpid(), SIGKILL);
}

static void leave(void) { pthread_mutex_unlock(&turn); }

/* Appends a record; a log that cannot be written would be a wrong log, so the process ends. */
static void append(enum kind kind, uint32_t mode, uint64_t file, uint64_t offset, const void *data,
                   size_t length) {
    int saved = errno;
    struct record head = {kind, mode, file, offset, length};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)data, length}};
    ssize_t whole = (ssize_t)(sizeof head + length);
    if (syscall(SYS_writev, log_fd, parts, 2) != whole)
        abort();
    errno = saved;
}

static int inside(const char *path) {
    return strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return 1;
}

/* The inode behind `fd` where it lies below the root, or 0. */
static uint64_t tracked(int fd) {
    if (log_fd < 0)
        return 0;
    int saved = errno;
    char path[PATH_MAX];
    struct stat status;
    uint64_t file = 0;
    if (path_of(fd, path) && inside(path) && fstat(fd, &status) == 0 &&
        (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
        file = status.st_ino;
    errno = saved;
    return file;
}

/* Whether `path`, relative to the directory `at`, lies below the root; `full` is its whole name. */
static int below(int at, const char *path, char *full) {
    if (log_fd < 0)
        return 0;
    int saved = errno;
    size_t length = 0;
    full[0] = 0;
    if (path[0] != '/') {
        if (at == AT_FDCWD ? !getcwd(full, PATH_MAX) : !path_of(at, full))
            full[0] = 0;
        length = strlen(full);
        full[length++] = '/';
    }
    errno = saved;
    if (length + strlen(path) >= PATH_MAX)
        return 0;
    strcpy(full + length, path);
    return inside(full);
}

static int opened(int at, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || !below(at, path, full))
        return (int)syscall(SYS_openat, at, path, flags, mode);
    enter(OPEN);
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    struct stat status;
    if (fd >= 0 && fstat(fd, &status) == 0)
        append(OPEN, status.st_mode, status.st_ino, (uint64_t)(flags & O_TRUNC), full,
               strlen(full) + 1);
    leave();
    return fd;
}

static int mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = mode_of(flags, rest);
    va_end(rest);
    return opened(AT_FDCWD, path, flags, (mode_t)mode);
}
int open(const char *path, int flags, ...) __attribute__((alias("open64")));

int openat64(int at, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = mode_of(flags, rest);
    va_end(rest);
    return opened(at, path, flags, (mode_t)mode);
}
int openat(int at, const char *path, int flags, ...) __attribute__((alias("openat64")));

int creat64(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat(const char *path, mode_t mode) __attribute__((alias("creat64")));

/* A negative `offset` is the file's own position, which a successful write has moved. */
static ssize_t written(int fd, const struct iovec *parts, int count, off64_t offset) {
    uint64_t file = tracked(fd);
    if (file)
        enter(WRITE);
    ssize_t done = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                              : syscall(SYS_pwritev, fd, parts, count, offset, 0);
    if (file && done > 0) {
        off64_t at = offset < 0 ? lseek64(fd, 0, SEEK_CUR) - done : offset;
        size_t left = (size_t)done;
        for (int i = 0; left; i++) {
            size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
            append(WRITE, 0, file, (uint64_t)at, parts[i].iov_base, part);
            at += (off64_t)part;
            left -= part;
        }
    }
    if (file)
        leave();
    return done;
}

ssize_t write(int fd, const void *data, size_t length) {
    struct iovec part = {(void *)data, length};
    return written(fd, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return written(fd, parts, count, -1);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    struct iovec part = {(void *)data, length};
    return written(fd, &part, 1, offset);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
    __attribute__((alias("pwrite64")));

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return written(fd, parts, count, offset);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
    __attribute__((alias("pwritev64")));

static int cut(long call, long target, uint64_t file, off64_t size) {
    if (!file)
        return (int)syscall(call, target, size);
    enter(TRUNCATE);
    int result = (int)syscall(call, target, size);
    if (result == 0)
        append(TRUNCATE, 0, file, (uint64_t)size, "", 0);
    leave();
    return result;
}

int ftruncate64(int fd, off64_t size) { return cut(SYS_ftruncate, fd, tracked(fd), size); }
int ftruncate(int fd, off_t size) __attribute__((alias("ftruncate64")));

int truncate64(const char *path, off64_t size) {
    char full[PATH_MAX];
    struct stat status;
    uint64_t file = below(AT_FDCWD, path, full) && stat(full, &status) == 0 ? status.st_ino : 0;
    return cut(SYS_truncate, (long)path, file, size);
}
int truncate(const char *path, off_t size) __attribute__((alias("truncate64")));

static int synced(long call, int fd) {
    uint64_t file = tracked(fd);
    if (!file)
        return (int)syscall(call, fd);
    enter(SYNC);
    int result = (int)syscall(call, fd);
    if (result == 0)
        append(SYNC, 0, file, 0, "", 0);
    leave();
    return result;
}

int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }

/* An operation on names. `call` does it; both names are logged where one lies below the root. */
static int renamed(enum kind kind, long call, int at, const char *old, int to, const char *new,
                   unsigned flags) {
    char names[2 * PATH_MAX];
    char full[PATH_MAX];
    int seen = below(at, old, names);
    size_t length = seen ? strlen(names) + 1 : 0;
    seen |= below(to, new, full);
    if (!seen)
        return (int)syscall(call, at, old, to, new, flags);
    strcpy(names + length, full);
    enter(kind);
    int result = (int)syscall(call, at, old, to, new, flags);
    if (result == 0)
        append(kind, 0, 0, flags, names, length + strlen(full) + 1);
    leave();
    return result;
}

int rename(const char *old, const char *new) {
    return renamed(RENAME, SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
}
int renameat(int at, const char *old, int to, const char *new) {
    return renamed(RENAME, SYS_renameat2, at, old, to, new, 0);
}
int renameat2(int at, const char *old, int to, const char *new, unsigned flags) {
    return renamed(RENAME, SYS_renameat2, at, old, to, new, flags);
}
int link(const char *old, const char *new) {
    return renamed(LINK, SYS_linkat, AT_FDCWD, old, AT_FDCWD, new, 0);
}
int linkat(int at, const char *old, int to, const char *new, int flags) {
    return renamed(LINK, SYS_linkat, at, old, to, new, (unsigned)flags);
}

static int removed(int at, const char *path, int flags) {
    enum kind kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    char full[PATH_MAX];
    if (!below(at, path, full))
        return (int)syscall(SYS_unlinkat, at, path, flags);
    enter(kind);
    int result = (int)syscall(SYS_unlinkat, at, path, flags);
    if (result == 0)
        append(kind, 0, 0, 0, full, strlen(full) + 1);
    leave();
    return result;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return removed(at, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (!below(at, path, full))
        return (int)syscall(SYS_mkdirat, at, path, mode);
    enter(MKDIR);
    int result = (int)syscall(SYS_mkdirat, at, path, mode);
    struct stat status;
    if (result == 0 && stat(full, &status) == 0)
        append(MKDIR, status.st_mode, status.st_ino, 0, full, strlen(full) + 1);
    leave();
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    char path[PATH_MAX];
    int stores = (flags & MAP_SHARED) && (protection & PROT_WRITE) && fd >= 0;
    uint64_t file = stores ? tracked(fd) : 0;
    if (file && path_of(fd, path)) {
        enter(MAP);
        append(MAP, 0, file, 0, path, strlen(path) + 1);
        leave();
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("mmap64")));

/* Begin to record what happens below `directory`, an absolute path without symbolic links, at the
 * end of the log `path`, which lies elsewhere. Returns 0, or -1 where that is not possible. */
int recorder_start(const char *directory, const char *path) {
    struct stat status;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC,
                          0600);
    if (fd < 0 || strlen(directory) >= sizeof root || stat(directory, &status))
        return -1;
    strcpy(root, directory);
    root_length = strlen(root);
    log_fd = fd;
    append(START, status.st_mode, status.st_ino, 0, root, root_length + 1);
    return 0;
}

/* Put `length` bytes of the caller's between the operations. */
void recorder_mark(const void *data, size_t length) {
    enter(MARK);
    append(MARK, 0, 0, 0, data, length);
    leave();
}

/* Kill this process before the `count`-th operation from now whose kind is a bit of `kinds`. */
void recorder_die(uint32_t kinds, uint32_t count) {
    pthread_mutex_lock(&turn);
    dying_kinds = kinds;
    dying_after = count;
    pthread_mutex_unlock(&turn);
}

/* Programs that the recorded process starts are none of ours. */
__attribute__((constructor)) static void preloaded(void) { unsetenv("LD_PRELOAD"); }
