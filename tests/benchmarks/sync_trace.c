/* Preloaded into a process: writes down what it does to make bytes durable, and what it sends, in order of time.
 *
 * A line for each call that succeeded, appended to the file SYNC_TRACE_FILE:
 *
 *     start_ns end_ns call flags offset markers path
 *
 * Times are CLOCK_MONOTONIC. Flags hold "D" if the descriptor is synced by each write (O_DSYNC), else "-". The offset is
 * -1 where the call has none. Markers are the numbers, with commas, that follow the bytes SYNC_TRACE_MARK, as 8 bytes,
 * big-endian, in what is written; "-" if there are none. The path is what the descriptor is of.
 *
 * SYNC_TRACE_DELAY_US makes each sync take so much longer, so that an answer that does not wait for it shows.
 * SYNC_TRACE_SKIP makes syncs return at once; they are then not written down, because nothing was made durable.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int trace = -1;
static const char *mark = "";
static useconds_t delay_us;
static int skip;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SYNC_TRACE_FILE"), *delay = getenv("SYNC_TRACE_DELAY_US");
    if (path) trace = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (getenv("SYNC_TRACE_MARK")) mark = getenv("SYNC_TRACE_MARK");
    if (delay) delay_us = (useconds_t)atol(delay);
    skip = getenv("SYNC_TRACE_SKIP") != NULL;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int find_markers(char *out, int room, int used, const unsigned char *data, size_t size) {
    size_t length = strlen(mark);
    const unsigned char *at = data, *end = data + size;
    while (length && (at = memmem(at, (size_t)(end - at), mark, length)) && at + length + 8 <= end) {
        uint64_t number = 0;
        for (int i = 0; i < 8; i++) number = number << 8 | at[length + i];
        if (used < room - 24) used += sprintf(out + used, "%s%llu", used ? "," : "", (unsigned long long)number);
        at += length;
    }
    return used;
}

static void note(int64_t start_ns, const char *call, int fd, int64_t offset, const struct iovec *parts, int count) {
    char line[6000], markers[4000], path[512], link[64];
    int64_t end_ns = now_ns();
    int used = 0;
    if (trace < 0 || fd == trace) return;
    for (int i = 0; i < count; i++)
        used = find_markers(markers, sizeof markers, used, parts[i].iov_base, parts[i].iov_len);
    sprintf(link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (!strncmp(path, "socket:", 7)) call = "send"; /* whichever call it was */
    int flags = fcntl(fd, F_GETFL);
    int size = snprintf(line, sizeof line, "%lld %lld %s %s %lld %s %s\n", (long long)start_ns, (long long)end_ns, call,
                        flags >= 0 && flags & O_DSYNC ? "D" : "-", (long long)offset, used ? markers : "-", path);
    syscall(SYS_write, trace, line, (size_t)size);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name); \
    int64_t start_ns = now_ns()

#define WRITES(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        ssize_t done = real(fd, data, size, offset); \
        struct iovec part = {(void *)data, done > 0 ? (size_t)done : 0}; \
        if (done >= 0) note(start_ns, "write", fd, offset, &part, 1); \
        return done; \
    }
WRITES(pwrite, off_t)
WRITES(pwrite64, off64_t)

#define WRITES_PARTS(name, offset_type) \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset) { \
        REAL(ssize_t, name, int, const struct iovec *, int, offset_type); \
        ssize_t done = real(fd, parts, count, offset); \
        if (done >= 0) note(start_ns, "write", fd, offset, parts, count); \
        return done; \
    }
WRITES_PARTS(pwritev, off_t)
WRITES_PARTS(pwritev64, off64_t)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    int64_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, data, size);
    struct iovec part = {(void *)data, done > 0 ? (size_t)done : 0};
    if (done >= 0) note(start_ns, "write", fd, offset, &part, 1);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    int64_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, parts, count);
    if (done >= 0) note(start_ns, "write", fd, offset, parts, count);
    return done;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
    ssize_t done = real(fd, message, flags);
    if (done >= 0) note(start_ns, "send", fd, -1, NULL, 0);
    return done;
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    REAL(ssize_t, send, int, const void *, size_t, int);
    ssize_t done = real(fd, data, size, flags);
    if (done >= 0) note(start_ns, "send", fd, -1, NULL, 0);
    return done;
}

#define SYNCS(name) \
    int name(int fd) { \
        REAL(int, name, int); \
        if (skip) return 0; \
        if (delay_us) usleep(delay_us); \
        int failed = real(fd); \
        if (!failed) note(start_ns, "sync", fd, -1, NULL, 0); \
        return failed; \
    }
SYNCS(fsync)
SYNCS(fdatasync)
