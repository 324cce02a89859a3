// loader PLUGIN DEPTH: works in main → before for a second, then loads a library and works there: main →
// enter → descend × DEPTH → all.

#include "common.h"
#include <dlfcn.h>

static volatile uint64_t sink;

NOINLINE void before(void) {
    uint64_t end = now_ns() + 1000000000u;
    ready();
    while (now_ns() < end)
        sink += spin(200000);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    start();
    before();
    void *library = dlopen(argv[1], RTLD_NOW);
    void (*enter)(uint64_t) = library ? (void (*)(uint64_t))dlsym(library, "enter") : NULL;
    if (!enter) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    enter(strtoull(argv[2], NULL, 10));
    return 0;
}
