//! The stage: takes events, answers with attributed stacks.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::address_space::{AddressSpace, Change};
use super::attribute::resolve;
use super::backoff::Backoff;
use super::binary::Binaries;
use super::headless::Headless;
use super::identity::{self, Cgroups};
use super::jit::JitMaps;
use super::life::{Image, Source};
use super::mounts::Mounts;
use super::patience::Patient;
use super::procfs::{Procfs, now_ns};
use super::service::Rules;
use super::stacks::{Known, Stacks};
use super::table::{NO_MEMORY, Table};
use super::text::{comm, printable};
use super::{Attributed, Config};
use crate::model::event::{Event, Exit, Mmap, RawStack};
use crate::model::frame::Stack;
use crate::model::losses::Losses;
use crate::model::observation::ThreadInfo;
use crate::model::space::{Mapping, Space, SpaceChange};

/// `/proc` could not be read at all: nothing could be attributed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the processes in {path}: {source}; mount procfs there, and run as root")]
pub struct ScanError {
    /// Where procfs was looked for.
    path: PathBuf,
    /// Why not.
    source: io::Error,
}

/// Every process that is known.
#[derive(Debug)]
pub struct Processes {
    procfs: Procfs,
    files: Patient<Procfs>,
    max_process_mappings: usize,
    table: Table,
    binaries: Binaries,
    jit: JitMaps,
    cgroups: Cgroups,
    services: Rules,
    stacks: Stacks,
    headless: Headless,
    /// Side-band records were lost, and no scan has made up for it.
    missed_events: bool,
    rescan: Backoff,
    sampled: usize,
    losses: Losses,
}

impl Processes {
    /// Knows no process yet.
    pub fn new(config: Config) -> Self {
        let procfs = Procfs::new(config.proc.clone());
        Self {
            max_process_mappings: config.max_process_mappings,
            table: Table::new(&config),
            binaries: Binaries::new(&config),
            jit: JitMaps::new(config.max_open_perf_maps),
            cgroups: Cgroups::default(),
            services: config.services,
            stacks: Stacks::new(config.max_cached_frames),
            headless: Headless::default(),
            missed_events: false,
            rescan: Backoff::new(Duration::from_secs(1), Duration::from_secs(10)),
            sampled: 0,
            losses: Losses::default(),
            files: Patient::new(procfs.clone(), Mounts::new(procfs.clone())),
            procfs,
        }
    }

    /// Reads all processes that live now. To be called once the side-band is open, so that nothing
    /// happens unseen between the two: what the side-band tells twice is recognized.
    pub fn scan(&mut self) -> Result<(), ScanError> {
        let at_ns = now_ns();
        let pids = self
            .procfs
            .pids()
            .map_err(|source| ScanError { path: self.procfs.path().to_owned(), source })?;
        let gone = {
            let present: HashSet<u32> = pids.iter().copied().collect();
            let living = self.table.living();
            living.into_iter().filter(move |pid| !present.contains(pid))
        };
        for pid in gone {
            self.table.end(pid, at_ns);
        }
        for pid in pids {
            if let Err(error) = self.read(pid, pid) {
                // Mostly it has just ended.
                tracing::debug!(pid, %error, "process not read");
            }
        }
        Ok(())
    }

