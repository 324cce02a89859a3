// A library with a large unwind table: for each instruction of a function that nobody calls a rule of its own. `work`,
// which is called, keeps a counter where a frame pointer would be: without its row, nothing leads to its
// caller.

#if defined(__x86_64__)
    .text
    .globl work
    .type work, @function
work:
    .cfi_startproc
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rdi, %rbp
1:  dec %rbp
    jnz 1b
    pop %rbp
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size work, . - work
#elif defined(__aarch64__)
    .text
    .globl work
    .type work, %function
work:
    .cfi_startproc
    stp x29, x30, [sp, -16]!
    .cfi_def_cfa_offset 16
    .cfi_offset x29, -16
    .cfi_offset x30, -8
    mov x29, x0
1:  subs x29, x29, 1
    b.ne 1b
    ldp x29, x30, [sp], 16
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size work, . - work
#endif

    .balign 256
    .set offset, 16
    .cfi_startproc
    .rept 32000
    nop
    .set offset, offset + 8
    .cfi_def_cfa_offset offset
    .endr
    .cfi_endproc

    .section .note.GNU-stack, "", %progbits
