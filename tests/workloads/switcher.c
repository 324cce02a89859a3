// switcher DEPTH [pipe|yield]: two threads on one CPU, below descend × DEPTH, until they are killed.
// They hand a byte to and fro, each switch a short sleep, or yield to each other, ready all the time.

#include "common.h"

static int there[2], back[2];
static int yields;
static volatile uint64_t sink;

NOINLINE void hand_over(int from, int to) {
    char byte = 'x';
    for (;;) {
        raw_syscall(SYS_write, to, (long)&byte, 1, 0);
        raw_syscall(SYS_read, from, (long)&byte, 1, 0);
    }
}

NOINLINE void yield_loop(void) {
    for (;;)
        raw_syscall(SYS_sched_yield, 0, 0, 0, 0);
}

NOINLINE uint64_t descend(uint64_t depth, int from, int to) {
    if (depth == 1 && yields)
        yield_loop();
    else if (depth == 1)
        hand_over(from, to);
    else
        descend(depth - 1, from, to);
    return ++sink;
}

static uint64_t depth;

static void *thread(void *unused) {
    (void)unused;
    descend(depth, there[0], back[1]);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t id;
    start();
    depth = strtoull(argc > 1 ? argv[1] : "8", NULL, 10);
    yields = argc > 2 && !strcmp(argv[2], "yield");
    pin_to(0);
    if (pipe(there) || pipe(back))
        return 1;
    pthread_create(&id, NULL, thread, NULL);
    ready();
    descend(depth, back[0], there[1]);
    return 0;
}
