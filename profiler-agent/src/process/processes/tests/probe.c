/* A process that does what it is told: one command a line on stdin, one answer a line on stdout. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096UL

__attribute__((noinline)) void landmark(void) { __asm__ volatile("nop"); }

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void exec_memfd(void) {
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = memfd_create("copy", 0);
    struct stat meta;
    if (from < 0 || to < 0 || fstat(from, &meta) != 0) fail("memfd");
    if (sendfile(to, from, NULL, meta.st_size) != meta.st_size) fail("sendfile");
    char *args[] = {"probe", NULL}, *environment[] = {NULL};
    fexecve(to, args, environment);
    fail("fexecve");
}

static char *generated(size_t pages) {
    char *code = mmap(NULL, pages * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) fail("mmap");
    return code;
}

/* Executable pages of our own file with gaps between, so that each is a mapping. */
static char *scatter(size_t count) {
    int self = open("/proc/self/exe", O_RDONLY);
    char *area = mmap(NULL, 2 * count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (self < 0 || area == MAP_FAILED) fail("scatter");
    for (size_t n = 0; n < count; n++) {
        void *page = mmap(area + 2 * n * PAGE, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
                          self, (off_t)(n % 4 * PAGE));
        if (page == MAP_FAILED) fail("scatter");
    }
    return area;
}

/* Moves one of our pages elsewhere, which the kernel tells nobody. */
static char *moved(void) {
    char *page = scatter(1);
    char *to = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page = mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (page == MAP_FAILED) fail("mremap");
    return page;
}

static void obey(void);

static void *survive(void *leader) {
    pthread_join(*(pthread_t *)leader, NULL);
    printf("%ld\n", syscall(SYS_gettid));
    obey();
    exit(0);
}

static void obey(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *argument = strchr(line, ' ');
        if (argument) *argument++ = 0;
        if (strcmp(line, "landmark") == 0) {
            printf("%ld\n", (long)landmark);
        } else if (strcmp(line, "fork") == 0) {
            pid_t self = getpid(), child = fork();
            if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                // It may be an orphan already, and would stay one.
                while (getppid() == self) pause();
                exit(0);
            }
            printf("%d\n", child);
        } else if (strcmp(line, "exec") == 0) {
            execl(argument, "probe", NULL);
            fail("execl");
        } else if (strcmp(line, "memfd") == 0) {
            exec_memfd();
#ifdef LOADS
        } else if (strcmp(line, "load") == 0) {
            void *library = dlopen(argument, RTLD_NOW);
            if (!library) fail(dlerror());
            printf("%ld\n", (long)dlsym(library, "plugin"));
#endif
        } else if (strcmp(line, "generate") == 0) {
            printf("%ld\n", (long)generated(strtoul(argument, NULL, 10)));
        } else if (strcmp(line, "scatter") == 0) {
            printf("%ld\n", (long)scatter(strtoul(argument, NULL, 10)));
        } else if (strcmp(line, "move") == 0) {
            printf("%ld\n", (long)moved());
        } else if (strcmp(line, "leave") == 0) {
            static pthread_t leader, survivor;
            leader = pthread_self();
            if (pthread_create(&survivor, NULL, survive, &leader) != 0) fail("pthread_create");
            pthread_exit(NULL);
        }
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    printf("ready\n");
    obey();
    return 0;
}
