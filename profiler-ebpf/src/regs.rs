//! Where a thread's user side stands: from the context of a sample that hit user code, or from what
//! the kernel saved of it on entry.

use aya_ebpf::{
    EbpfContext,
    cty::c_void,
    helpers::generated::{
        bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs,
    },
};
use profiler_common::native::step::{CALLING, RUNNING};

use crate::{maps::Scratch, opaque::load, settings};

/// The registers that a walk begins with.
#[derive(Clone, Copy)]
pub struct UserRegs {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer: rbp, x29.
    pub fp: u64,
    /// Link register, x30; on x86-64 rbx.
    pub lr: u64,
    /// The thread runs 32-bit code: its frames have another shape.
    pub compat: bool,
    /// [`CALLING`] where the thread is in a system call: `pc` is then behind the instruction that made it,
    /// which may be the last of its function, as in a signal's `__restore_rt`. [`RUNNING`] otherwise.
    pub kept: u64,
}

/// What is known of a thread's user side.
pub enum UserSide {
    /// Its registers.
    At(UserRegs),
    /// A kernel thread: it has none.
    Absent,
    /// This kernel does not say.
    Unknown,
}

/// Bits of `cs` that are set in user mode.
const X86_USER: u64 = 3;
/// `cs` of 32-bit user code (`__USER32_CS`).
const X86_USER32: u64 = 0x23;
/// Bits of `pstate` that are clear in user mode (EL0).
const ARM_LEVEL: u64 = 0xf;
/// Bit of `pstate` that is set in 32-bit code.
const ARM_32: u64 = 0x10;

#[inline(always)]
fn x86(cs: u64, pc: u64, sp: u64, fp: u64, rbx: u64) -> Option<UserRegs> {
    if cs & X86_USER != X86_USER {
        return None;
    }
    Some(UserRegs { pc, sp, fp, lr: rbx, compat: cs & 0xffff == X86_USER32, kept: RUNNING })
}

#[inline(always)]
fn arm(pstate: u64, pc: u64, sp: u64, fp: u64, lr: u64) -> Option<UserRegs> {
    if pstate & ARM_LEVEL != 0 {
        return None;
    }
    Some(UserRegs { pc, sp, fp, lr, compat: pstate & ARM_32 != 0, kept: RUNNING })
}

impl UserRegs {
    /// With what tells whether the thread is in a system call.
    #[inline(always)]
    fn entered(self, by_system_call: bool) -> Self {
        Self { kept: if by_system_call { CALLING } else { RUNNING }, ..self }
    }
}

/// Whether x86-64's kernel was entered by a system call: only then does `orig_ax` hold a number that is
/// not negative, and the instruction has left its return address in rcx. A thread that has just executed
/// another program has nothing in any register.
#[inline(always)]
fn x86_system_call(orig_ax: u64, rcx: u64) -> bool {
    (orig_ax as i64) >= 0 && rcx != 0
}

/// Whether arm64's kernel was: `syscallno` is -1 (`NO_SYSCALL`, an `s32`) if not.
#[inline(always)]
fn arm_system_call(syscallno: u64) -> bool {
    (syscallno as i32) >= 0
}

/// The registers at which the clock hit; `None` where it hit the kernel.
///
/// The context of a perf event begins with `user_pt_regs` (arm64) or `pt_regs` (x86-64).
#[inline(always)]
pub fn of_sample<C: EbpfContext>(ctx: &C) -> Option<UserRegs> {
    let ctx = ctx.as_ptr();
    if settings::is_arm() {
        let pstate = load!(u64, ctx, "264");
        let (pc, sp) = (load!(u64, ctx, "256"), load!(u64, ctx, "248"));
        arm(pstate, pc, sp, load!(u64, ctx, "232"), load!(u64, ctx, "240"))
    } else {
        let cs = load!(u64, ctx, "136");
        let (pc, sp) = (load!(u64, ctx, "128"), load!(u64, ctx, "152"));
        x86(cs, pc, sp, load!(u64, ctx, "32"), load!(u64, ctx, "40"))
    }
}

