// blocker SECONDS: five threads that block in a known pattern. Prints as JSON how long each place
// blocked and how long each thread lived, measured with CLOCK_MONOTONIC on the thread itself.
//
//   sleeper  sleep_site: sleeps of 2 to 17 ms, with a little work between
//   waiter   lock_site: waits for a lock that the holder keeps
//   holder   holder_site: keeps the lock for 11 ms, then leaves it for 3 ms
//   reader   pipe_site: waits for a byte in a pipe
//   writer   writer_site: sends one each 7 ms

#include "common.h"
#include <linux/futex.h>

enum { SLEEPER, WAITER, HOLDER, READER, WRITER, THREADS };

static const char *const names[THREADS] = {"sleeper", "waiter", "holder", "reader", "writer"};
static const char *const sites[THREADS] = {"sleep_site", "lock_site", "holder_site", "pipe_site", "writer_site"};
static uint64_t blocked_ns[THREADS], lived_ns[THREADS];
static uint64_t end_ns;
static int ends[2];
static volatile uint64_t sink;

// A lock of two states is enough for two threads: 1 is held.
static uint32_t lock_word;

NOINLINE void sleep_site(uint64_t ns) {
    uint64_t before = now_ns();
    raw_sleep_ns(ns);
    blocked_ns[SLEEPER] += now_ns() - before;
}

NOINLINE void holder_site(uint64_t ns) {
    uint64_t before = now_ns();
    raw_sleep_ns(ns);
    blocked_ns[HOLDER] += now_ns() - before;
}

NOINLINE void writer_site(uint64_t ns) {
    uint64_t before = now_ns();
    raw_sleep_ns(ns);
    blocked_ns[WRITER] += now_ns() - before;
}

NOINLINE void lock_site(void) {
    uint64_t before = now_ns();
    while (__atomic_load_n(&lock_word, __ATOMIC_ACQUIRE) == 1)
        raw_syscall(SYS_futex, (long)&lock_word, FUTEX_WAIT_PRIVATE, 1, 0);
    blocked_ns[WAITER] += now_ns() - before;
}

NOINLINE void pipe_site(void) {
    char byte;
    uint64_t before = now_ns();
    raw_syscall(SYS_read, ends[0], (long)&byte, 1, 0);
    blocked_ns[READER] += now_ns() - before;
}

static int over(void) { return now_ns() >= end_ns; }

static void run_sleeper(void) {
    for (uint64_t round = 0; !over(); round++) {
        sleep_site((2 + round % 16) * 1000000u);
        sink += spin(100000);
    }
}

static void run_waiter(void) {
    while (!over()) {
        lock_site();
        // The lock is free for 3 ms: look again when it is taken.
        while (__atomic_load_n(&lock_word, __ATOMIC_ACQUIRE) == 0 && !over())
            sink += spin(1000);
    }
}

static void run_holder(void) {
    while (!over()) {
        __atomic_store_n(&lock_word, 1, __ATOMIC_RELEASE);
        holder_site(11000000);
        __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
        raw_syscall(SYS_futex, (long)&lock_word, FUTEX_WAKE_PRIVATE, 1, 0);
        holder_site(3000000);
    }
}

static void run_reader(void) {
    while (!over())
        pipe_site();
}

static void run_writer(void) {
    // One byte more than the reader can wait for, so that it sees the end.
    do {
        writer_site(7000000);
        raw_syscall(SYS_write, ends[1], (long)"x", 1, 0);
    } while (!over());
    raw_syscall(SYS_write, ends[1], (long)"x", 1, 0);
}

static void (*const bodies[THREADS])(void) = {run_sleeper, run_waiter, run_holder, run_reader, run_writer};

static void *thread(void *argument) {
    uint64_t begun = now_ns();
    intptr_t self = (intptr_t)argument;
    prctl(PR_SET_NAME, names[self]);
    bodies[self]();
    lived_ns[self] = now_ns() - begun;
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    start();
    end_ns = now_ns() + strtoull(argc > 1 ? argv[1] : "5", NULL, 10) * 1000000000u;
    if (pipe(ends))
        return 1;
    ready();
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, thread, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("{\"blocked\": {");
    for (int i = 0; i < THREADS; i++)
        printf("%s\"%s\": %lu", i ? ", " : "", sites[i], blocked_ns[i]);
    printf("}, \"lived\": {");
    for (int i = 0; i < THREADS; i++)
        printf("%s\"%s\": %lu", i ? ", " : "", names[i], lived_ns[i]);
    printf("}}\n");
    return 0;
}
