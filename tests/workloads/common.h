// What the C workloads share: clocks, raw system calls, threads with names.
//
// System calls that a test looks at are made without libc, whose own functions keep no frame
// pointer: with frame pointers everywhere, a stack has exactly one right answer.

#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone, noipa))
#define INLINE static inline __attribute__((always_inline))

INLINE long raw_syscall(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#else
#error "this processor has no workloads yet"
#endif
}

// Memory that is shared through the file that an environment variable names; NULL without one.
INLINE void *map_named_by(const char *variable, size_t size) {
    const char *path = getenv(variable);
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    int access = PROT_READ | PROT_WRITE;
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, size, access, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    return map == MAP_FAILED ? NULL : map;
}

INLINE uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

INLINE uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

// Sleeps in the calling function itself: no frame of libc above it.
INLINE void raw_sleep_ns(uint64_t ns) {
    struct timespec time = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    raw_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&time, 0);
}

// Adds up numbers for a while: the compiler can neither drop nor fold it.
INLINE uint64_t spin(uint64_t rounds) {
    uint64_t sum = rounds;
    for (uint64_t i = 0; i < rounds; i++)
        __asm__ volatile("" : "+r"(sum));
    return sum;
}

INLINE void pin_to(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

// No workload outlives the test that started it by more than this, even if that one was killed.
INLINE void start(void) { alarm(300); }

// Says that the interesting part begins.
INLINE void ready(void) {
    printf("ready\n");
    fflush(stdout);
}

// Computes, calls the kernel and sleeps in turn, all in the calling function itself: what a recording
// can see of one function.
INLINE void every_kind(void) {
    static char buffer[1 << 14];
    static volatile uint64_t result;
    long zero = raw_syscall(SYS_openat, AT_FDCWD, (long)"/dev/zero", O_RDONLY, 0);
    ready();
    for (;;) {
        result = result + spin(200000);
        for (int i = 0; i < 50; i++)
            raw_syscall(SYS_read, zero, (long)buffer, sizeof buffer, 0);
        raw_sleep_ns(200000);
    }
}
