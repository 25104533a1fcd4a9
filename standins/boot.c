/* Overrides the boot id, so that one machine looks like several hosts: opens the file named by STANDIN_BOOT instead of
 * the kernel's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *instead(const char *path) {
    const char *own = getenv("STANDIN_BOOT");
    return own && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? own : path;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                      \
        static int (*real)(const char *, int, ...);                                                                   \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;                                            \
        va_end(rest);                                                                                                  \
        if (!real)                                                                                                     \
            real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);                                          \
        return real(instead(path), flags, mode);                                                                      \
    }

OPEN(open)
OPEN(open64)
