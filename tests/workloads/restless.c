// restless SECONDS: threads that come and go, four at a time. Each computes, calls the kernel, blocks, and
// ends. The names of its functions have room for a number: a copy with other names is another program.

#include "common.h"

static volatile uint64_t result;

NOINLINE void compute_00000000(void) {
    result += spin(100000) + (uint64_t)raw_syscall(SYS_getppid, 0, 0, 0, 0);
}

NOINLINE void block_00000000(void) { raw_sleep_ns(20000000); }

NOINLINE static void *live_00000000(void *unused) {
    compute_00000000();
    block_00000000();
    compute_00000000();
    return unused;
}

int main(int argc, char **argv) {
    start();
    uint64_t end = now_ns() + strtoull(argc > 1 ? argv[1] : "1", NULL, 10) * 1000000000u;
    pthread_t threads[4];
    const int count = sizeof threads / sizeof *threads;
    ready();
    while (now_ns() < end) {
        int born = 0;
        while (born < count && !pthread_create(&threads[born], NULL, live_00000000, NULL))
            born++;
        for (int i = 0; i < born; i++)
            pthread_join(threads[i], NULL);
    }
    return 0;
}
