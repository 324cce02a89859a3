// exceptions DEPTH: main → repeat → descend × DEPTH → thrower, whose exception passes all of them, each
// with an object to destroy, up to `repeat`, which begins again.

#include "common.h"

static volatile uint64_t sink;

struct Guard {
    NOINLINE ~Guard() { sink = sink + spin(2000); }
};

NOINLINE void thrower() {
    sink = sink + spin(20000);
    throw sink;
}

NOINLINE uint64_t descend(uint64_t depth) {
    Guard guard;
    if (depth == 1)
        thrower();
    else
        descend(depth - 1);
    sink = sink + 1;
    return sink;
}

NOINLINE void repeat(uint64_t depth) {
    ready();
    for (;;) {
        try {
            descend(depth);
        } catch (uint64_t thrown) {
            sink = sink + spin(20000) + thrown;
        }
    }
}

int main(int argc, char **argv) {
    start();
    repeat(strtoull(argc > 1 ? argv[1] : "10", nullptr, 10));
    return 0;
}
