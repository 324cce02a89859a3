// spinner SECONDS [CPU]: computes, with a system call now and then, on one CPU if it is told which.
// Prints as JSON its CPU time and how long it lived.

#include "common.h"

static volatile uint64_t sink;

NOINLINE void spin_site(void) { sink += spin(20000) + (uint64_t)raw_syscall(SYS_getppid, 0, 0, 0, 0); }

int main(int argc, char **argv) {
    uint64_t begun = now_ns();
    start();
    if (argc > 2)
        pin_to(atoi(argv[2]));
    ready();
    uint64_t end = now_ns() + strtoull(argc > 1 ? argv[1] : "5", NULL, 10) * 1000000000u;
    while (now_ns() < end)
        spin_site();
    printf("{\"cpu_ns\": %lu, \"wall_ns\": %lu}\n", clock_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns() - begun);
    return 0;
}
