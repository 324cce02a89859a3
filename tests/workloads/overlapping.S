// A library that describes its one function again and again, each time as something else; then there are
// descriptions that claim to be what they have in common with others.

#if defined(__x86_64__)
#define RETURN_ADDRESS 16
#define STACK_POINTER 7
#define SIZE 8
#else
#define RETURN_ADDRESS 30
#define STACK_POINTER 31
#define SIZE 0
#endif

    .text
    .globl work
#if defined(__x86_64__)
    .type work, @function
work:
.Lwork:
    push %rbp
    mov %rsp, %rbp
1:  dec %rdi
    jnz 1b
    pop %rbp
    ret
#elif defined(__aarch64__)
    .type work, %function
work:
.Lwork:
    stp x29, x30, [sp, -16]!
    mov x29, sp
1:  subs x0, x0, 1
    b.ne 1b
    ldp x29, x30, [sp], 16
    ret
#endif
    .size work, . - work

    .section .eh_frame, "a"
common:
    .long 2f - 1f
1:  .long 0
    .byte 1
    .asciz "zR"
    .uleb128 1
    .sleb128 -8
    .byte RETURN_ADDRESS
    .uleb128 1
    .byte 0x1b // relative, 4 bytes
    .byte 0x0c, STACK_POINTER, SIZE
    .byte 0x80 | RETURN_ADDRESS, 1
    .balign 4
2:

    .set offset, 0
    .rept 100000
    .long 16
    .long . - common
    .long .Lwork + (offset & 7) - .
    .long 16 + (offset & 15)
    .byte 0, 0x0e, offset & 0x7f, 0
    .set offset, offset + 1
    .endr

    .rept 1000
3:  .long 12
    .long . - 3b
    .long .Lwork - .
    .long 16
    .endr
    .long 0

    .section .note.GNU-stack, "", %progbits
