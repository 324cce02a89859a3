// calendar.so: a library to preload, which sets the calendar of one program forward or back: by as many
// nanoseconds as the file says that CALENDAR names. The calendar of the host is everybody's.

#include "common.h"
#include <errno.h>
#include <sys/mman.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void open_calendar(void) {
    const char *path = getenv("CALENDAR");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (map != MAP_FAILED)
        offset = map;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long failed = raw_syscall(SYS_clock_gettime, clock, (long)time, 0, 0);
    if (failed) {
        errno = (int)-failed;
        return -1;
    }
    if (clock == CLOCK_REALTIME && offset) {
        int64_t ns = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + *offset;
        time->tv_sec = ns / 1000000000;
        time->tv_nsec = ns % 1000000000;
    }
    return 0;
}
