//! The maps that the programs share with each other and with the user side, by name.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use profiler_common::{
    counter::{COUNTERS as COUNTER_COUNT, Counter},
    live::Live,
    native::{MappingList, REGION_BYTES, REGIONS, known},
    record::StackRecord,
    thread::ThreadEntry,
};

use crate::{opaque::Unknown, walk::Walk, window::WINDOW_WORDS};

/// Everything that goes up. The loader sets the size.
#[btf_map]
pub static RING: RingBuf<u8, { 8 << 20 }> = RingBuf::new();

/// What was counted, by [`Counter`].
#[btf_map]
static COUNTERS: PerCpuArray<u64, { COUNTER_COUNT as usize }> = PerCpuArray::new();

/// What may change while the programs run.
#[btf_map]
static LIVE: Array<Live, 1> = Array::new();

/// The processes that have a mark: see [`profiler_common::live::marks`].
#[btf_map]
pub static TARGETS: HashMap<u32, u32, 8192> = HashMap::new();

/// Threads that have left a CPU at least once, by the lower bits of their id: see [`crate::threads`]. The
/// loader sets the size, and reads it without a system call for each.
#[btf_map]
pub static SLOTS: Array<ThreadEntry, 16384, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Those of them whose slot is another's, by thread id. The loader may set the size.
#[btf_map]
pub static THREADS: HashMap<u32, ThreadEntry, 32768> = HashMap::new();

/// Where the executable mappings of each process are listed, by process id. The loader sets the size.
#[btf_map]
pub static PROCESSES: HashMap<u32, MappingList, 32768> = HashMap::new();

/// The regions of the arena: see [`profiler_common::native`].
#[btf_map]
pub static ARENA: ArrayOfMaps<Array<RegionValue, 1, REGION_FLAGS>, { REGIONS as usize }> =
    ArrayOfMaps::new();

/// One region.
type RegionValue = [u64; REGION_BYTES as usize / 8];
const REGION_FLAGS: usize = BPF_F_MMAPABLE as usize;

/// Rules that were looked up before: see [`profiler_common::native::known`].
#[btf_map]
pub static KNOWN: Array<[known::Entry; known::ENTRIES], 1> = Array::new();

/// The rate limit of kept blocks.
#[btf_map]
pub static RATE: PerCpuArray<crate::rate::Rate, 1> = PerCpuArray::new();

/// See [`Scratch`].
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 3> = PerCpuArray::new();

/// The continuations of a walk. An array takes programs of one type, so there is one for each.
#[btf_map]
pub static TAIL_PERF: ProgramArray<2> = ProgramArray::new();
/// See [`TAIL_PERF`].
#[btf_map]
pub static TAIL_BTF: ProgramArray<2> = ProgramArray::new();
/// See [`TAIL_PERF`].
#[btf_map]
pub static TAIL_TP: ProgramArray<2> = ProgramArray::new();

/// Slot of the next four frames in a `TAIL_*` array.
pub const TAIL: u32 = 0;
/// Slot of the frames past [`profiler_common::walk::USER_FRAMES_BASE`] in a `TAIL_*` array.
pub const DEEP: u32 = 1;

/// Words behind the header of a record in the scratch. With the header they fill the 16 KiB that the
/// mask of a record's length (see [`crate::emit`]) could name: older verifiers ask for all of them.
pub const FRAME_SLOTS: usize = (RECORD_BYTES - size_of::<StackRecord>()) / 8;

/// Bytes of a record at most, as far as the verifier can know.
pub const RECORD_BYTES: usize = 16 << 10;

/// What one sample needs on its way through its programs: too much for the 512 bytes of BPF stack.
#[repr(C)]
pub struct Scratch {
    /// The header of the record, as it goes up.
    pub record: StackRecord,
    /// The frames of the record: right behind the header.
    pub frames: [u64; FRAME_SLOTS],
    /// Where the walk stands.
    pub walk: Walk,
    /// Which kernel stack, and which helper, the record still needs: see [`crate::record`].
    pub needs: u32,
    /// Stacks that were sent from here, or found no room.
    pub sent: u32,
    /// The local copy of the user stack.
    pub window: [u64; WINDOW_WORDS],
    /// For an answer that took many ways to find, so that the verifier follows only one from there.
    pub answer: Unknown,
    /// The same, while that one is in use.
    pub passing: Unknown,
    /// Registers that were read from a kernel stack.
    pub saved_regs: [u64; 16],
    /// What a thread's entry starts as; all zero but for the owner [`Owner::Sleepers`].
    pub entry: ThreadEntry,
}

/// Whose scratch: a sample may interrupt a switch, and the iterator may sleep in the middle.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Owner {
    /// A sample of the clock.
    Sample = 0,
    /// A context switch.
    Switch = 1,
    /// The iterator over sleeping threads.
    Sleepers = 2,
}

/// This CPU's scratch.
#[inline(always)]
pub fn scratch(owner: Owner) -> Option<&'static mut Scratch> {
    let value = SCRATCH.get_ptr_mut(owner as u32)?;
    // SAFETY: a map value lives as long as the program; each owner runs once at a time on a CPU, and
    // uses one answer at a time. (A callback of `bpf_loop` has its own; what it leaves is read by volatile loads.)
    Some(unsafe { &mut *value })
}

/// What the loader decides now. Each word of it is whole; two may be of different moments.
#[inline(always)]
pub fn live() -> Option<&'static Live> {
    // SAFETY: a map value lives as long as the program.
    LIVE.get_ptr(0).map(|live| unsafe { &*live })
}

/// The marks of a process; 0 where it has none.
#[inline(always)]
pub fn marks(pid: u32) -> u32 {
    // SAFETY: a map value, which the kernel frees only after the program's end.
    TARGETS.get_ptr(pid).map_or(0, |marks| unsafe { *marks })
}

/// Adds to one counter, and says what it was. Not atomic: an NMI between load and store loses its own
/// addition, if it is to the same counter.
#[inline(always)]
pub fn count(counter: Counter, n: u64) -> u64 {
    let Some(value) = COUNTERS.get_ptr_mut(counter.raw()) else { return 0 };
    // SAFETY: a map value of this CPU.
    unsafe {
        let before = *value;
        *value = before.wrapping_add(n);
        before
    }
}
