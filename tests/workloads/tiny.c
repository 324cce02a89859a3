// tiny: main → tiny_loop → tiny_first, tiny_second or tiny_third, each a handful of instructions.
//
// Most samples hit a prologue or an epilogue, where the frame pointer is still the caller's.

#include "common.h"

static volatile uint64_t sink;

NOINLINE uint64_t tiny_first(uint64_t value) { return value + 1; }

NOINLINE uint64_t tiny_second(uint64_t value) { return value ^ sink; }

NOINLINE uint64_t tiny_third(uint64_t value) {
    sink = value;
    return value * 3;
}

NOINLINE void tiny_loop(void) {
    uint64_t value = 1;
    ready();
    for (;;)
        value = tiny_third(tiny_second(tiny_first(value)));
}

int main(void) {
    start();
    tiny_loop();
    return 0;
}
