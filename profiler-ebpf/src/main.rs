//! The kernel side of profiler-agent: the entry points of its programs, and nothing else.
//!
//! - [`sample`]: the clock hit. [`off_cpu`]: a context switch. Each asks [`filter`] whether the thread
//!   is wanted, and [`regs`] where its user side stands.
//! - [`threads`]: what is remembered of each thread, and [`rate`] of each CPU.
//! - [`fork`]: births, and other programs in a process. [`sleepers`]: the threads that are off the CPU when a
//!   recording begins.
//! - [`walk`] walks the user stack, frame by frame, with the steps of [`unwind`] on the local copy of
//!   the stack that [`window`] keeps, by the tables in the [`arena`]; it goes on in the `*_tail` and
//!   `*_deep` programs.
//! - [`record`] adds the kernel stack where it is wanted, and [`emit`] sends the record.
//!
//! The body of a program must be in the program: one that makes tail calls may not call functions on
//! arm64 kernels before 6.0, and the large ones are not inlined unless told.
//!
//! One object serves x86-64 and arm64, from 5.10 on: what a kernel lacks lies behind a setting that
//! its verifier knows as a constant.
#![no_std]
#![no_main]
// `load!`, `mask`: see `opaque`.
#![feature(asm_experimental_arch)]

mod arena;
mod emit;
mod filter;
mod fork;
mod maps;
mod off_cpu;
mod opaque;
mod rate;
mod record;
mod regs;
mod sample;
mod settings;
mod sleepers;
mod threads;
mod unwind;
mod walk;
mod window;

use aya_ebpf::{
    cty::c_void,
    macros::{btf_tracepoint, perf_event, tracepoint},
    programs::{BtfTracePointContext, PerfEventContext, TracePointContext},
};

use maps::{Owner, TAIL_BTF, TAIL_PERF, TAIL_TP};
use off_cpu::Switch;

#[perf_event]
fn on_cpu(ctx: PerfEventContext) {
    sample::on_cpu(&ctx);
}

#[perf_event]
#[inline(always)]
fn on_cpu_tail(ctx: PerfEventContext) {
    walk::tail(&ctx, &TAIL_PERF, Owner::Sample);
}

#[perf_event]
fn on_cpu_deep(ctx: PerfEventContext) {
    walk::deep(&ctx, Owner::Sample);
}

#[btf_tracepoint(function = "sched_switch")]
fn switch_btf(ctx: BtfTracePointContext) {
    off_cpu::switch(&ctx, &TAIL_BTF, &Switch::of_btf(&ctx));
}

#[btf_tracepoint(function = "sched_switch")]
#[inline(always)]
fn switch_btf_tail(ctx: BtfTracePointContext) {
    walk::tail(&ctx, &TAIL_BTF, Owner::Switch);
}

#[btf_tracepoint(function = "sched_switch")]
fn switch_btf_deep(ctx: BtfTracePointContext) {
    walk::deep(&ctx, Owner::Switch);
}

#[tracepoint(category = "sched", name = "sched_switch")]
fn switch_tp(ctx: TracePointContext) {
    off_cpu::switch(&ctx, &TAIL_TP, &Switch::of_tracepoint(&ctx));
}

#[tracepoint(category = "sched", name = "sched_switch")]
#[inline(always)]
fn switch_tp_tail(ctx: TracePointContext) {
    walk::tail(&ctx, &TAIL_TP, Owner::Switch);
}

#[tracepoint(category = "sched", name = "sched_switch")]
fn switch_tp_deep(ctx: TracePointContext) {
    walk::deep(&ctx, Owner::Switch);
}

/// Does nothing: what its runs are said to take is what the kernel's counting of runs takes.
#[btf_tracepoint(function = "sched_switch")]
fn nothing_btf(_: BtfTracePointContext) {}

/// The same on the classic tracepoint.
#[tracepoint(category = "sched", name = "sched_switch")]
fn nothing_tp(_: TracePointContext) {}

#[btf_tracepoint(function = "sched_process_fork")]
fn fork_btf(ctx: BtfTracePointContext) {
    fork::of_btf(&ctx);
}

#[tracepoint(category = "sched", name = "sched_process_fork")]
fn fork_tp(ctx: TracePointContext) {
    fork::of_tracepoint(&ctx);
}

#[btf_tracepoint(function = "sched_process_exec")]
fn exec_btf(_: BtfTracePointContext) {
    fork::exec();
}

/// An iterator over all threads, which may sleep; the macros know no such program.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter.s/task")]
fn sleepers(ctx: *mut c_void) -> i32 {
    sleepers::thread(ctx);
    0
}

/// Kernels give the helpers for reading memory only to programs under a compatible licence.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
