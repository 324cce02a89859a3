// signals plain|alternate|nested: main → interrupted → now and then tiny, which a timer interrupts: the
// handler works in handler → below. With `alternate` it has a stack of its own; with `nested` it is
// interrupted by another one, second → below.

#include "common.h"
#include <signal.h>
#include <sys/time.h>

static volatile uint64_t sink;
static int is_nested;

NOINLINE void below(void) { sink += spin(1000000); }

NOINLINE void second(int signal) {
    (void)signal;
    below();
    sink++;
}

NOINLINE void handler(int signal) {
    (void)signal;
    if (is_nested)
        raw_syscall(SYS_tgkill, getpid(), raw_syscall(SYS_gettid, 0, 0, 0, 0), SIGUSR1, 0);
    below();
    sink++;
}

NOINLINE uint64_t tiny(uint64_t value) { return value + 1; }

NOINLINE void interrupted(void) {
    uint64_t value = 0;
    ready();
    for (;;)
        value = tiny(value + spin(4));
}

static void handle(int signal, void (*by)(int), int flags) {
    struct sigaction action = {.sa_handler = by, .sa_flags = flags};
    sigaction(signal, &action, NULL);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "plain";
    static char other_stack[1 << 16];
    stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    // Not so often that the program does nothing else.
    struct itimerval every = {.it_interval = {.tv_usec = 5000}, .it_value = {.tv_usec = 5000}};
    is_nested = !strcmp(how, "nested");
    sigaltstack(&stack, NULL);
    handle(SIGALRM, handler, strcmp(how, "alternate") ? 0 : SA_ONSTACK);
    handle(SIGUSR1, second, 0);
    // In place of the common `start`: the timer is the one that alarm() would use.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setitimer(ITIMER_REAL, &every, NULL);
    interrupted();
    return 0;
}
