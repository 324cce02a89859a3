// crowd PROCESSES THREADS [SECONDS]: so many children at once, then so many threads, all of them asleep. It
// ends when all are there, or so many seconds later, and takes them with it.

#include "common.h"
#include <signal.h>
#include <sys/wait.h>

static long asleep;

static void *thread(void *unused) {
    __atomic_add_fetch(&asleep, 1, __ATOMIC_RELEASE);
    for (;;)
        pause();
    return unused;
}

int main(int argc, char **argv) {
    start();
    long processes = argc > 1 ? atol(argv[1]) : 0, threads = argc > 2 ? atol(argv[2]) : 0;
    pid_t *children = calloc((size_t)processes + 1, sizeof *children);
    long born = 0, made = 0;
    while (born < processes && (children[born] = fork()) > 0)
        born++;
    if (born < processes && children[born] == 0) {
        start();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN);
    pthread_t id;
    while (made < threads && !pthread_create(&id, &small, thread, NULL))
        made++;
    while (__atomic_load_n(&asleep, __ATOMIC_ACQUIRE) < made)
        raw_sleep_ns(1000000);
    // The last one has only to pause.
    raw_sleep_ns(100000000);
    ready();
    raw_sleep_ns(argc > 3 ? strtoull(argv[3], NULL, 0) * 1000000000u : 0);
    for (long i = 0; i < born; i++)
        kill(children[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    printf("{\"processes\": %ld, \"threads\": %ld}\n", born, made);
    return 0;
}