/// The user registers of the current thread, which is inside the kernel.
#[inline(always)]
pub fn of_current(scratch: &mut Scratch) -> UserSide {
    if settings::regs_by_helper() {
        // SAFETY: the helper takes any task.
        let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
        return of_task_regs(regs as *const c_void);
    }
    if settings::regs_by_offset() {
        return of_kernel_stack(scratch);
    }
    UserSide::Unknown
}

/// The user registers behind a pointer to `pt_regs` from `bpf_task_pt_regs`.
#[inline(always)]
pub fn of_task_regs(regs: *const c_void) -> UserSide {
    let found = if settings::is_arm() {
        let pstate = load!(u64, regs, "264");
        let (pc, sp) = (load!(u64, regs, "256"), load!(u64, regs, "248"));
        let in_call = arm_system_call(load!(u32, regs, "280"));
        arm(pstate, pc, sp, load!(u64, regs, "232"), load!(u64, regs, "240"))
            .map(|regs| regs.entered(in_call))
    } else {
        // 2 bytes: newer kernels make a union of `cs`, whose first member is no longer.
        let cs = load!(u16, regs, "136");
        let (pc, sp) = (load!(u64, regs, "128"), load!(u64, regs, "152"));
        let in_call = x86_system_call(load!(u64, regs, "120"), load!(u64, regs, "88"));
        x86(cs, pc, sp, load!(u64, regs, "32"), load!(u64, regs, "40"))
            .map(|regs| regs.entered(in_call))
    };
    found.map_or(UserSide::Absent, UserSide::At)
}

/// Where the kernel keeps the user registers of the current thread. They are there as long as the kernel
/// works for it, also in an interrupt of its user code.
#[inline(always)]
pub fn place_of_current() -> Option<u64> {
    if settings::regs_by_helper() {
        // SAFETY: the helper takes any task.
        return Some(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64);
    }
    if settings::regs_by_offset() { top_of_kernel_stack() } else { None }
}

/// Before 5.15: at the top of the task's kernel stack, at offsets that the loader took from BTF.
#[inline(always)]
fn top_of_kernel_stack() -> Option<u64> {
    // SAFETY: the helper takes nothing.
    let task = unsafe { bpf_get_current_task() };
    let mut stack = 0u64;
    let read = read_kernel(&raw mut stack, 8, task.wrapping_add(settings::task_stack().into()));
    read.then_some(stack.wrapping_add(settings::stack_regs().into()))
}

#[inline(always)]
fn of_kernel_stack(scratch: &mut Scratch) -> UserSide {
    let Some(regs) = top_of_kernel_stack() else { return UserSide::Unknown };
    let saved = &mut scratch.saved_regs;
    let found = if settings::is_arm() {
        // regs[29], regs[30], sp, pc, pstate, orig_x0, syscallno
        if !read_kernel(&raw mut saved[0], 56, regs.wrapping_add(232)) {
            return UserSide::Unknown;
        }
        arm(saved[4], saved[3], saved[2], saved[0], saved[1])
            .map(|regs| regs.entered(arm_system_call(saved[6])))
    } else {
        // rbp, rbx .. rcx .. orig_ax, rip, cs, eflags, rsp
        if !read_kernel(&raw mut saved[0], 128, regs.wrapping_add(32)) {
            return UserSide::Unknown;
        }
        x86(saved[13], saved[12], saved[15], saved[0], saved[1])
            .map(|regs| regs.entered(x86_system_call(saved[11], saved[7])))
    };
    found.map_or(UserSide::Absent, UserSide::At)
}

/// Copies kernel memory; false where there is none.
#[inline(always)]
pub fn read_kernel<T>(to: *mut T, bytes: u32, from: u64) -> bool {
    // SAFETY: the verifier checks that `to` has room for the bytes; the helper checks `from`.
    unsafe { bpf_probe_read_kernel(to.cast(), bytes, from as *const c_void) == 0 }
}
