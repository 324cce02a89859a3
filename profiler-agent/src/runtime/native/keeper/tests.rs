//! Against a kernel of plain memory.

use std::collections::BTreeMap;
use std::fs::File;

use profiler_common::native::lookup::{Bytes, Region};
use profiler_common::native::step::Registers;
use profiler_common::native::walk::Arena;
use profiler_common::native::{Mapping as Range, MappingKind};
use profiler_common::walk::WalkEnd;
use zerocopy::FromBytes;

use super::*;
use crate::model::event::Rest;
use crate::model::frame::{BinaryKind, Segment};
use crate::model::space::{Finished, Mapping, Unfinished};
use crate::model::tables::ProcessesFull;

const PAGE: u64 = 0x1000;
const LOOK: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

/// A kernel with one region, in which nothing is ever placed where something was.
struct Fake {
    total: u64,
    end: u32,
    places: BTreeMap<Place, Vec<u8>>,
    resting: Vec<(Instant, Place)>,
    processes: BTreeMap<u32, MappingList>,
    max_processes: usize,
    writes: usize,
}

impl Fake {
    fn bytes(&self, resting: bool) -> u64 {
        let rests = |place: &Place| self.resting.iter().any(|(_, p)| p == place);
        let places = self.places.iter().filter(|(place, _)| rests(place) == resting);
        places.map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

/// The bytes of its region.
struct View(Vec<u8>);

impl Region for View {
    fn u8(&self, at: u32) -> u64 {
        Bytes(&self.0).u8(at)
    }

    fn u16(&self, at: u32) -> u64 {
        Bytes(&self.0).u16(at)
    }

    fn u32(&self, at: u32) -> u64 {
        Bytes(&self.0).u32(at)
    }

    fn u64(&self, at: u32) -> u64 {
        Bytes(&self.0).u64(at)
    }

    fn word(&self, at: u32) -> u64 {
        Bytes(&self.0).word(at)
    }
}

impl Arena for Fake {
    type Region<'a> = View;

    fn region(&mut self, number: u32) -> Option<View> {
        let mut bytes = vec![0; self.end as usize];
        for (place, placed) in &self.places {
            bytes[place.offset as usize..][..placed.len()].copy_from_slice(placed);
        }
        (number == 0).then_some(View(bytes))
    }
}

impl KernelTables for Fake {
    fn allow(&mut self, bytes: u64) {
        self.total = bytes;
    }

    fn place(&mut self, bytes: &[u8], now: Instant) -> Option<Place> {
        if self.room(now).free < bytes.len() as u64 {
            return None;
        }
        let place = Place { region: 0, offset: self.end };
        self.end += bytes.len() as u32;
        self.places.insert(place, bytes.to_vec());
        self.writes += 1;
        Some(place)
    }

    fn free(&mut self, place: Place, now: Instant) {
        assert!(self.places.contains_key(&place) && self.resting.iter().all(|(_, p)| *p != place));
        let led = |list: &MappingList| (list.region, list.offset) == (place.region, place.offset);
        assert!(!self.processes.values().any(led), "a process is led to {place:?}");
        self.resting.push((now + SECOND, place));
    }

    fn room(&mut self, now: Instant) -> Room {
        let (over, resting) = self.resting.drain(..).partition(|(until, _)| *until <= now);
        self.resting = resting;
        let over: Vec<(Instant, Place)> = over;
        over.iter().for_each(|(_, place)| drop(self.places.remove(place)));
        let (used, resting) = (self.bytes(false), self.bytes(true));
        let free = self.total - used - resting;
        Room { free, resting, used, total: self.total, mapped: 0 }
    }

    fn set(&mut self, pid: u32, list: MappingList) -> Result<(), ProcessesFull> {
        if self.processes.len() >= self.max_processes && !self.processes.contains_key(&pid) {
            return Err(ProcessesFull);
        }
        self.processes.insert(pid, list);
        Ok(())
    }

    fn remove(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    fn processes(&self) -> Vec<u32> {
        self.processes.keys().copied().collect()
    }
}

/// A keeper, its clock, and the binaries that are around.
struct World {
    keeper: Keeper<Fake>,
    now: Instant,
}

impl World {
    fn new(total: u64) -> Self {
        let kernel = Fake {
            total,
            end: 0,
            places: BTreeMap::new(),
            resting: Vec::new(),
            processes: BTreeMap::new(),
            max_processes: 1000,
            writes: 0,
        };
        Self { keeper: Keeper::new(kernel), now: Instant::now() }
    }

    fn has(&mut self, pid: u32, space: &Space) {
        self.keeper.apply(SpaceChange { pid, space: Some(Arc::clone(space)) }, self.now);
        self.settle(Duration::from_millis(2));
    }

    fn ends(&mut self, pid: u32) {
        self.keeper.apply(SpaceChange { pid, space: None }, self.now);
        self.settle(Duration::ZERO);
    }

    fn settle(&mut self, later: Duration) {
        self.keeper.settle(self.now);
        self.now += later;
    }

    /// Reads all binaries that are wanted: each has a table of so many bytes. Their names.
    fn load(&mut self, bytes: usize) -> Vec<String> {
        let jobs = self.keeper.take_jobs();
        for job in &jobs {
            let bytes = vec![7; bytes].into();
            let part = Part { address: 0, len: PAGE, rules: 8, bytes, rule_count: 1 };
            self.keeper.loaded(job.table, Some(vec![part]), self.now);
        }
        self.settle(Duration::from_millis(2));
        jobs.into_iter().map(|job| job.binary.path.clone()).collect()
    }

    /// The kinds of the ranges that a process has in the kernel.
    fn kinds(&self, pid: u32) -> Option<Vec<&'static str>> {
        let kernel = &self.keeper.kernel;
        let list = kernel.processes.get(&pid)?;
        let bytes = &kernel.places[&place_of(*list)];
        let ranges = <[Range]>::ref_from_bytes(bytes).unwrap();
        assert_eq!(ranges.len(), list.count as usize);
        Some(ranges.iter().map(|r| MappingKind::from_raw(r.kind).unwrap().name()).collect())
    }

    fn used(&mut self) -> u64 {
        self.keeper.kernel.room(self.now).used
    }

    fn lost(&self, name: &str) -> u64 {
        self.keeper.losses().get(name)
    }
}

/// A binary of one page of text.
fn binary(name: &str, has_file: bool) -> Arc<Binary> {
    Arc::new(Binary {
        id: u32::from(name.as_bytes()[0]),
        path: name.to_owned(),
        kind: BinaryKind::File,
        build_id: name.to_owned(),
        file: has_file.then(|| Arc::new(File::open("/dev/null").unwrap())),
        segments: vec![Segment { file_offset: 0, file_size: PAGE, address: 0 }],
        problem: None,
    })
}

/// Memory with a page of each of these binaries; `*` is generated code, a capital has no file.
fn space(names: &str) -> Space {
    let mapping = |(i, name): (usize, char)| {
        let start = (i as u64 + 1) * 2 * PAGE;
        let code = match name {
            '*' => Code::Generated,
            _ => Code::Binary(binary(&name.to_lowercase().to_string(), name.is_lowercase())),
        };
        Mapping { start, end: start + PAGE, file_offset: 0, code }
    };
    Arc::new(names.chars().enumerate().map(mapping).collect())
}

#[test]
fn a_process_has_a_list_at_once_and_tables_as_they_come() {
    let mut world = World::new(10_000);
    world.has(1, &space("ab*"));
    assert_eq!(world.kinds(1).unwrap(), ["pending", "pending", "no_rows"]);
    assert_eq!(world.load(100), ["a", "b"]);
    assert_eq!(world.kinds(1).unwrap(), ["table", "table", "no_rows"]);
    // Another process of the same program finds all of it.
    world.has(2, &space("ab"));
    assert_eq!(world.kinds(2).unwrap(), ["table", "table"]);
    assert!(world.keeper.take_jobs().is_empty());
}

#[test]
fn a_child_shares_its_parents_list_until_it_runs_a_program() {
    let mut world = World::new(10_000);
    let parents = space("ab");
    world.has(1, &parents);
    world.load(100);
    world.has(2, &parents);
    assert_eq!(world.keeper.kernel.processes[&1], world.keeper.kernel.processes[&2]);
    world.has(2, &space("c"));
    assert_eq!((world.kinds(1).unwrap().len(), world.kinds(2).unwrap()), (2, vec!["pending"]));
    // The list outlives whoever had it first.
    world.has(3, &parents);
    world.ends(1);
    assert_eq!((world.kinds(1), world.kinds(3).unwrap()), (None, vec!["table", "table"]));
}

#[test]
fn of_short_processes_nothing_is_left_but_their_tables() {
    let mut world = World::new(100_000);
    let shell = space("sl");
    world.has(1, &shell);
    world.load(1000);
    let before = world.used();
    for pid in 10..510 {
        world.has(pid, &shell);
        world.has(pid, &Space::default());
        world.has(pid, &space("tl"));
        world.load(1000);
        assert_eq!(world.kinds(pid).unwrap(), ["table", "table"]);
        world.ends(pid);
    }
    assert_eq!(world.used(), before + 1000, "the table of their program");
    assert_eq!(world.keeper.kernel.processes.len(), 1);
    world.now += 2 * SECOND;
    let room = world.keeper.kernel.room(world.now);
    assert_eq!((room.resting, world.keeper.held(world.now).processes), (0, 1));
    assert_eq!(world.keeper.losses(), &Losses::default());
}

#[test]
fn what_has_no_file_may_have_one_later() {
    let mut world = World::new(10_000);
    world.has(1, &space("A"));
    assert!(world.keeper.take_jobs().is_empty());
    assert_eq!(world.kinds(1).unwrap(), ["no_rows"]);
    world.has(2, &space("a"));
    assert_eq!(world.load(100), ["a"]);
    assert_eq!(world.kinds(2).unwrap(), ["table"]);
    world.has(3, &space("A"));
    assert_eq!(world.kinds(3).unwrap(), ["table"], "the table needs no file any more");
}

#[test]
fn a_binary_without_unwind_information_has_no_rows() {
    let mut world = World::new(10_000);
    world.has(1, &space("a"));
    let job = world.keeper.take_jobs().remove(0);
    world.keeper.loaded(job.table, None, world.now);
    world.settle(Duration::ZERO);
    assert_eq!(world.kinds(1).unwrap(), ["no_rows"]);
    world.has(2, &space("a"));
    assert!(world.keeper.take_jobs().is_empty(), "it is not read again");
}

#[test]
fn the_table_that_was_not_mapped_for_longest_makes_room() {
    let mut world = World::new(2_800);
    for (pid, name) in [(1, "a"), (2, "b"), (3, "c")] {
        world.has(pid, &space(name));
        world.load(600);
    }
    world.ends(2);
    world.ends(1);
    // 1,800 bytes are used, 175 are kept for lists, and 350 shall be spare.
    world.has(4, &space("d"));
    world.load(600);
    world.now += 2 * SECOND;
    world.has(5, &space("a"));
    assert_eq!(world.kinds(5).unwrap(), ["table"], "the colder one went");
    world.has(6, &space("b"));
    assert_eq!((world.kinds(6).unwrap(), world.load(600)), (vec!["pending"], vec!["b".to_owned()]));
}

#[test]
fn what_finds_no_room_is_counted_and_tried_again_when_there_is_some() {
    let mut world = World::new(2_000);
    for (pid, name) in [(1, "a"), (2, "b"), (3, "c")] {
        world.has(pid, &space(name));
        world.load(800);
    }
    assert_eq!(
        (world.kinds(2).unwrap(), world.kinds(3).unwrap()),
        (vec!["table"], vec!["no_rows"])
    );
    assert_eq!(world.lost("unwind_tables_not_loaded_budget"), 1);
    world.now += 10 * SECOND;
    world.settle(SECOND);
    assert!(world.keeper.take_jobs().is_empty(), "no room, no try");
    world.ends(1);
    world.settle(2 * SECOND);
    world.settle(SECOND);
    assert_eq!(world.load(800), ["c"]);
    assert_eq!(world.kinds(3).unwrap(), ["table"]);
}

#[test]
fn what_would_never_fit_drives_nothing_out() {
    let mut world = World::new(2_000);
    world.has(1, &space("a"));
    world.load(800);
    world.ends(1);
    world.has(2, &space("b"));
    world.load(5_000);
    world.now += 10 * SECOND;
    world.has(3, &space("a"));
    assert_eq!(
        (world.kinds(2).unwrap(), world.kinds(3).unwrap()),
        (vec!["no_rows"], vec!["table"])
    );
    assert_eq!(world.lost("unwind_tables_not_loaded_budget"), 1);
}

#[test]
fn lists_have_room_when_tables_have_none() {
    let mut world = World::new(3_200);
    world.has(1, &space("a"));
    world.load(3_100);
    assert_eq!(world.lost("unwind_tables_not_loaded_budget"), 1);
    world.has(2, &space(&"*".repeat(80)));
    assert_eq!(world.kinds(2).unwrap().len(), 80);
    world.has(3, &space(&"*".repeat(80)));
    assert_eq!((world.kinds(3), world.lost("unwind_lists_not_written_budget")), (None, 1));
}

#[test]
fn a_process_that_maps_all_the_time_waits() {
    let mut world = World::new(1 << 20);
    for i in 0..1000 {
        world
            .keeper
            .apply(SpaceChange { pid: 1, space: Some(space(&"*".repeat(500 + i % 2))) }, world.now);
        world.settle(Duration::from_micros(100));
    }
    let writes = world.keeper.kernel.writes;
    assert!((8..=12).contains(&writes), "100 ms at 10 ms for each: {writes}");
    world.settle(SECOND);
    world.settle(SECOND);
    assert_eq!(world.kinds(1).unwrap().len(), 501, "the last change is in");
}

#[test]
fn lists_that_still_wait_are_written_now_and_then() {
    let mut world = World::new(1 << 20);
    let all = "abcdefghijklmnopqrst";
    world.has(1, &space(all));
    let jobs = world.keeper.take_jobs();
    for job in &jobs {
        let bytes = vec![7; 64].into();
        let part = Part { address: 0, len: PAGE, rules: 8, bytes, rule_count: 1 };
        world.keeper.loaded(job.table, Some(vec![part]), world.now);
        world.settle(Duration::from_millis(10));
    }
    assert_eq!(world.kinds(1).unwrap(), ["table"; 20], "complete, at once");
    let lists = world.keeper.kernel.writes - jobs.len();
    assert!((3..=4).contains(&lists), "one for each 100 ms, first and last: {lists}");
}

#[test]
fn processes_that_nobody_knows_are_swept_away() {
    let mut world = World::new(10_000);
    world.has(1, &space("*"));
    let list = world.keeper.kernel.processes[&1];
    world.keeper.kernel.processes.extend([(8, list), (9, list)]);
    world.settle(LOOK);
    world.settle(LOOK / 2);
    assert!(world.kinds(8).is_some(), "it may just have been born");
    world.has(9, &space("*"));
    world.settle(LOOK);
    world.settle(LOOK);
    let left: Vec<u32> = world.keeper.kernel.processes();
    assert_eq!((left, world.lost("unwind_processes_swept")), (vec![1, 9], 1));
}

#[test]
fn a_full_table_of_processes_is_counted() {
    let mut world = World::new(10_000);
    world.keeper.kernel.max_processes = 1;
    world.has(1, &space("*"));
    world.has(2, &space("*"));
    assert_eq!((world.kinds(2), world.lost("unwind_processes_beyond_limit")), (None, 1));
    world.ends(2);
    world.ends(1);
    assert_eq!(world.used(), 0);
}

/// A stack of one frame, whose frame pointer says that there is no more, at the first byte of `space`.
fn unfinished(ticket: u64, space: &Space) -> Unfinished {
    let at = Registers { pc: space[0].start, sp: 0x8000, fp: 0, lr: 0, exact: 1 };
    let rest = Rest { at, stack: vec![0; 64].into() };
    Unfinished { ticket, space: Arc::clone(space), rest, limit: 9 }
}

#[test]
fn a_stack_waits_for_the_tables_of_its_process() {
    let mut world = World::new(1 << 20);
    let ab = space("ab");
    world.keeper.hold(unfinished(1, &ab), world.now);
    world.settle(Duration::from_millis(2));
    assert!(world.keeper.take_finished().is_empty() && world.keeper.is_waiting());
    // Its process has ended meanwhile, or was never known; its list is kept for it.
    let jobs = world.keeper.take_jobs();
    assert_eq!(jobs.len(), 2);
    jobs.iter().for_each(|job| world.keeper.loaded(job.table, None, world.now));
    world.settle(Duration::ZERO);
    let finished = Finished { ticket: 1, frames: Vec::new(), end: WalkEnd::Complete };
    assert_eq!(world.keeper.take_finished(), [finished]);
    assert!(!world.keeper.is_waiting());
    assert_eq!(world.used(), 0, "the list is gone with the stack");
}

#[test]
fn a_stack_does_not_wait_for_ever_and_not_in_any_crowd() {
    let mut world = World::new(1 << 20);
    let ab = space("ab");
    (0..1100).for_each(|ticket| world.keeper.hold(unfinished(ticket, &ab), world.now));
    world.settle(Duration::from_secs(3));
    let refused = world.keeper.take_finished().len() as u64;
    assert!(refused > 0 && world.lost("unfinished_stacks_beyond_limit") == refused);
    world.settle(Duration::ZERO);
    let late = world.keeper.take_finished();
    assert_eq!(late.len() as u64 + refused, 1100);
    assert!(late.iter().all(|stack| stack.end == WalkEnd::NotReady));
    assert_eq!(world.used(), 0);
}
