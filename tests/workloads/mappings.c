// mappings COUNT: maps the page of `work` so many times more, and works in one of these copies after the
// other: main → descend × 10 → enter → work.

#include "common.h"
#include <sys/mman.h>

static char **copies;
static long count;
static volatile uint64_t calls;

// Alone on its page, and needs nothing beside it.
NOINLINE __attribute__((aligned(4096))) void work(uint64_t rounds) {
    for (uint64_t i = 0; i < rounds; i++)
        __asm__ volatile("" : "+r"(i));
}

NOINLINE __attribute__((aligned(4096))) void enter(void) {
    for (long i = 0;; i = (i + 1009) % count) {
        ((void (*)(uint64_t))(void *)copies[i])(200000);
        calls++;
    }
}

NOINLINE uint64_t descend(int depth) {
    if (depth == 1)
        enter();
    else
        descend(depth - 1);
    return ++calls;
}

// Where in its file the page of `work` is.
static off_t offset_of_work(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long start, end, offset, page = (unsigned long)(void *)work;
    char line[512];
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && start <= page && page < end)
            return (off_t)(offset + (page - start));
    exit(1);
}

int main(int argc, char **argv) {
    start();
    count = argc > 1 ? atol(argv[1]) : 1;
    copies = calloc((size_t)count, sizeof *copies);
    int file = open("/proc/self/exe", O_RDONLY);
    off_t offset = offset_of_work();
    for (long i = 0; i < count; i++) {
        copies[i] = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, offset);
        if (copies[i] == MAP_FAILED)
            return 1;
    }
    ready();
    descend(10);
    return 0;
}
