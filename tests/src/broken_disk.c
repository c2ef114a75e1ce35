// A disk that refuses what is written to the embedded store, for as long as the file that BROKEN_DISK names is there.
// Loaded ahead of the C library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int refuses(int file) {
    const char *order = getenv("BROKEN_DISK");
    if (order == NULL || access(order, F_OK) != 0)
        return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 5)
        return 0;
    path[length] = '\0';
    return strcmp(path + length - 5, ".redb") == 0;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL)
        real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (refuses(file)) {
        errno = EIO;
        return -1;
    }
    return real(file, bytes, count, at);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (refuses(file)) {
        errno = EIO;
        return -1;
    }
    return real(file);
}
