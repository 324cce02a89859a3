// aligned DEPTH: main → (descend → aligned → grown → both) × DEPTH → all.
//
// aligned has a local that is aligned to more than the stack is, so that the compiler must find its
// caller's frame through a register of its own (a DRAP); grown has a frame of a size that only it knows;
// both has both; descend has neither.

#include "common.h"
#include <alloca.h>

static volatile uint64_t sink;

NOINLINE void use(volatile void *memory) { sink += (uintptr_t)memory; }

NOINLINE uint64_t descend(uint64_t depth);

NOINLINE void all(void) { every_kind(); }

#if defined(__x86_64__)
__attribute__((force_align_arg_pointer))
#endif
NOINLINE uint64_t both(uint64_t depth) {
    volatile _Alignas(128) char fixed[128];
    volatile char variable[depth * 3 + 1];
    use(fixed);
    use(variable);
    if (depth == 1)
        all();
    else
        descend(depth - 1);
    return ++sink;
}

NOINLINE uint64_t grown(uint64_t depth) {
    use(alloca(depth * 5 + 1));
    both(depth);
    use(alloca(depth * 7 + 1));
    return ++sink;
}

NOINLINE uint64_t aligned(uint64_t depth) {
    volatile _Alignas(64) char fixed[64];
    use(fixed);
    grown(depth);
    return ++sink;
}

NOINLINE uint64_t descend(uint64_t depth) {
    aligned(depth);
    return ++sink;
}

int main(int argc, char **argv) {
    start();
    descend(strtoull(argc > 1 ? argv[1] : "10", NULL, 10));
    return 0;
}
