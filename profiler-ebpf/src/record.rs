//! The record of a stack: its header at the beginning, the kernel stack at the end.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_USER_STACK,
    helpers::generated::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task,
        bpf_get_smp_processor_id, bpf_get_stack,
    },
};
use profiler_common::{
    counter::Counter,
    record::{COMM_LEN, REST_BYTES, RecordKind, Rest, StackRecord, flags},
    walk::{KERNEL_FRAMES, USER_FRAMES_DEEP, WalkEnd},
};

use crate::{
    emit,
    maps::{FRAME_SLOTS, Scratch, count},
    opaque::mask,
    regs::read_kernel,
    settings, threads,
    window::{Current, Memory},
};

/// The kernel stack is wanted.
pub const KERNEL_STACK: u32 = 1;
/// The user stack has to come from the kernel's helper: the registers are not known.
pub const USER_STACK: u32 = 2;

/// A process and one of its threads.
#[derive(Clone, Copy)]
pub struct Ids {
    /// Process id (thread group).
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

impl Ids {
    /// From what `bpf_get_current_pid_tgid` says.
    #[inline(always)]
    pub fn new(pid_tgid: u64) -> Self {
        Self { pid: (pid_tgid >> 32) as u32, tid: pid_tgid as u32 }
    }
}

/// Fills the header for the current thread.
#[inline(always)]
pub fn begin(scratch: &mut Scratch, kind: RecordKind, ids: Ids, time_ns: u64) {
    begin_any(scratch, kind, ids, time_ns);
    let record = &mut scratch.record;
    // SAFETY: helpers about the current thread; the name has room for COMM_LEN bytes.
    unsafe {
        record.cgroup_id = bpf_get_current_cgroup_id();
        bpf_get_current_comm((&raw mut record.comm).cast(), COMM_LEN as u32);
    }
}

/// Fills the header, but for the name and the cgroup.
#[inline(always)]
pub fn begin_any(scratch: &mut Scratch, kind: RecordKind, ids: Ids, time_ns: u64) {
    let record = &mut scratch.record;
    record.kind = kind.raw();
    record.pid = ids.pid;
    record.tid = ids.tid;
    record.time_ns = time_ns;
    record.state = 0;
    record.flags = 0;
    // SAFETY: the helper takes nothing.
    record.cpu = unsafe { bpf_get_smp_processor_id() };
}

/// Adds the stacks that the kernel's helper walks, and sends the record.
#[inline(always)]
pub fn finish<C: EbpfContext>(ctx: &C, scratch: &mut Scratch) {
    store_walk(scratch);
    if walk_failed(scratch) && memory_is_gone() {
        scratch.record.user_end = WalkEnd::MemoryGone.raw() as u8;
    }
    if scratch.needs & USER_STACK != 0 {
        let (frames, end) = by_helper(ctx, scratch, 0, BPF_F_USER_STACK.into());
        scratch.record.user_frames = frames as u16;
        scratch.record.user_end = end.raw() as u8;
    }
    let kernel = if scratch.needs & KERNEL_STACK != 0 {
        let at = user_frames(scratch);
        by_helper(ctx, scratch, at, 0)
    } else {
        (0, WalkEnd::Absent)
    };
    send(scratch, kernel);
}

/// Whether the walk met memory that it could not read, or knows nothing of.
#[inline(always)]
fn walk_failed(scratch: &Scratch) -> bool {
    // SAFETY: a field of a map value.
    let end: u32 = unsafe { (&raw const scratch.record.user_end).read_volatile() }.into();
    end == WalkEnd::Unreadable.raw() || end == WalkEnd::NotReady.raw()
}

/// Whether the current thread has given its memory back: it is in `exit`.
#[inline(always)]
fn memory_is_gone() -> bool {
    let offset = settings::task_mm();
    let mut mm = 1u64;
    // SAFETY: the helper takes nothing.
    let task = unsafe { bpf_get_current_task() };
    offset != 0 && read_kernel(&raw mut mm, 8, task.wrapping_add(offset.into())) && mm == 0
}

/// How the walk in the scratch went. Through memory: the verifier forgets by which of its many ways it
/// ended.
#[inline(always)]
pub fn store_walk(scratch: &mut Scratch) {
    let (walk, record) = (&scratch.walk, &mut scratch.record);
    // SAFETY: fields of a map value.
    unsafe {
        let frames = (&raw const walk.frames).read_volatile();
        let end = (&raw const walk.end).read_volatile();
        (&raw mut record.user_frames).write_volatile(frames as u16);
        (&raw mut record.user_end).write_volatile(end as u8);
    }
}

/// How many user frames the record has.
#[inline(always)]
pub fn user_frames(scratch: &Scratch) -> u64 {
    // Up to 512: 10 bits.
    const { assert!(USER_FRAMES_DEEP < 1 << 10) };
    // SAFETY: a field of a map value.
    mask::<0x3ff>(unsafe { (&raw const scratch.record.user_frames).read_volatile() }.into())
}

/// Lets the helper walk a stack, into the frames from `at` on. Says how many and why it ended.
#[inline(always)]
fn by_helper<C: EbpfContext>(
    ctx: &C,
    scratch: &mut Scratch,
    at: u64,
    flags: u64,
) -> (u64, WalkEnd) {
    const { assert!(FRAME_SLOTS > 0x3ff + KERNEL_FRAMES as usize) };
    // SAFETY: `at` is less than 1024, so KERNEL_FRAMES more are within the frames, as asserted.
    let bytes = unsafe {
        let to = scratch.frames.as_mut_ptr().add(at as usize);
        bpf_get_stack(ctx.as_ptr(), to.cast(), KERNEL_FRAMES * 8, flags)
    };
    outcome(bytes)
}

/// What the answer of a stack helper means.
#[inline(always)]
pub fn outcome(bytes: i64) -> (u64, WalkEnd) {
    if bytes < 0 {
        return (0, WalkEnd::HelperFailed);
    }
    let frames = mask::<0x7f>(bytes as u64 >> 3);
    let full = frames == u64::from(KERNEL_FRAMES);
    (frames, if full { WalkEnd::DepthLimit } else { WalkEnd::Complete })
}

/// Sends the record, whose kernel stack has so many frames and ended so.
#[inline(always)]
pub fn send(scratch: &mut Scratch, (kernel_frames, end): (u64, WalkEnd)) {
    scratch.record.kernel_frames = kernel_frames as u16;
    scratch.record.kernel_end = end.raw() as u8;
    let frames = user_frames(scratch) + kernel_frames;
    let on_cpu = scratch.record.kind == RecordKind::OnCpu.raw();
    let rest = add_rest(scratch, frames);
    let sent = emit::stack(scratch, frames * 8 + rest);
    count(
        match (on_cpu, sent) {
            (true, true) => Counter::Samples,
            (true, false) => Counter::SamplesLost,
            (false, true) => Counter::Blocks,
            (false, false) => Counter::BlocksLost,
        },
        1,
    );
    if !on_cpu && !sent {
        forget_stack(&scratch.record);
    }
}

/// Where the rows were not ready, adds what the user side needs to go on with the walk, behind so many
/// frames. Returns how many bytes that is: the first stacks of a process are worth them, as long as the
/// ring has room. Of another thread than the current one, as the iterator visits them, there are none.
#[inline(always)]
fn add_rest(scratch: &mut Scratch, frames: u64) -> u64 {
    const MOST: u64 = 0xff;
    const HEADER: u64 = size_of::<Rest>() as u64;
    const PAGE: u64 = 4096;
    const { assert!(REST_BYTES == 3 * PAGE && MOST * 8 + HEADER + REST_BYTES < 8 * FRAME_SLOTS as u64) };
    if scratch.record.user_end != WalkEnd::NotReady.raw() as u8
        || scratch.record.flags & flags::SINCE_BEFORE != 0
        || frames > MOST
        || !emit::has_room()
    {
        return 0;
    }
    let at = scratch.walk.position.at;
    let start = at.sp & !7;
    // Up to the end of the page: 8 to 4096, which the verifier has to know.
    let first = 8 + mask::<{ PAGE - 8 }>(PAGE - 8 - (start & (PAGE - 1)));
    // SAFETY: within the frames, as asserted: the masks bound what the verifier knows of the offsets.
    let (header, stack, next) = unsafe {
        let header = scratch.frames.as_mut_ptr().add(mask::<MOST>(frames) as usize);
        let stack = header.cast::<u8>().add(HEADER as usize);
        (header, stack, stack.add(first as usize))
    };
    if !Current.read(stack, first as u32, start) {
        return 0;
    }
    let mut bytes = first;
    let page = start.wrapping_add(first);
    if Current.read(next, PAGE as u32, page) {
        bytes += PAGE;
        // SAFETY: as above.
        let last = unsafe { next.add(PAGE as usize) };
        if Current.read(last, PAGE as u32, page.wrapping_add(PAGE)) {
            bytes += PAGE;
        }
    }
    for (index, word) in [at.pc, start, at.fp, at.lr, at.kept, bytes].into_iter().enumerate() {
        // SAFETY: within the header.
        unsafe { header.add(index).write(word) }
    }
    scratch.record.flags |= flags::REST;
    HEADER + bytes
}

/// The thread carries the time of its block itself, since no record of it went up. One that slept when the
/// recording began may have come back meanwhile, and be off the CPU again.
#[inline(always)]
fn forget_stack(record: &StackRecord) {
    if let Some(entry) = threads::get(record.tid)
        && entry.blocked_at_ns == record.time_ns
    {
        entry.kept = 0;
    }
}
