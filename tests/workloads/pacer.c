// pacer PER_SECOND SECONDS: on each CPU a pair of threads that hand a byte to and fro, in a burst at each
// millisecond, so that all of them together switch about so often. Prints as JSON how long its threads were
// off the CPU, what they took of it, and how often they switched.

#include "common.h"
#include <sys/resource.h>

#define MAX_CPUS 256
#define PERIOD_NS 1000000u

struct pair {
    pthread_t leader, follower;
    int cpu, there[2], back[2];
    uint64_t off_ns;
};

static struct pair pairs[MAX_CPUS];
static uint64_t rounds, end_ns;

NOINLINE void pace_site(uint64_t until_ns) {
    struct timespec time = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    raw_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&time, 0);
}

NOINLINE void ask_site(struct pair *pair) {
    char byte = 'x';
    raw_syscall(SYS_write, pair->there[1], (long)&byte, 1, 0);
    raw_syscall(SYS_read, pair->back[0], (long)&byte, 1, 0);
}

NOINLINE long answer_site(struct pair *pair) {
    char byte;
    long got = raw_syscall(SYS_read, pair->there[0], (long)&byte, 1, 0);
    raw_syscall(SYS_write, pair->back[1], (long)&byte, got == 1, 0);
    return got;
}

// A thread that is not on the CPU is off it: what it lived, without what it took.
static void leave(struct pair *pair, uint64_t begun_ns) {
    uint64_t off_ns = now_ns() - begun_ns - clock_ns(CLOCK_THREAD_CPUTIME_ID);
    __atomic_add_fetch(&pair->off_ns, off_ns, __ATOMIC_RELAXED);
}

static void *lead(void *argument) {
    struct pair *pair = argument;
    uint64_t begun = now_ns(), next = begun;
    prctl(PR_SET_NAME, "leader");
    pin_to(pair->cpu);
    while (now_ns() < end_ns) {
        for (uint64_t round = 0; round < rounds; round++)
            ask_site(pair);
        // What was missed is not made up for.
        next = next + PERIOD_NS > now_ns() ? next + PERIOD_NS : now_ns();
        pace_site(next);
    }
    close(pair->there[1]);
    leave(pair, begun);
    return NULL;
}

static void *follow(void *argument) {
    struct pair *pair = argument;
    uint64_t begun = now_ns();
    prctl(PR_SET_NAME, "follower");
    pin_to(pair->cpu);
    while (answer_site(pair) == 1)
        ;
    leave(pair, begun);
    return NULL;
}

int main(int argc, char **argv) {
    start();
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t off_ns = 0, begun = now_ns();
    if (argc < 3 || cpus > MAX_CPUS)
        return 1;
    // A round is two switches.
    rounds = strtoull(argv[1], NULL, 10) / 2000 / (uint64_t)cpus;
    end_ns = begun + strtoull(argv[2], NULL, 10) * 1000000000u;
    ready();
    for (long i = 0; i < cpus; i++) {
        pairs[i].cpu = (int)i;
        if (pipe(pairs[i].there) || pipe(pairs[i].back))
            return 1;
        pthread_create(&pairs[i].follower, NULL, follow, &pairs[i]);
        pthread_create(&pairs[i].leader, NULL, lead, &pairs[i]);
    }
    for (long i = 0; i < cpus; i++) {
        pthread_join(pairs[i].leader, NULL);
        pthread_join(pairs[i].follower, NULL);
        off_ns += pairs[i].off_ns;
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"off_ns\": %lu, \"cpu_ns\": %lu, \"wall_ns\": %lu, \"switches\": %ld}\n", off_ns,
           clock_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns() - begun, usage.ru_nvcsw + usage.ru_nivcsw);
    return 0;
}