    /// Follows what happened to a process. Events come in the order of time. Samples say nothing new.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Mmap(mmap) => self.map(mmap),
            Event::Comm(change) => {
                if change.exec {
                    self.headless.forget(change.pid);
                }
                self.table.comm(change);
            }
            Event::Fork(fork) => {
                if fork.pid != fork.parent_pid {
                    self.headless.forget(fork.pid);
                }
                self.table.fork(fork);
            }
            Event::Exit(exit) => self.exit(exit),
            Event::SidebandLost(_) => self.missed_events = true,
            Event::OnCpu(_) | Event::Block(_) | Event::Resume(_) | Event::Rates(_) => {}
        }
        for pid in self.headless.ended(event.time_ns(), &self.procfs) {
            self.table.end(pid, event.time_ns());
        }
        self.make_up_for_missed_events(event.time_ns());
    }

    /// Forgets what was kept of those that ended long ago. All events up to this moment were applied.
    pub fn forget_gone(&mut self, until_ns: u64) {
        self.table.expire(until_ns);
        self.stacks.forget_gone(until_ns, || self.table.versions());
    }

    /// Says whose a stack is and where its addresses lie.
    pub fn attribute(&mut self, raw: &RawStack) -> Attributed {
        self.meet(raw);
        self.look_for_perf_map(raw);
        let stack = self.stack(raw);
        let life = self.table.entry(raw.pid);
        let thread = identity::thread(life, raw, (&mut self.cgroups, &self.services), &self.procfs);
        Attributed { thread, stack }
    }

    /// Whose a thread is of which no stack came: by what is known of it, or `/proc` says.
    pub fn thread(&mut self, pid: u32, tid: u32) -> Arc<ThreadInfo> {
        if self.table.get(pid).is_none_or(|life| life.source == Source::Unread)
            && let Err(error) = self.read(pid, tid)
        {
            tracing::debug!(pid, tid, %error, "process not read");
        }
        let known = (&mut self.cgroups, &self.services);
        identity::silent_thread(self.table.entry(pid), (pid, tid), known, &self.procfs)
    }

    /// The memory of a process as it is now, to attribute a stack later that is not whole yet.
    pub fn space(&mut self, pid: u32) -> Space {
        self.table.entry(pid).space().snapshot()
    }

    /// Reads one process, alone: its memory as it is now, empty where it has none.
    ///
    /// # Errors
    /// Where it has ended, or may not be read.
    pub fn look(&mut self, pid: u32) -> io::Result<Space> {
        self.read(pid, pid)?;
        Ok(self.space(pid))
    }

    /// Says where the addresses of a stack lay in the memory that its process had then. Generated code
    /// has its names from the process as it is now.
    pub fn attribute_in(&mut self, raw: &RawStack, space: &Space) -> Stack {
        let life = self.table.entry(raw.pid);
        let mut jit = life.jit.take();
        let resolved = resolve(raw, space, || {
            Arc::clone(jit.get_or_insert_with(|| self.jit.make(raw.pid, &self.procfs)))
        });
        self.table.entry(raw.pid).jit = jit;
        self.losses.add("user_frames_unmapped", resolved.unmapped);
        resolved.frames.into()
    }

    /// Counts every process among those whose memory changed: for who is to be told of others from now on.
    pub fn tell_all_again(&mut self) {
        self.table.note_all();
    }

    /// The processes whose executable memory changed since this was last asked, with what it is now.
    pub fn take_changed(&mut self) -> Vec<SpaceChange> {
        let changed = self.table.take_changed();
        let mut changes = Vec::with_capacity(changed.len());
        for pid in changed {
            // One that an event named but nobody saw begin has more than the event told.
            if self.table.get(pid).is_some_and(|life| life.source == Source::Unread)
                && self.read(pid, pid).is_err()
            {
                // It may be gone. If it is not, a sample of it asks again.
                continue;
            }
            let living = self.table.get(pid).filter(|life| life.ended_at_ns.is_none());
            changes.push(SpaceChange { pid, space: living.map(|life| life.space().snapshot()) });
        }
        changes
    }

    /// What was turned away so far.
    pub fn losses(&self) -> Losses {
        let mut losses = self.losses.clone();
        losses.merge(self.table.losses());
        losses.merge(self.binaries.losses());
        losses.add("perf_maps_not_opened_limit", self.jit.not_opened());
        losses
    }

    /// Names services by other rules from now on.
    pub fn set_services(&mut self, services: Rules) {
        self.services = services;
        self.table.forget_labels();
    }

    /// Processes that at least one stack was attributed to.
    pub fn process_count(&self) -> usize {
        self.sampled
    }

    fn map(&mut self, mmap: &Mmap) {
        let life = self.table.entry(mmap.pid);
        if !life.is_news(mmap.time_ns) {
            return;
        }
        let parent = life.parent;
        // What the kernel maps first of a new program is its executable.
        if life.image == Image::Unknown && matches!(life.source, Source::Known { .. }) {
            life.set_image(image(&mmap.path));
        }
        if let Some(mapping) = self.mapping(mmap, parent) {
            self.table.map(mmap.pid, mapping);
        }
    }

    /// A thread ended: the process too, if it was the first and has no others, or the last of the others.
    fn exit(&mut self, exit: &Exit) {
        let threaded = self.table.get(exit.pid).is_some_and(|life| life.threaded);
        let last = if exit.pid == exit.tid {
            !threaded || !self.headless.first_thread_ended(exit.pid, &self.procfs)
        } else {
            self.headless.thread_ended(exit.pid, &self.procfs)
        };
        self.table.exit(exit, last);
    }

    fn mapping(&mut self, mmap: &Mmap, parent: Option<u32>) -> Option<Mapping> {
        let code = self.binaries.code(mmap, parent, &self.files)?;
        let end = mmap.start.saturating_add(mmap.len);
        Some(Mapping { start: mmap.start, end, file_offset: mmap.file_offset, code })
    }

    fn make_up_for_missed_events(&mut self, now_ns: u64) {
        if self.missed_events && self.rescan.is_due(now_ns) {
            self.missed_events = self.scan().is_err();
        }
    }

    /// Takes note of the process of a stack, and reads it if nobody told of it.
    fn meet(&mut self, raw: &RawStack) {
        let life = self.table.entry(raw.pid);
        if life.sampled_at_ns == 0 {
            self.sampled += 1;
        }
        life.sampled_at_ns = raw.time_ns.max(1);
        let source = life.source;
        match source {
            Source::Known { .. } => return,
            Source::Unread if self.read(raw.pid, raw.tid).is_ok() => return,
            Source::Unread => {
                self.table.entry(raw.pid).source = Source::Missed;
                self.table.end(raw.pid, raw.time_ns);
            }
            Source::Missed => {}
        }
        self.losses.add("stacks_of_unknown_processes", 1);
    }

    /// Reads what `/proc` says of a process.
    fn read(&mut self, pid: u32, tid: u32) -> io::Result<()> {
        let at_ns = now_ns();
        let dir = self.procfs.process(pid)?;
        let mut maps = dir.maps(at_ns, self.max_process_mappings)?;
        if maps.mappings.is_empty() && tid != pid {
            // Where the first thread has ended, only the others still show the memory.
            maps = self.procfs.process(tid)?.maps(at_ns, self.max_process_mappings)?;
        }
        let name = dir.read("comm")?;
        if maps.mappings.is_empty() && self.table.get(pid).is_some_and(|l| l.ended_at_ns.is_some())
        {
            // A zombie: what is known of its life is worth more.
            return Ok(());
        }
        let executable = match dir.executable() {
            Ok(path) => image(&path),
            Err(_) if maps.mappings.is_empty() => Image::Kernel,
            Err(_) => Image::Unknown,
        };
        self.losses.add("mappings_lost_limit", maps.beyond_limit);
        self.losses.add("maps_lines_malformed", maps.malformed);

        let parent = self.table.get(pid).and_then(|life| life.parent);
        let mut space = AddressSpace::new(self.table.budget().clone());
        for mmap in &maps.mappings {
            if let Some(mapping) = self.mapping(mmap, parent) {
                let is_lost = space.insert(mapping) == Change::Full;
                self.losses.add("mappings_lost_limit", u64::from(is_lost));
            }
        }
        self.table.note_change(pid);
        let version = self.table.next_version();
        let life = self.table.entry(pid);
        life.replace_space(space, version);
        life.source = Source::Known { at_ns };
        life.threaded = true;
        life.ended_at_ns = None;
        life.set_image(executable);
        let name = comm(name.strip_suffix(b"\n").unwrap_or(&name));
        if *life.name != *name {
            life.name = name.into();
        }
        Ok(())
    }

    fn stack(&mut self, raw: &RawStack) -> Stack {
        let mut known = self.resolve(raw);
        if known.unmapped > 0 && self.reread(raw) {
            known = self.resolve(raw);
        }
        self.losses.add("user_frames_unmapped", known.unmapped);
        known.stack
    }

    fn resolve(&mut self, raw: &RawStack) -> Known {
        let life = self.table.entry(raw.pid);
        let version = if raw.user.is_empty() { NO_MEMORY } else { life.version() };
        if let Some(known) = self.stacks.get(version, raw) {
            return known;
        }
        let mut jit = life.jit.take();
        let resolved = resolve(raw, life.space().mappings(), || {
            Arc::clone(jit.get_or_insert_with(|| self.jit.make(raw.pid, &self.procfs)))
        });
        life.jit = jit;
        let known = Known { stack: resolved.frames.into(), unmapped: resolved.unmapped };
        self.stacks.keep(version, raw, known.clone());
        known
    }

    /// Reads the mappings of a process again, since the kernel does not tell when one is moved
    /// (`mremap`). Whether they have changed.
    fn reread(&mut self, raw: &RawStack) -> bool {
        let life = self.table.entry(raw.pid);
        let before = life.version();
        if life.ended_at_ns.is_some() || !life.reread.is_due(raw.time_ns) {
            return false;
        }
        self.read(raw.pid, raw.tid).is_ok() && self.table.entry(raw.pid).version() != before
    }

    /// A runtime may begin to write its perf map long after it began to generate code.
    fn look_for_perf_map(&mut self, raw: &RawStack) {
        let life = self.table.entry(raw.pid);
        let Some(map) = &life.jit else { return };
        let has_own = map.file.is_some() && map.pid == raw.pid;
        if has_own || life.ended_at_ns.is_some() || !life.jit_retry.is_due(raw.time_ns) {
            return;
        }
        if let Some(map) = self.jit.retry(raw.pid, &self.procfs) {
            let version = self.table.next_version();
            let life = self.table.entry(raw.pid);
            life.jit = Some(map);
            life.set_version(version);
        }
    }
}

/// What a process runs, by the path of its executable.
fn image(path: &[u8]) -> Image {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    // A memory file is called differently each time, so the name of the process says more.
    if path.starts_with(b"/memfd:") {
        return Image::File("".into());
    }
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    Image::File(printable(name).into())
}

#[cfg(test)]
mod tests;
