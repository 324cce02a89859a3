// assembly described|framed|bare|last: main → outer → one of the functions in assembly below → all.
//
// described moves the stack pointer and says so (CFI); framed says nothing, but keeps a frame pointer;
// bare does neither: nothing can be known of its caller. last calls the kernel, for ever, by the last
// instruction that its CFI describes, as signal trampolines and clone() do. `outer` uses the frame pointer's register for
// something else: the address of words on the stack that look like a frame.

#include "common.h"

void described(void (*leaf)(void));
void framed(void (*leaf)(void));
void bare(void (*leaf)(void));
void last(void (*leaf)(void));

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
        ".size last, . - last\n");
#else
#error "this processor has no such functions yet"
#endif

static volatile uint64_t sink;

NOINLINE void all(void) { every_kind(); }

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
    if (!strcmp(how, "last"))
        ready();
    outer(!strcmp(how, "framed") ? framed
          : !strcmp(how, "bare") ? bare
          : !strcmp(how, "last") ? last
                                 : described);
    return 0;
}
