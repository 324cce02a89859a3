//! From the bytes of one perf side-band record to an event. The layout is perf-event-data's matter;
//! what is kept of it, and how much, is decided here.

use perf_event::data::endian::Native;
use perf_event::data::parse::{ParseConfig, ParseError, Parser};
use perf_event::data::{Comm, Exit as Task, Lost, Mmap2, RecordMetadata, Visitor};

use crate::model::event::{CommChange, Event, Exit, Fork, Mmap, MmapId, SidebandLost};

/// Length of the header in front of every record: type, flags, size.
pub const HEADER_LEN: usize = 8;

/// Longest path that is kept: the kernel's own limit (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Of a new name: the thread runs a new program (include/uapi/linux/perf_event.h).
const MISC_COMM_EXEC: u16 = 1 << 13;

/// Parses a record, header included. `None` for a record that says nothing to a profiler.
pub fn parse(record: &[u8], config: &ParseConfig<Native>) -> Result<Option<Event>, ParseError> {
    Parser::new(record, config.clone()).parse_record(ToEvent)
}

struct ToEvent;

impl Visitor<'_> for ToEvent {
    type Output = Option<Event>;

    fn visit_unimplemented(self, _: RecordMetadata) -> Self::Output {
        None
    }

    fn visit_unknown(self, _: std::borrow::Cow<'_, [u8]>, _: RecordMetadata) -> Self::Output {
        None
    }

    fn visit_mmap2(self, record: Mmap2<'_>, metadata: RecordMetadata) -> Self::Output {
        let id = match record.build_id() {
            Some(build_id) => MmapId::BuildId(build_id.to_vec()),
            None => MmapId::Inode {
                major: record.maj()?,
                minor: record.min()?,
                inode: record.ino()?,
                generation: record.ino_generation()?,
            },
        };
        Some(Event::Mmap(Mmap {
            time_ns: metadata.sample_id().time()?,
            pid: record.pid,
            start: record.addr,
            len: record.len,
            file_offset: record.pgoff,
            id,
            path: record.filename.iter().copied().take(MAX_PATH).collect(),
        }))
    }

    fn visit_comm(self, record: Comm<'_>, metadata: RecordMetadata) -> Self::Output {
        let mut comm = [0; profiler_common::record::COMM_LEN];
        // The last byte stays zero.
        let room = comm.iter_mut().rev().skip(1).rev();
        room.zip(record.comm.iter()).for_each(|(to, from)| *to = *from);
        Some(Event::Comm(CommChange {
            time_ns: metadata.sample_id().time()?,
            pid: record.pid,
            tid: record.tid,
            comm,
            exec: metadata.misc() & MISC_COMM_EXEC != 0,
        }))
    }

    fn visit_fork(self, record: Task, _: RecordMetadata) -> Self::Output {
        Some(Event::Fork(Fork {
            time_ns: record.time,
            pid: record.pid,
            tid: record.tid,
            parent_pid: record.ppid,
            parent_tid: record.ptid,
        }))
    }

    fn visit_exit(self, record: Task, _: RecordMetadata) -> Self::Output {
        Some(Event::Exit(Exit { time_ns: record.time, pid: record.pid, tid: record.tid }))
    }

    fn visit_lost(self, record: Lost, metadata: RecordMetadata) -> Self::Output {
        let time_ns = metadata.sample_id().time()?;
        Some(Event::SidebandLost(SidebandLost { time_ns, records: record.lost }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 77;
    const COMM: u32 = 3;
    const EXIT: u32 = 4;
    const FORK: u32 = 7;
    const LOST: u32 = 2;
    const MMAP2: u32 = 10;
    const MISC_BUILD_ID: u16 = 1 << 14;

    fn config() -> ParseConfig<Native> {
        ParseConfig::from(*super::super::sideband::builder(false).attrs())
    }

    /// A record as the kernel writes it: header, body, time.
    fn record(kind: u32, misc: u16, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let size = (HEADER_LEN + body.len() + 8) as u16;
        let header = [&kind.to_ne_bytes()[..], &misc.to_ne_bytes(), &size.to_ne_bytes()].concat();
        [header, body, TIME.to_ne_bytes().to_vec()].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_ne_bytes()).collect()
    }

    fn parsed(bytes: &[u8]) -> Event {
        parse(bytes, &config()).unwrap().unwrap()
    }

    #[test]
    fn a_mapping_with_and_without_build_id() {
        let place =
            [words(&[10, 11]), [0x1000u64, 0x2000, 0x3000].map(u64::to_ne_bytes).concat()].concat();
        let tail = [words(&[5, 2]), b"/bin/x\0\0".to_vec()].concat();
        let inode = [words(&[8, 1]), [99u64, 7].map(u64::to_ne_bytes).concat()].concat();
        let build_id = [vec![20, 0, 0, 0], vec![0xab; 20]].concat();
        for (misc, id, expected) in [
            (0, inode, MmapId::Inode { major: 8, minor: 1, inode: 99, generation: 7 }),
            (MISC_BUILD_ID, build_id, MmapId::BuildId(vec![0xab; 20])),
        ] {
            let Event::Mmap(mmap) = parsed(&record(MMAP2, misc, &[&place, &id, &tail])) else {
                panic!("not a mapping")
            };
            assert_eq!((mmap.time_ns, mmap.pid, mmap.start), (TIME, 10, 0x1000));
            assert_eq!((mmap.len, mmap.file_offset), (0x2000, 0x3000));
            assert_eq!((mmap.id, mmap.path), (expected, b"/bin/x".to_vec()));
        }
    }

    #[test]
    fn names_births_and_deaths() {
        let name = record(COMM, MISC_COMM_EXEC, &[&words(&[10, 11]), b"abcdefghijklmnop"]);
        let Event::Comm(name) = parsed(&name) else { panic!("not a name") };
        assert_eq!((name.pid, name.tid, name.exec, name.time_ns), (10, 11, true, TIME));
        assert_eq!(&name.comm, b"abcdefghijklmno\0", "the kernel never writes more");
        let task = [words(&[20, 10, 21, 11]), 55u64.to_ne_bytes().to_vec()].concat();
        let Event::Fork(fork) = parsed(&record(FORK, 0, &[&task])) else { panic!("not a birth") };
        let born = Fork { time_ns: 55, pid: 20, tid: 21, parent_pid: 10, parent_tid: 11 };
        assert_eq!(fork, born);
        let Event::Exit(exit) = parsed(&record(EXIT, 0, &[&task])) else { panic!("not a death") };
        assert_eq!(exit, Exit { time_ns: 55, pid: 20, tid: 21 });
        let lost = record(LOST, 0, &[&1u64.to_ne_bytes(), &9u64.to_ne_bytes()]);
        let Event::SidebandLost(lost) = parsed(&lost) else { panic!("not a loss") };
        assert_eq!(lost, SidebandLost { time_ns: TIME, records: 9 });
    }

    #[test]
    fn damaged_and_unknown_records_are_no_events() {
        let whole = record(MMAP2, MISC_BUILD_ID, &[&[0xff; 72]]);
        assert!(parse(&whole, &config()).is_err(), "a build ID of 255 bytes");
        for kind in [COMM, EXIT, FORK, LOST, MMAP2] {
            for len in 0..64 {
                let bytes = record(kind, 0, &[&vec![0xff; len]]);
                for cut in 0..bytes.len() {
                    let _ = parse(&bytes[..cut], &config());
                }
            }
        }
        assert!(parse(&record(999, 0, &[&[0; 8]]), &config()).is_ok_and(|e| e.is_none()));
    }
}
