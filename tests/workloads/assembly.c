// assembly described|framed|bare|last|held|popped [interrupted]: main → outer → one of the functions in
// assembly below → all.
//
// described moves the stack pointer and says so (CFI); framed says nothing, but keeps a frame pointer;
// bare does neither: nothing can be known of its caller. last calls the kernel, for ever, by the last
// instruction that its CFI describes, as signal trampolines and clone() do. held computes and calls the
// kernel, for ever, while only a register tells where its frame is, as in functions that are about to align
// their stack; popped while only a register has its return address, as vfork() does. A signal may interrupt
// them, whose handler works. `outer` uses the frame pointer's register for
// something else: the address of words on the stack that look like a frame.

#include "common.h"
#include <signal.h>
#include <sys/time.h>

void described(void (*leaf)(void));
void framed(void (*leaf)(void));
void bare(void (*leaf)(void));
void last(void (*leaf)(void));
void held(void (*leaf)(void));
void popped(void (*leaf)(void));

#if defined(__x86_64__)
__asm__(".text\n"
        ".type described, @function\n"
        "described:\n"
        "    .cfi_startproc\n"
        "    push %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %rbx, 0\n"
        "    sub $4096, %rsp\n"
        "    .cfi_adjust_cfa_offset 4096\n"
        "    call *%rdi\n"
        "    add $4096, %rsp\n"
        "    .cfi_adjust_cfa_offset -4096\n"
        "    pop %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size described, . - described\n"
        ".type framed, @function\n"
        "framed:\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    sub $4096, %rsp\n"
        "    call *%rdi\n"
        "    leave\n"
        "    ret\n"
        ".size framed, . - framed\n"
        ".type bare, @function\n"
        "bare:\n"
        "    sub $4104, %rsp\n"
        "    call *%rdi\n"
        "    add $4104, %rsp\n"
        "    ret\n"
        ".size bare, . - bare\n"
        ".type last, @function\n"
        "last:\n"
        "    .cfi_startproc\n"
        "    sub $0x20008, %rsp\n"
        "    .cfi_adjust_cfa_offset 0x20008\n"
        "0:  mov $318, %eax\n" // getrandom(buffer, its size, 0)
        "    mov %rsp, %rdi\n"
        "    mov $0x20000, %esi\n"
        "    xor %edx, %edx\n"
        "    syscall\n"
        "    .cfi_endproc\n"
        "    jmp 0b\n"
        ".size last, . - last\n"
        ".type held, @function\n"
        "held:\n"
        "    .cfi_startproc\n"
        "    lea 8(%rsp), %r10\n"
        "    .cfi_def_cfa %r10, 0\n"
        "    and $-64, %rsp\n"
        "    sub $0x20000, %rsp\n"
        "0:  mov $1000000, %ecx\n"
        "1:  dec %ecx\n"
        "    jnz 1b\n"
        "    mov $318, %eax\n" // as above
        "    mov %rsp, %rdi\n"
        "    mov $0x20000, %esi\n"
        "    xor %edx, %edx\n"
        "    syscall\n"
        "    jmp 0b\n"
        "    .cfi_endproc\n"
        ".size held, . - held\n"
        ".type popped, @function\n"
        "popped:\n"
        "    .cfi_startproc\n"
        "    pop %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_register %rip, %rdi\n"
        "0:  mov $1000000, %ecx\n"
        "1:  dec %ecx\n"
        "    jnz 1b\n"
        "    mov $110, %eax\n" // getppid()
        "    syscall\n"
        "    jmp 0b\n"
        "    .cfi_endproc\n"
        ".size popped, . - popped\n");
#else
#error "this processor has no such functions yet"
#endif

static volatile uint64_t sink;

NOINLINE void all(void) { every_kind(); }

NOINLINE void handler(int signal) { sink += spin(1000000 + (uint64_t)signal); }

static void interrupt_often(void) {
    struct sigaction action = {.sa_handler = handler};
    struct itimerval every = {.it_interval = {.tv_usec = 8000}, .it_value = {.tv_usec = 8000}};
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &every, NULL);
}

NOINLINE void outer(void (*middle)(void (*)(void))) {
    // What lies behind the address in the register is no frame, though words of a stack.
    volatile uint64_t words[8] = {(uintptr_t)words, (uintptr_t)all, (uintptr_t)words, (uintptr_t)&sink};
    register volatile uint64_t *pointer __asm__("rbp") = words;
    __asm__ volatile("" : "+r"(pointer));
    middle(all);
    __asm__ volatile("" : "+r"(pointer));
    sink += *pointer;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "described";
    start();
    if (argc > 2)
        interrupt_often();
    if (!strcmp(how, "last") || !strcmp(how, "held") || !strcmp(how, "popped"))
        ready();
    outer(!strcmp(how, "framed") ? framed
          : !strcmp(how, "bare") ? bare
          : !strcmp(how, "last") ? last
          : !strcmp(how, "held") ? held
          : !strcmp(how, "popped") ? popped
                                   : described);
    return 0;
}
