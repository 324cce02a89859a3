// family SECONDS: children in turn by fork, vfork and posix_spawn, each of which works 40 ms of CPU time:
// fork in main → forked → work; the others execute this file and work in main → child → work. Prints as
// JSON how much CPU time the children took.

#include "common.h"
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;
static volatile uint64_t sink;

NOINLINE void work(void) {
    uint64_t end = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + 40000000u;
    while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
        sink += spin(200000);
}

NOINLINE void child(void) {
    work();
    sink++;
}

NOINLINE void forked(void) {
    work();
    sink++;
}

NOINLINE void by_fork(void) {
    pid_t pid = fork();
    if (!pid) {
        forked();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

NOINLINE void by_vfork(char **command) {
    pid_t pid = vfork();
    if (!pid) {
        execve("/proc/self/exe", command, environ);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

NOINLINE void by_spawn(char **command) {
    pid_t pid;
    if (!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, command, environ))
        waitpid(pid, NULL, 0);
}

int main(int argc, char **argv) {
    char *command[] = {argv[0], NULL};
    struct rusage usage;
    start();
    if (argc < 2) {
        child();
        return 0;
    }
    uint64_t end = now_ns() + strtoull(argv[1], NULL, 10) * 1000000000u;
    while (now_ns() < end) {
        by_fork();
        by_vfork(command);
        by_spawn(command);
    }
    getrusage(RUSAGE_CHILDREN, &usage);
    uint64_t user = (uint64_t)usage.ru_utime.tv_sec * 1000000u + (uint64_t)usage.ru_utime.tv_usec;
    uint64_t system = (uint64_t)usage.ru_stime.tv_sec * 1000000u + (uint64_t)usage.ru_stime.tv_usec;
    printf("{\"children_ns\": %lu}\n", (user + system) * 1000);
    return 0;
}
