//! Packs rows into the bytes of a table, as [`profiler_common::native::lookup`] describes them.

use ahash::AHashMap;
use profiler_common::native::lookup::{CHUNK_BYTES, CHUNK_SHIFT};
use profiler_common::native::rule::Rule;

use super::table::{Limits, NoTable, Part};

/// Bytes of a chunk's entry and its largest block.
const MAX_CHUNK: usize = 4 + 2 + 256 + 255 * 2;
/// A gap of more chunks than this ends a part: its entries would take more than a part's own rules.
const MAX_GAP: u64 = 1024;
/// Rules of one part at most; a number has 16 bits.
const MAX_RULES: usize = 1 << 16;

/// Takes rows in the order of addresses.
pub(super) struct Encoder {
    limits: Limits,
    /// Bytes of finished parts.
    size: u64,
    parts: Vec<Part>,
    open: Option<OpenPart>,
}

impl Encoder {
    /// An encoder whose parts stay within the limits.
    pub fn new(limits: &Limits) -> Self {
        Self { limits: *limits, size: 0, parts: Vec::new(), open: None }
    }

    /// The rule of the addresses from `start` to before `end`, none of which had one before.
    pub fn add(&mut self, start: u64, end: u64, rule: Rule) -> Result<(), NoTable> {
        if let Some(part) = &self.open
            && start.saturating_sub(part.end) >> CHUNK_SHIFT > MAX_GAP
        {
            self.close()?;
        }
        if let Some(part) = &self.open
            && start > part.end
        {
            let gap = part.end;
            self.hold(gap, start, Rule::NONE)?;
        }
        self.hold(start, end, rule)
    }

    /// All parts.
    pub fn finish(mut self) -> Result<Vec<Part>, NoTable> {
        self.close()?;
        Ok(self.parts)
    }

    /// Lets a rule hold from `start`, where the last one ended, to `end`.
    fn hold(&mut self, start: u64, end: u64, rule: Rule) -> Result<(), NoTable> {
        let mut at = start;
        while at < end {
            if self.open.as_ref().is_some_and(|part| part.is_full(at, &self.limits)) {
                self.close()?;
            }
            let part = self.open.get_or_insert_with(|| OpenPart::new(at));
            at = part.hold(at, end, rule);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), NoTable> {
        if let Some(part) = self.open.take() {
            let part = part.finish();
            self.size += part.bytes.len() as u64;
            if self.size > self.limits.table {
                return Err(NoTable::TooLarge { what: "table", limit: self.limits.table });
            }
            self.parts.push(part);
        }
        Ok(())
    }
}

/// A part that grows.
struct OpenPart {
    /// Its first address.
    address: u64,
    /// Behind the last address that has a rule.
    end: u64,
    /// Finished chunks: how many rows, and where in `blocks` the block is, in units of 2 bytes; without rows,
    /// the number of the rule.
    chunks: Vec<(u8, u32)>,
    blocks: Vec<u8>,
    /// The rule number that `blocks` ends with.
    last: Option<u16>,
    rules: Vec<Rule>,
    numbers: AHashMap<Rule, u16>,
    chunk: Chunk,
}

/// The chunk that rows are added to.
#[derive(Default)]
struct Chunk {
    /// The rule at its first byte.
    first: u16,
    /// The rule at its last.
    current: u16,
    places: Vec<u8>,
    rules: Vec<u16>,
}

impl OpenPart {
    /// A part that begins in the chunk of `start`.
    fn new(start: u64) -> Self {
        let address = start & !u64::from(CHUNK_BYTES - 1);
        let mut part = Self {
            address,
            end: address,
            chunks: Vec::new(),
            blocks: Vec::new(),
            last: None,
            rules: Vec::new(),
            numbers: AHashMap::new(),
            chunk: Chunk::default(),
        };
        if start > address {
            part.hold(address, start, Rule::NONE);
        }
        part
    }

    /// Whether a chunk that begins at `at` would go past a limit.
    fn is_full(&self, at: u64, limits: &Limits) -> bool {
        let place = at & u64::from(CHUNK_BYTES - 1);
        let more = 2 * MAX_CHUNK + 8 * 256;
        place == 0
            && (self.size() + more > limits.part as usize || self.rules.len() + 256 > MAX_RULES)
    }

    fn size(&self) -> usize {
        (self.chunks.len() + 1) * 4 + self.rules.len() * 8 + self.blocks.len()
    }

    /// Lets a rule hold from `at` to `end`, or to the end of the chunk, and tells which.
    fn hold(&mut self, at: u64, end: u64, rule: Rule) -> u64 {
        let number = self.number(rule);
        let place = at & u64::from(CHUNK_BYTES - 1);
        let reached = end.min(at - place + u64::from(CHUNK_BYTES));
        if place == 0 {
            if at > self.address {
                self.flush();
            }
            (self.chunk.first, self.chunk.current) = (number, number);
        } else if number != self.chunk.current {
            self.chunk.places.push(place as u8);
            self.chunk.rules.push(number);
            self.chunk.current = number;
        }
        self.end = reached;
        reached
    }

    fn number(&mut self, rule: Rule) -> u16 {
        let next = self.rules.len();
        *self.numbers.entry(rule).or_insert_with(|| {
            self.rules.push(rule);
            next as u16
        })
    }

