// chain DEPTH [burn|read|syscall|all]: main → descend × DEPTH → a leaf that runs until it is killed.
//
// burn computes; read loops over libc's read(); syscall reads without libc; all does and waits.

#include "common.h"

static volatile uint64_t sink;
static int zero;
static char buffer[1 << 16];

NOINLINE void burn(void) {
    ready();
    for (;;)
        sink += spin(1000);
}

NOINLINE void read_loop(void) {
    ready();
    for (;;)
        sink += (uint64_t)read(zero, buffer, sizeof buffer);
}

NOINLINE void syscall_loop(void) {
    ready();
    for (;;)
        sink += (uint64_t)raw_syscall(SYS_read, zero, (long)buffer, sizeof buffer, 0);
}

NOINLINE void all(void) { every_kind(); }

NOINLINE uint64_t descend(uint64_t depth, void (*leaf)(void)) {
    if (depth == 1)
        leaf();
    else
        descend(depth - 1, leaf);
    return ++sink;
}

int main(int argc, char **argv) {
    const char *leaf = argc > 2 ? argv[2] : "burn";
    start();
    zero = open("/dev/zero", O_RDONLY);
    descend(strtoull(argc > 1 ? argv[1] : "10", NULL, 10),
            !strcmp(leaf, "read")      ? read_loop
            : !strcmp(leaf, "syscall") ? syscall_loop
            : !strcmp(leaf, "all")     ? all
                                       : burn);
    return 0;
}
