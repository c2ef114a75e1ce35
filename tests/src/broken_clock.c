// A machine whose time of day cannot be read, once, when it is told so: the file that BROKEN_CLOCK names is
// there. Loaded ahead of the C library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *order = clock == CLOCK_REALTIME ? getenv("BROKEN_CLOCK") : NULL;
    if (order != NULL && unlink(order) == 0) {
        errno = EINVAL;
        return -1;
    }
    return real(clock, now);
}
