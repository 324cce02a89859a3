// hanger: a thread that waits for ever in hang_site, below main → hang_below. It waits before a
// recording begins and after it ends.

#include "common.h"

static int ends[2];
static volatile uint64_t sink;

NOINLINE void hang_site(void) {
    char byte;
    ready();
    raw_syscall(SYS_read, ends[0], (long)&byte, 1, 0);
    sink++;
}

NOINLINE void hang_below(void) {
    hang_site();
    sink++;
}

int main(void) {
    start();
    if (pipe(ends))
        return 1;
    hang_below();
    return 0;
}
