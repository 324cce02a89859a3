//! Binaries: every mapped file once, however many processes and containers map it.
//!
//! Two mappings are of one binary when their files have the same build ID, or else when the file
//! system says that they have the same content. A file is opened the first time that a mapping of it
//! is seen, since its process, its path and its container may be gone a moment later. The table holds
//! no binary alive: one that no mapping and no kept stack refers to closes its file.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use super::Config;
use super::backing::Backing;
use super::elf::{Headers, hex};
use super::mapped_file::{Files, Found, NotFound};
use super::open::Stamp;
use super::text::printable;
use super::vdso;
use crate::model::event::{Mmap, MmapId};
use crate::model::frame::{Binary, BinaryKind};
use crate::model::losses::Losses;
use crate::model::space::Code;

/// What was added, or found no room, between two sweeps at least.
const SWEEP_EVERY: usize = 64;

/// Bytes of a path that are kept to recognize it.
const MAX_HINT: usize = 256;

/// By what a mapped file is recognized.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Its build ID in hex, with its kind.
    BuildId(String, BinaryKind),
    /// Its content, as far as the file system tells.
    Content(Stamp),
    /// What the kernel told of a mapping, and the end of its path: a hint that still needs its content
    /// confirmed, since an inode can be written again, and some file systems number several trees alike.
    Told(MmapId, Vec<u8>),
}

/// What is known under a [`Key`].
#[derive(Clone, Debug)]
struct Known {
    /// The binary; `None` for a file that holds generated code.
    binary: Option<Weak<Binary>>,
    /// The content that it was found with.
    stamp: Option<Stamp>,
    /// Whether it is worth another try to open it.
    retry: bool,
}

/// All binaries.
#[derive(Debug)]
pub(super) struct Binaries {
    known: HashMap<Key, Known>,
    vdso: Option<Arc<Binary>>,
    max_known: usize,
    max_open: usize,
    /// Files that may be open: an upper bound until the next sweep.
    open: usize,
    /// What was added, or found no room, since the last sweep.
    since_sweep: usize,
    next_id: u32,
    losses: Losses,
}

