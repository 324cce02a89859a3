// cold [TOUCHES]: main → 22 functions, each time others of 512 → a leaf that touches so many lines of 64 MiB at
// random (8192 unless told), again and again.
//
// Whoever walks such a stack finds the code's unwind rows in no cache; and with many touches, which take a
// millisecond, its words neither.

#include "common.h"

enum { FUNCTIONS = 512, DEPTH = 22, LINE = 64 };
static const uint64_t BYTES = 64u << 20;

typedef uint64_t (*step)(unsigned left);
static step steps[FUNCTIONS];
static volatile uint8_t *memory;
static long touches = 8192;
static uint64_t state = 88172645463325252u;

// xorshift64
static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

NOINLINE uint64_t thrash(void) {
    uint64_t sum = 0;
    for (int i = 0; i < touches; i++)
        sum += memory[next() % (BYTES / LINE) * LINE]++;
    return sum;
}

// Functions have places of their own in the code, and frames of several sizes.
#define STEP(n)                                                                                    \
    __attribute__((aligned(1024))) NOINLINE uint64_t step_##n(unsigned left) {                      \
        volatile uint64_t room[1 + n % 8];                                                         \
        room[0] = left;                                                                            \
        uint64_t sum = left ? steps[next() % FUNCTIONS](left - 1) : thrash();                      \
        return sum + room[0];                                                                      \
    }
#define PLACE(n) steps[n] = step_##n;

// All numbers of three octal digits.
#define STEPS_OF(n)                                                                                \
    STEP(n##0) STEP(n##1) STEP(n##2) STEP(n##3) STEP(n##4) STEP(n##5) STEP(n##6) STEP(n##7)
#define PLACES_OF(n)                                                                               \
    PLACE(n##0) PLACE(n##1) PLACE(n##2) PLACE(n##3) PLACE(n##4) PLACE(n##5) PLACE(n##6) PLACE(n##7)
#define ALL(of, n) of(n##0) of(n##1) of(n##2) of(n##3) of(n##4) of(n##5) of(n##6) of(n##7)

ALL(STEPS_OF, 00) ALL(STEPS_OF, 01) ALL(STEPS_OF, 02) ALL(STEPS_OF, 03)
ALL(STEPS_OF, 04) ALL(STEPS_OF, 05) ALL(STEPS_OF, 06) ALL(STEPS_OF, 07)

static void place(void) {
    ALL(PLACES_OF, 00) ALL(PLACES_OF, 01) ALL(PLACES_OF, 02) ALL(PLACES_OF, 03)
    ALL(PLACES_OF, 04) ALL(PLACES_OF, 05) ALL(PLACES_OF, 06) ALL(PLACES_OF, 07)
}

int main(int argc, char **argv) {
    start();
    if (argc > 1)
        touches = atol(argv[1]);
    memory = malloc(BYTES);
    if (!memory)
        return 1;
    memset((void *)memory, 1, BYTES);
    place();
    uint64_t sum = 0;
    ready();
    for (;;)
        sum += steps[next() % FUNCTIONS](DEPTH - 1);
}
