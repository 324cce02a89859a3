// stacks thread|context DEPTH: thread → descend × DEPTH → all on a thread, or coroutine → descend ×
// DEPTH → all on a stack that makecontext() made. The main thread waits in main → wait_for_ever.

#include "common.h"
#include <ucontext.h>

static volatile uint64_t sink;
static uint64_t depth;

NOINLINE void all(void) { every_kind(); }

NOINLINE uint64_t descend(uint64_t left) {
    if (left == 1)
        all();
    else
        descend(left - 1);
    return ++sink;
}

NOINLINE void coroutine(void) {
    descend(depth);
    sink++;
}

NOINLINE void *thread(void *argument) {
    descend(depth);
    sink++;
    return argument;
}

NOINLINE void wait_for_ever(void) {
    for (;;)
        raw_sleep_ns(1000000);
}

static void on_another_stack(void) {
    static char stack[1 << 20];
    static ucontext_t before, other;
    getcontext(&other);
    other.uc_stack.ss_sp = stack;
    other.uc_stack.ss_size = sizeof stack;
    other.uc_link = &before;
    makecontext(&other, coroutine, 0);
    swapcontext(&before, &other);
}

int main(int argc, char **argv) {
    pthread_t id;
    start();
    depth = strtoull(argc > 2 ? argv[2] : "10", NULL, 10);
    if (argc > 1 && !strcmp(argv[1], "context"))
        on_another_stack();
    pthread_create(&id, NULL, thread, NULL);
    wait_for_ever();
    return 0;
}
