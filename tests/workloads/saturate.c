// saturate: keeps every CPU busy, one thread pinned to each, until it is killed. All of them are in
// saturate_site when it is ready.

#include "common.h"

static volatile uint64_t sink;
static long cpus, arrived;

NOINLINE void saturate_site(int is_first) {
    __atomic_add_fetch(&arrived, 1, __ATOMIC_RELEASE);
    if (is_first) {
        while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < cpus)
            sched_yield();
        ready();
    }
    for (;;)
        sink = spin(100000);
}

static void *thread(void *cpu) {
    pin_to((int)(intptr_t)cpu);
    saturate_site(0);
    return NULL;
}

int main(void) {
    start();
    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (long cpu = 1; cpu < cpus; cpu++) {
        pthread_t id;
        pthread_create(&id, NULL, thread, (void *)cpu);
    }
    pin_to(0);
    saturate_site(1);
    return 0;
}