    /// Writes the chunk. A block begins with the rule that the last one ended with, mostly, and then
    /// shares those 2 bytes with it.
    fn flush(&mut self) {
        let Chunk { first, current, places, rules } = &mut self.chunk;
        if places.is_empty() {
            self.chunks.push((0, u32::from(*first)));
            return;
        }
        if self.last != Some(*first) {
            self.blocks.extend(first.to_le_bytes());
        }
        let block = (self.blocks.len() / 2 - 1) as u32;
        self.chunks.push((places.len() as u8, block));
        self.blocks.extend(&*places);
        if places.len() % 2 == 1 {
            self.blocks.push(0);
        }
        rules.iter().for_each(|number| self.blocks.extend(number.to_le_bytes()));
        self.last = Some(*current);
        places.clear();
        rules.clear();
    }

    /// Numbers the rules anew, by how often they are named.
    fn put_common_rules_first(&mut self) {
        let mut uses: Vec<(u32, usize)> = (0..self.rules.len()).map(|rule| (0, rule)).collect();
        self.each_number(|number| {
            if let Some((uses, _)) = uses.get_mut(usize::from(number)) {
                *uses += 1;
            }
            number
        });
        uses.sort_by_key(|(uses, rule)| (std::cmp::Reverse(*uses), *rule));
        let mut renamed: Vec<(usize, u16)> =
            uses.iter().zip(0..=u16::MAX).map(|((_, old), new)| (*old, new)).collect();
        renamed.sort_unstable();
        self.rules = uses.iter().filter_map(|(_, old)| self.rules.get(*old).copied()).collect();
        self.each_number(|old| renamed.get(usize::from(old)).map_or(old, |(_, new)| *new));
    }

    /// Replaces each number of a rule in the chunks and blocks.
    fn each_number(&mut self, mut replace: impl FnMut(u16) -> u16) {
        let mut done = 0;
        for (rows, place) in &mut self.chunks {
            if *rows == 0 {
                *place = u32::from(replace(*place as u16));
                continue;
            }
            let (rows, block) = (usize::from(*rows), *place as usize * 2);
            let behind = block + 2 + rows.next_multiple_of(2);
            // The first number may be the last one of the block before.
            let first = [block].into_iter().filter(|at| *at >= done);
            for at in first.chain((behind..behind + rows * 2).step_by(2)) {
                let bytes = self.blocks.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
                if let Some(bytes) = bytes {
                    *bytes = replace(u16::from_le_bytes(*bytes)).to_le_bytes();
                }
            }
            done = behind + rows * 2;
        }
    }

    fn finish(mut self) -> Part {
        // The last row of a chunk holds to its end.
        let end = self.end.next_multiple_of(CHUNK_BYTES.into());
        if self.end < end {
            self.hold(self.end, end, Rule::NONE);
        }
        self.flush();
        self.put_common_rules_first();
        let index = (self.chunks.len() * 4).next_multiple_of(8);
        let blocks = index + self.rules.len() * 8;
        let mut bytes = Vec::with_capacity(blocks + self.blocks.len());
        for (rows, block) in &self.chunks {
            let which = if *rows == 0 { *block } else { blocks as u32 / 2 + block };
            bytes.extend((which << 8 | u32::from(*rows)).to_le_bytes());
        }
        bytes.resize(index, 0);
        self.rules.iter().for_each(|rule| bytes.extend(rule.0.to_le_bytes()));
        bytes.extend(&self.blocks);
        Part {
            address: self.address,
            len: (self.chunks.len() as u64) << CHUNK_SHIFT,
            rules: index as u32,
            bytes: bytes.into(),
            rule_count: self.rules.len() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::native::rule::Cfa;

    use super::*;

    const fn rule(words: i16) -> Rule {
        Rule::new(Cfa::Sp, words)
    }

    #[test]
    fn the_rules_that_hold_in_the_most_places_come_first() {
        // A rare rule, a long function in most of whose chunks no row begins, and many short ones.
        let mut rows = vec![(0x140, 0x150, rule(9)), (0x150, 0x1008, rule(7))];
        rows.extend((0x100..0x1ff).map(|i| (i * 16 + 8, i * 16 + 24, rule(1 + i as i16 % 3))));
        let mut encoder = Encoder::new(&Limits::default());
        for (start, end, rule) in &rows {
            encoder.add(*start, *end, *rule).unwrap();
        }
        let parts = encoder.finish().unwrap();
        let [part] = parts.as_slice() else { panic!("{parts:?}") };
        for (start, end, rule) in rows {
            for at in start..end {
                assert_eq!(part.rule(at), Some(rule), "{at:#x}");
            }
        }
        assert_eq!(part.rule(0x100), Some(Rule::NONE), "nothing before the first row");
        let rules: Vec<u64> = part.bytes[part.rules as usize..][..8 * part.rule_count as usize]
            .chunks(8)
            .map(|bytes| u64::from_le_bytes(*bytes.first_chunk().unwrap()))
            .collect();
        let place = |rule: Rule| rules.iter().position(|other| *other == rule.0).unwrap();
        assert_eq!(rules.len(), 6);
        for common in 1..=3 {
            assert!(place(rule(common)) < 3 && place(rule(7)) == 3 && place(rule(9)) > 3);
        }
    }
}
