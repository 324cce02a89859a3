// plugin.so: enter → descend × depth → all. What the program says to be ready, it says.

#include "common.h"

static volatile uint64_t sink;

NOINLINE void all(void) {
    for (;;) {
        sink += spin(200000);
        raw_sleep_ns(200000);
    }
}

NOINLINE uint64_t descend(uint64_t depth) {
    if (depth == 1)
        all();
    else
        descend(depth - 1);
    return ++sink;
}

void enter(uint64_t depth) {
    descend(depth);
    sink++;
}
