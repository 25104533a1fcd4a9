/* A disk that is slow, hangs or fails: loaded with LD_PRELOAD, it acts on the calls below a folder, as a control file
 * says at the moment of the call. The control file, named by STANDIN_DISK, holds lines
 *
 *     FOLDER <tab> CALLS <tab> ACTION <tab> NUMBER
 *
 * where CALLS are letters: o (open for writing), w (write, truncate), s (fsync), r (rename, link), m (mkdir),
 * u (unlink, rmdir), t (stat), i (open for reading, list); and ACTION is "delay" (NUMBER: seconds), "hang" (until the line is
 * gone; as in an uninterruptible sleep its thread takes no signal) or "fail" (NUMBER: errno). Each call that is acted
 * on appends a line "LETTER PATH" to the file named by STANDIN_DISK with ".hits" appended. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real)                                                                                                         \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);

/* Wait as in an uninterruptible sleep: this thread takes no signal meanwhile. */
static void wait_s(double seconds) {
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static void note(const char *control, char call, const char *path) {
    char name[PATH_MAX], line[PATH_MAX + 4];
    snprintf(name, sizeof name, "%s.hits", control);
    int file = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0)
        return;
    int length = snprintf(line, sizeof line, "%c %.4000s\n", call, path);
    if (syscall(SYS_write, file, line, length) < 0)
        errno = 0;
    syscall(SYS_close, file);
}

/* Find the line for a call: 'd', 'h' or 'f' with its number, or 0. */
static char found(const char *control, char call, const char *path, double *number) {
    char text[8192];
    int file = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0)
        return 0;
    ssize_t length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (length <= 0)
        return 0;
    text[length] = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        char *folder = strsep(&line, "\t"), *calls = strsep(&line, "\t"), *action = strsep(&line, "\t");
        if (!action || !*action)
            continue;
        size_t size = strlen(folder);
        if (strchr(calls, call) && strncmp(path, folder, size) == 0 && (path[size] == 0 || path[size] == '/')) {
            *number = line ? atof(line) : 0;
            return *action;
        }
    }
    return 0;
}

/* Return the errno with which a call shall fail, or 0 once it may go on. */
static int act(char call, const char *path) {
    const char *control = getenv("STANDIN_DISK");
    double number = 0;
    int before = errno;
    if (!control)
        return 0;
    char action = found(control, call, path, &number);
    if (action) {
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        note(control, call, path);
        if (action == 'd')
            wait_s(number);
        while (action == 'h' && found(control, call, path, &number) == 'h')
            wait_s(0.01);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    errno = before;
    return action == 'f' ? (int)number : 0;
}

static int act_at(char call, int folder, const char *path) {
    char base[PATH_MAX] = "", whole[2 * PATH_MAX];
    if (path[0] == '/')
        return act(call, path);
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base))
            return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        base[length < 0 ? 0 : length] = 0;
    }
    snprintf(whole, sizeof whole, "%s%s%s", base, *path ? "/" : "", path);
    return act(call, whole);
}

static int act_on(char call, int file) {
    return file > 2 ? act_at(call, file, "") : 0;
}

#define FAIL_IF(call)                                                                                                  \
    do {                                                                                                               \
        int failure = (call);                                                                                          \
        if (failure) {                                                                                                 \
            errno = failure;                                                                                           \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

static char kind(int flags) {
    return flags & (O_WRONLY | O_RDWR | O_CREAT) ? 'o' : 'i';
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        REAL(int, name, const char *, int, ...)                                                                        \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;                                            \
        va_end(rest);                                                                                                  \
        FAIL_IF(act_at(kind(flags), AT_FDCWD, path));                                                                  \
        return real(path, flags, mode);                                                                                \
    }

#define OPENAT(name)                                                                                                   \
    int name(int folder, const char *path, int flags, ...) {                                                           \
        REAL(int, name, int, const char *, int, ...)                                                                   \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;                                            \
        va_end(rest);                                                                                                  \
        FAIL_IF(act_at(kind(flags), folder, path));                                                                    \
        return real(folder, path, flags, mode);                                                                        \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t)
    FAIL_IF(act_on('w', file));
    return real(file, bytes, count);
}

int fsync(int file) {
    REAL(int, fsync, int)
    FAIL_IF(act_on('s', file));
    return real(file);
}

int fdatasync(int file) {
    REAL(int, fdatasync, int)
    FAIL_IF(act_on('s', file));
    return real(file);
}

int ftruncate64(int file, off64_t length) {
    REAL(int, ftruncate64, int, off64_t)
    FAIL_IF(act_on('w', file));
    return real(file, length);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *)
    FAIL_IF(act_at('r', AT_FDCWD, to));
    return real(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *)
    FAIL_IF(act_at('r', to_folder, to));
    return real(from_folder, from, to_folder, to);
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *)
    FAIL_IF(act_at('r', AT_FDCWD, to));
    return real(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int)
    FAIL_IF(act_at('r', to_folder, to));
    return real(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t)
    FAIL_IF(act_at('m', AT_FDCWD, path));
    return real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t)
    FAIL_IF(act_at('m', folder, path));
    return real(folder, path, mode);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *)
    FAIL_IF(act_at('u', AT_FDCWD, path));
    return real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int)
    FAIL_IF(act_at('u', folder, path));
    return real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(int, rmdir, const char *)
    FAIL_IF(act_at('u', AT_FDCWD, path));
    return real(path);
}

DIR *opendir(const char *path) {
    REAL(DIR *, opendir, const char *)
    int failure = act_at('i', AT_FDCWD, path);
    if (failure) {
        errno = failure;
        return NULL;
    }
    return real(path);
}

#define STAT(name, type)                                                                                               \
    int name(const char *path, struct type *out) {                                                                     \
        REAL(int, name, const char *, struct type *)                                                                   \
        FAIL_IF(act_at('t', AT_FDCWD, path));                                                                          \
        return real(path, out);                                                                                        \
    }

STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)

/* The names of glibc before 2.33, which Pythons built on an older system call. */
#define OLD_STAT(name, type)                                                                                           \
    int name(int version, const char *path, struct type *out) {                                                        \
        REAL(int, name, int, const char *, struct type *)                                                              \
        FAIL_IF(act_at('t', AT_FDCWD, path));                                                                          \
        return real(version, path, out);                                                                               \
    }

OLD_STAT(__xstat, stat)
OLD_STAT(__lxstat, stat)
OLD_STAT(__xstat64, stat64)
OLD_STAT(__lxstat64, stat64)
