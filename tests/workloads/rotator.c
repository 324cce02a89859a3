// rotator LIBRARY...: calls `work` of one library after the other, of the first one most often, of the n-th
// one an n-th as often, in an order that looks random. At SIGUSR1 it takes the thread name "measured".

#include "common.h"
#include <dlfcn.h>
#include <signal.h>

#define MOST 256

typedef void work_function(uint64_t);

static work_function *libraries[MOST];
static double upto[MOST];
static volatile uint64_t calls;

static void measure(int signal) {
    (void)signal;
    prctl(PR_SET_NAME, "measured");
}

NOINLINE void rotate(int count) {
    uint64_t random = 1;
    for (;;) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        double at = (double)(random >> 11) / (double)(1ull << 53) * upto[count - 1];
        int chosen = 0;
        while (chosen < count - 1 && upto[chosen] < at)
            chosen++;
        libraries[chosen](200000);
        calls++;
    }
}

int main(int argc, char **argv) {
    start();
    double sum = 0;
    int count = 0;
    for (int i = 1; i < argc && count < MOST; i++, count++) {
        void *library = dlopen(argv[i], RTLD_NOW);
        work_function *work = library ? (work_function *)dlsym(library, "work") : NULL;
        if (!work)
            return 1;
        libraries[count] = work;
        sum += 1.0 / (count + 1);
        upto[count] = sum;
    }
    if (count == 0)
        return 2;
    signal(SIGUSR1, measure);
    ready();
    rotate(count);
    return 0;
}