impl Binaries {
    /// None yet.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            known: HashMap::new(),
            vdso: None,
            // A binary is known by what it is and by what the kernel told of its mappings.
            max_known: config.max_binaries.saturating_mul(2),
            max_open: config.max_open_binaries,
            open: 0,
            since_sweep: 0,
            next_id: 0,
            losses: Losses::default(),
        }
    }

    /// What was turned away so far.
    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// What a mapping holds; `None` where the table is full.
    pub(super) fn code(
        &mut self,
        mmap: &Mmap,
        parent: Option<u32>,
        files: &impl Files,
    ) -> Option<Code> {
        let (path, kind) = match Backing::of(&mmap.path) {
            Backing::Anonymous => return Some(Code::Generated),
            // That of a 32-bit process is not the one that we have.
            Backing::Vdso if mmap.start <= u32::MAX.into() => return Some(Code::Generated),
            Backing::Vdso => return Some(Code::Binary(self.vdso())),
            Backing::File(path) => (path, BinaryKind::File),
            Backing::Deleted(path) => (path, BinaryKind::Deleted),
            Backing::Memfd(path) => (path, BinaryKind::Memfd),
        };
        let told = match &mmap.id {
            MmapId::BuildId(id) => Key::BuildId(hex(id), kind),
            id @ MmapId::Inode { .. } => {
                let from = mmap.path.len().saturating_sub(MAX_HINT);
                Key::Told(id.clone(), mmap.path.get(from..).unwrap_or_default().to_vec())
            }
        };
        let before = self.recall(&told);
        if let Some((code, known)) = &before
            && self.is_current(known, &told, mmap, files)
        {
            return Some(code.clone());
        }
        let found = match (files.find(mmap, parent), before) {
            // As little as before.
            (Err(_), Some((code, Known { retry: true, .. }))) => return Some(code),
            (found, _) => found,
        };
        self.learn(told, path, kind, found)
    }

    /// What is known, if it is still in use.
    fn recall(&self, key: &Key) -> Option<(Code, Known)> {
        let known = self.known.get(key)?;
        let code = match &known.binary {
            Some(binary) => Code::Binary(binary.upgrade()?),
            None => Code::Generated,
        };
        Some((code, known.clone()))
    }

    /// Whether what is known holds for this mapping too.
    fn is_current(&mut self, known: &Known, told: &Key, mmap: &Mmap, files: &impl Files) -> bool {
        if known.retry {
            return !self.has_room();
        }
        match told {
            Key::Told(..) => files.stamp(mmap).is_none_or(|now| known.stamp == Some(now)),
            Key::BuildId(..) | Key::Content(_) => true,
        }
    }

    /// Makes a binary of what was found, unless it is one that is known.
    fn learn(
        &mut self,
        told: Key,
        path: &[u8],
        kind: BinaryKind,
        found: Result<Found, NotFound>,
    ) -> Option<Code> {
        let is = match &found {
            Ok(Found { headers: Ok(Headers { build_id, .. }), .. }) if !build_id.is_empty() => {
                Key::BuildId(build_id.clone(), kind)
            }
            Ok(found) => Key::Content(found.stamp),
            Err(_) => told.clone(),
        };
        let stamp = found.as_ref().ok().map(|f| f.stamp);
        if let Some((code, known)) = self.recall(&is)
            && !known.retry
        {
            self.remember(told, Known { stamp, ..known });
            return Some(code);
        }
        if !self.has_entry() {
            self.losses.add("mappings_lost_binary_table_full", 1);
            return None;
        }
        let has_name = kind == BinaryKind::File;
        let is_elf = !matches!(&found, Ok(Found { headers: Err(_), .. }));
        if !is_elf && !has_name {
            // A runtime that maps its code twice, to write here and execute there, uses such a file.
            self.remember(told, Known { binary: None, stamp, retry: false });
            return Some(Code::Generated);
        }
        let (binary, retry) = self.make(&is, path, kind, found);
        let known = Known { binary: Some(Arc::downgrade(&binary)), stamp, retry };
        self.remember(is, known.clone());
        self.remember(told, known);
        Some(Code::Binary(binary))
    }

    fn remember(&mut self, key: Key, known: Known) {
        if self.known.contains_key(&key) || self.has_entry() {
            self.known.insert(key, known);
            self.since_sweep = self.since_sweep.saturating_add(1);
        }
    }

    /// A new binary, and whether a later mapping should try again to open its file.
    fn make(
        &mut self,
        is: &Key,
        path: &[u8],
        kind: BinaryKind,
        found: Result<Found, NotFound>,
    ) -> (Arc<Binary>, bool) {
        let build_id = match is {
            Key::BuildId(id, _) => id.clone(),
            Key::Content(_) | Key::Told(..) => String::new(),
        };
        let mut binary = Binary {
            id: self.number(),
            path: printable(path),
            kind,
            build_id,
            file: None,
            debug: None,
            segments: Vec::new(),
            problem: None,
        };
        let retry = match found {
            Ok(found) => self.adopt(&mut binary, found),
            Err(error) => {
                let no_answer = matches!(error, NotFound::NoAnswer);
                let name =
                    if no_answer { "binaries_not_opened_timeout" } else { "binaries_not_found" };
                self.losses.add(name, 1);
                binary.problem = Some(error.to_string());
                !matches!(error, NotFound::Refused(_))
            }
        };
        (Arc::new(binary), retry)
    }

    /// Gives a binary what was found of it; whether its file could not be kept open.
    fn adopt(&mut self, binary: &mut Binary, found: Found) -> bool {
        match found.headers {
            Ok(headers) => binary.segments = headers.segments,
            Err(error) => {
                binary.kind = BinaryKind::Opaque;
                binary.problem = Some(error.to_string());
            }
        }
        if self.has_room() {
            self.open += 1;
            binary.file = Some(Arc::new(found.file));
            binary.debug = found.debug.map(Arc::new);
            return false;
        }
        self.losses.add("binaries_not_opened_limit", 1);
        binary.problem = Some(format!("{} other binaries are open, the limit", self.max_open));
        true
    }

    /// Whether one more file may be held open.
    fn has_room(&mut self) -> bool {
        if self.open >= self.max_open {
            self.sweep_if_due();
        }
        self.open < self.max_open
    }

    /// Whether one more binary may be known.
    fn has_entry(&mut self) -> bool {
        if self.known.len() >= self.max_known {
            self.sweep_if_due();
        }
        self.known.len() < self.max_known
    }

    /// Forgets what is not in use any more. That looks at everything, so it is not done for each mapping
    /// that finds no room.
    fn sweep_if_due(&mut self) {
        self.since_sweep = self.since_sweep.saturating_add(1);
        if self.since_sweep <= SWEEP_EVERY {
            return;
        }
        let mut open = HashSet::new();
        self.known.retain(|_, known| {
            let Some(binary) = known.binary.as_ref().and_then(Weak::upgrade) else { return false };
            if binary.file.is_some() {
                open.insert(binary.id);
            }
            true
        });
        self.open = open.len();
        self.since_sweep = 0;
    }

    fn vdso(&mut self) -> Arc<Binary> {
        if let Some(vdso) = &self.vdso {
            return Arc::clone(vdso);
        }
        let (headers, file, problem) = match vdso::read() {
            Ok((headers, file)) => (headers, Some(Arc::new(file)), None),
            Err(error) => (Headers::default(), None, Some(error.to_string())),
        };
        let vdso = Arc::new(Binary {
            id: self.number(),
            path: "[vdso]".to_owned(),
            kind: BinaryKind::Vdso,
            build_id: headers.build_id,
            file,
            debug: None,
            segments: headers.segments,
            problem,
        });
        self.vdso = Some(Arc::clone(&vdso));
        vdso
    }

    fn number(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        id
    }
}

#[cfg(test)]
mod tests;
