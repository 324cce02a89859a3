// slow_disk.so: a library to preload, which makes each flush of one program to the disk take as many
// nanoseconds more as the file says that SLOW_DISK names, and counts them there. Each comes to its end.

#include "common.h"
#include <errno.h>

static struct {
    volatile uint64_t ns;
    uint64_t flushes;
} *delay;

__attribute__((constructor)) static void open_delay(void) {
    delay = map_named_by("SLOW_DISK", sizeof *delay);
}

static int flush(long number, int file) {
    if (delay && delay->ns) {
        raw_sleep_ns(delay->ns);
        __atomic_fetch_add(&delay->flushes, 1, __ATOMIC_RELAXED);
    }
    long failed = raw_syscall(number, file, 0, 0, 0);
    if (failed) {
        errno = (int)-failed;
        return -1;
    }
    return 0;
}

int fsync(int file) { return flush(SYS_fsync, file); }

int fdatasync(int file) { return flush(SYS_fdatasync, file); }
