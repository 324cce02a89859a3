// storm PROGRAMS RATE SECONDS FILE: runs FILE so many times, on all CPUs at once, so often a second (0: as
// often as it can), but for so long at most. Then it prints how many there were.
//
// The child borrows the parent's memory until it runs FILE, as with vfork: a fork would take longer than
// the program does.

#include "common.h"
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

extern char **environ;

// One CPU's share.
static uint64_t work(const char *file, uint64_t programs, uint64_t rate, uint64_t until) {
    char *const command[] = {(char *)file, NULL};
    uint64_t begun = now_ns(), done = 0;
    while (done < programs && now_ns() < until) {
        // As many as are due, then a pause: on a busy machine they come in bursts.
        if (rate && done * 1000000000u / rate > now_ns() - begun) {
            raw_sleep_ns(1000000);
            continue;
        }
        pid_t child;
        if (posix_spawn(&child, file, NULL, NULL, command, environ))
            _exit(1);
        waitpid(child, NULL, 0);
        done++;
    }
    return done;
}

int main(int argc, char **argv) {
    start();
    if (argc < 5)
        return 2;
    uint64_t cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t programs = strtoull(argv[1], NULL, 0), rate = strtoull(argv[2], NULL, 0);
    uint64_t begun = now_ns(), until = begun + strtoull(argv[3], NULL, 0) * 1000000000u;
    uint64_t *done = mmap(NULL, sizeof *done * cpus, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (done == MAP_FAILED)
        return 1;
    ready();
    for (uint64_t cpu = 0; cpu < cpus; cpu++)
        if (fork() == 0) {
            start();
            done[cpu] = work(argv[4], programs / cpus, rate ? rate / cpus + 1 : 0, until);
            _exit(0);
        }
    uint64_t sum = 0;
    int status = 0;
    while (wait(&status) > 0)
        if (status)
            return 1;
    for (uint64_t cpu = 0; cpu < cpus; cpu++)
        sum += done[cpu];
    printf("{\"programs\": %lu, \"ns\": %lu}\n", sum, now_ns() - begun);
    return 0;
}
