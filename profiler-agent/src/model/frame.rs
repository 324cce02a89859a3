//! A frame after attribution: not an address any more, but a place in a file, in the kernel or in
//! generated code, which stays true when its process is gone.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use profiler_common::walk::WalkEnd;

/// A mapped file (or pseudo file), shared by every process and container that maps it. Two are the
/// same when their [`Binary::id`] is.
#[derive(Debug)]
pub struct Binary {
    /// Number within this recording, from 0; the order in which binaries were first seen.
    pub id: u32,
    /// Path as its processes see it, made printable (no control characters).
    pub path: String,
    /// What kind of thing it is.
    pub kind: BinaryKind,
    /// ELF build ID in lower-case hex, empty where there is none.
    pub build_id: String,
    /// The file itself, opened while a process that maps it lived; `None` where that failed.
    pub file: Option<Arc<File>>,
    /// What lay where its debug file would be, in the root directory of a process in a container. Nothing
    /// proves yet that it belongs to the binary.
    pub debug: Option<Arc<File>>,
    /// Loadable segments, to turn a file offset into an ELF virtual address.
    pub segments: Vec<Segment>,
    /// Why `file` is `None` or `segments` is empty, for the user.
    pub problem: Option<String>,
}

/// What a [`Binary`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryKind {
    /// An ELF file on a file system.
    File,
    /// An ELF file that was unlinked or replaced; its mapping lives on.
    Deleted,
    /// A memory file (`memfd_create`).
    Memfd,
    /// The kernel's vDSO.
    Vdso,
    /// Not an ELF file, or none that could be read.
    Opaque,
}

/// A loadable segment of an ELF file (`PT_LOAD` with execute permission).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file.
    pub file_offset: u64,
    /// Length in the file.
    pub file_size: u64,
    /// ELF virtual address of its first byte.
    pub address: u64,
}

impl Binary {
    /// The ELF virtual address of a file offset: by the segment that holds it, which need not be the
    /// first (LLD places text at another delta than data). `None` outside every segment.
    pub fn address_of(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|s| {
            let delta = file_offset.checked_sub(s.file_offset)?;
            if delta < s.file_size { s.address.checked_add(delta) } else { None }
        })
    }

    /// The last component of its path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Code that a process made at run time: named by its perf map, if it writes one.
#[derive(Debug)]
pub struct JitMap {
    /// Number within this recording, from 0: one per life of a process.
    pub id: u32,
    /// Process id in the agent's namespace.
    pub pid: u32,
    /// The perf map, opened while its process lived.
    pub file: Option<Arc<File>>,
    /// Where it was looked for, for messages.
    pub path: PathBuf,
}

/// One frame. Addresses are already those to look up: a return address is one less than the word on
/// the stack, so that the call and not what follows it is found.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Code of a binary, at a file offset.
    Native {
        /// Which.
        binary: Arc<Binary>,
        /// Offset in the file, in bytes.
        offset: u64,
    },
    /// Code that the process generated, at an absolute address.
    Jit {
        /// Whose.
        map: Arc<JitMap>,
        /// Address in the process.
        address: u64,
    },
    /// Kernel, module or BPF code, at an absolute address.
    Kernel {
        /// Address.
        address: u64,
    },
    /// An address that lies in no mapping that is known.
    Unmapped {
        /// Address.
        address: u64,
    },
    /// Not code: outer user frames are missing, for want of something in this binary.
    Truncated {
        /// Why.
        end: WalkEnd,
        /// The binary of the last frame.
        binary: Arc<Binary>,
    },
    /// Not code: says where something is missing.
    Marker(Marker),
}

/// What a marker frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Marker {
    /// Outer user frames are missing.
    UserTruncated(WalkEnd),
    /// Outer kernel frames are missing.
    KernelTruncated(WalkEnd),
    /// Blocked time without a stack: the rate limit, or a full ring, left none to share it out to.
    StackNotSampled,
    /// The table of stacks was full.
    StackTableFull,
    /// There was no stack to walk: a kernel thread that waits for a CPU.
    NoStack,
}

impl Marker {
    /// The text that stands for the frame in profiles and pictures.
    pub fn text(self) -> String {
        match self {
            Self::UserTruncated(end) => format!("[truncated: {}]", describe(end)),
            Self::KernelTruncated(end) => format!("[kernel truncated: {}]", describe(end)),
            Self::StackNotSampled => "[blocked: stack not sampled]".to_owned(),
            Self::StackTableFull => "[stack table full]".to_owned(),
            Self::NoStack => super::conventions::NO_STACK.to_owned(),
        }
    }
}

fn describe(end: WalkEnd) -> &'static str {
    match end {
        WalkEnd::Complete | WalkEnd::Absent => "whole",
        WalkEnd::DepthLimit => "depth limit",
        WalkEnd::Unreadable => "stack page not resident",
        WalkEnd::BrokenChain => "no frame pointer",
        WalkEnd::NoRegisters => "user registers unknown",
        WalkEnd::HelperFailed => "kernel could not walk it",
        WalkEnd::AsleepSinceBefore => "asleep since before the recording",
        WalkEnd::NoRows => "no unwind rows",
        WalkEnd::NotReady => "unwind rows not ready",
        WalkEnd::BadRow => "wrong unwind row",
        WalkEnd::MemoryGone => "the process ends, its memory is gone",
    }
}

/// Frames equal when they name the same place.
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Frame {}

impl std::hash::Hash for Frame {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The identity of a [`Frame`], small and without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKey {
    /// [`Frame::Native`]: binary number and file offset.
    Native(u32, u64),
    /// [`Frame::Jit`]: map number and address.
    Jit(u32, u64),
    /// [`Frame::Kernel`].
    Kernel(u64),
    /// [`Frame::Unmapped`].
    Unmapped(u64),
    /// [`Frame::Truncated`]: why, and the binary's number.
    Truncated(WalkEnd, u32),
    /// [`Frame::Marker`].
    Marker(Marker),
}

impl Frame {
    /// Its identity.
    pub fn key(&self) -> FrameKey {
        match self {
            Self::Native { binary, offset } => FrameKey::Native(binary.id, *offset),
            Self::Jit { map, address } => FrameKey::Jit(map.id, *address),
            Self::Kernel { address } => FrameKey::Kernel(*address),
            Self::Unmapped { address } => FrameKey::Unmapped(*address),
            Self::Truncated { end, binary } => FrameKey::Truncated(*end, binary.id),
            Self::Marker(m) => FrameKey::Marker(*m),
        }
    }

    /// The text of a frame that is not code; `None` of one that is.
    pub fn marker_text(&self) -> Option<String> {
        match self {
            Self::Truncated { end, binary } => {
                Some(format!("[truncated: {} in {}]", describe(*end), binary.file_name()))
            }
            Self::Marker(marker) => Some(marker.text()),
            _ => None,
        }
    }

    /// Whether it is not code.
    pub fn is_marker(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Marker(_))
    }

    /// Whether it says that something is missing. A kernel thread has no user stack, so it misses none.
    pub fn is_cut(&self) -> bool {
        self.is_marker() && !matches!(self, Self::Marker(Marker::NoStack))
    }
}

/// A whole stack, innermost frame first: kernel frames, then user frames, then a marker if it is cut.
pub type Stack = Arc<[Frame]>;
