// storm RATE SECONDS: runs so many programs a second, one after the other, each for as long as it takes to end.
// Then it prints how many there were.

#include "common.h"
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    start();
    if (argc < 3)
        return 2;
    uint64_t rate = strtoull(argv[1], NULL, 0), seconds = strtoull(argv[2], NULL, 0);
    char *const command[] = {"true", NULL};
    uint64_t programs = 0, begun = now_ns();
    ready();
    while (programs < rate * seconds && now_ns() - begun < 4 * seconds * 1000000000u) {
        // As many as are due, then a pause: on a busy machine they come in bursts.
        if (programs * 1000000000u / rate > now_ns() - begun) {
            raw_sleep_ns(1000000);
            continue;
        }
        pid_t child;
        if (posix_spawn(&child, "/bin/true", NULL, NULL, command, environ))
            return 1;
        waitpid(child, NULL, 0);
        programs++;
    }
    printf("{\"programs\": %lu, \"ns\": %lu}\n", programs, now_ns() - begun);
    return 0;
}
