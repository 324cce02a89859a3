// saturate: keeps every CPU busy, one thread pinned to each, until it is killed.

#include "common.h"

static volatile uint64_t sink;

NOINLINE void saturate_site(void) {
    for (;;)
        sink = spin(100000);
}

static void *thread(void *cpu) {
    pin_to((int)(intptr_t)cpu);
    saturate_site();
    return NULL;
}

int main(void) {
    start();
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (long cpu = 1; cpu < cpus; cpu++) {
        pthread_t id;
        pthread_create(&id, NULL, thread, (void *)cpu);
    }
    pin_to(0);
    ready();
    saturate_site();
    return 0;
}
