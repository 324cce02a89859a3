// split SECONDS: two call paths of equal depth, main → path_heavy → work and main → path_light →
// work, at 75:25 of the CPU time. Prints the CPU time of each as JSON at its end.

#include "common.h"

#define ROUNDS 200000

static volatile uint64_t sink;

NOINLINE void work(uint64_t rounds) { sink += spin(rounds); }

NOINLINE void path_heavy(void) {
    work(3 * ROUNDS);
    sink++;
}

NOINLINE void path_light(void) {
    work(ROUNDS);
    sink++;
}

int main(int argc, char **argv) {
    start();
    uint64_t end = now_ns() + strtoull(argc > 1 ? argv[1] : "5", NULL, 10) * 1000000000u;
    uint64_t heavy = 0, light = 0;
    ready();
    while (now_ns() < end) {
        uint64_t first = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        path_heavy();
        uint64_t second = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        path_light();
        heavy += second - first;
        light += clock_ns(CLOCK_THREAD_CPUTIME_ID) - second;
    }
    printf("{\"path_heavy\": %lu, \"path_light\": %lu}\n", heavy, light);
    return 0;
}
