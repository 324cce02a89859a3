// spawner SECONDS: one process after the other, each a program of its own that computes for 50 ms in
// short_lived_work. Prints as JSON a pair for each: when it ended (CLOCK_REALTIME, ns) and how much CPU
// time that function had.

#include "common.h"
#include <sys/wait.h>

#define LIFE_NS 50000000u

static volatile uint64_t sink;

NOINLINE void short_lived_work(uint64_t end) {
    while (now_ns() < end)
        sink += spin(10000);
}

static int child(void) {
    uint64_t before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    short_lived_work(now_ns() + LIFE_NS);
    uint64_t worked = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
    return write(STDOUT_FILENO, &worked, sizeof worked) != sizeof worked;
}

static uint64_t spawn(void) {
    int ends[2];
    uint64_t worked = 0;
    if (pipe(ends))
        exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "shortlived", "child", NULL);
        _exit(1);
    }
    close(ends[1]);
    if (read(ends[0], &worked, sizeof worked) != sizeof worked)
        exit(1);
    close(ends[0]);
    waitpid(pid, NULL, 0);
    return worked;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "child"))
        return child();
    start();
    ready();
    uint64_t end = now_ns() + strtoull(argc > 1 ? argv[1] : "5", NULL, 10) * 1000000000u;
    const char *separator = "";
    printf("{\"children\": [");
    for (; now_ns() < end; separator = ", ") {
        uint64_t worked = spawn();
        printf("%s[%lu, %lu]", separator, clock_ns(CLOCK_REALTIME), worked);
    }
    printf("]}\n");
    return 0;
}
