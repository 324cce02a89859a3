// mapper FILE OFFSET [NAME]: maps FILE, calls the code at OFFSET of it for ever, below call_mapped,
// and takes NAME as its thread name. FILE `-` is anonymous memory with the same code in it, as a
// just-in-time compiler makes. What FILE claims to be is the test's choice.

#include "common.h"
#include <fcntl.h>
#include <sys/mman.h>

#define LENGTH (1 << 16)

// With a frame: counts down from 2^24 and returns.
#if defined(__x86_64__)
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xb9, 0x00, 0x00, 0x00, 0x01,
                                     0xff, 0xc9, 0x75, 0xfc, 0x5d, 0xc3};
#elif defined(__aarch64__)
static const unsigned int code[] = {0xa9bf7bfd, 0x910003fd, 0x52a02000, 0x71000400,
                                    0x54ffffe1, 0xa8c17bfd, 0xd65f03c0};
#endif

static volatile uint64_t sink;

NOINLINE void call_mapped(void (*mapped)(void)) {
    for (;;) {
        mapped();
        sink++;
    }
}

int main(int argc, char **argv) {
    start();
    if (argc < 3)
        return 2;
    size_t offset = strtoull(argv[2], NULL, 0);
    if (argc > 3)
        prctl(PR_SET_NAME, argv[3]);
    char *memory;
    if (strcmp(argv[1], "-")) {
        int file = open(argv[1], O_RDWR);
        if (file < 0 || pwrite(file, code, sizeof code, (off_t)offset) != sizeof code)
            return 1;
        memory = mmap(NULL, LENGTH, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    } else {
        memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory != MAP_FAILED)
            memcpy(memory + offset, code, sizeof code);
    }
    if (memory == MAP_FAILED)
        return 1;
    __builtin___clear_cache(memory + offset, memory + offset + sizeof code);
    printf("at %p\n", (void *)(memory + offset));
    ready();
    call_mapped((void (*)(void))(void *)(memory + offset));
    return 0;
}
