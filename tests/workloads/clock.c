// clock: main → ask, which asks libc for the time: libc asks the kernel's vDSO.

#include "common.h"

static volatile uint64_t sink;

NOINLINE void ask(void) {
    ready();
    for (;;)
        sink += now_ns();
}

int main(void) {
    start();
    ask();
    return 0;
}
