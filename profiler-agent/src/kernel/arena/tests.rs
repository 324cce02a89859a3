//! On plain memory.

use super::*;

/// Regions of plain memory, of which the system has only so many.
#[derive(Default)]
struct Plain {
    memory: Vec<Vec<u8>>,
    no_more_than: Option<usize>,
}

impl Regions for Plain {
    fn add(&mut self) -> Result<(), KernelError> {
        if self.no_more_than == Some(self.memory.len()) {
            let source = std::io::ErrorKind::OutOfMemory.into();
            return Err(KernelError::System { call: "bpf", source });
        }
        self.memory.push(vec![0; REGION_BYTES as usize]);
        Ok(())
    }

    fn write(&mut self, region: u32, offset: u32, bytes: &[u8]) {
        let offset = offset as usize;
        self.memory[region as usize][offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn read(&self, region: u32, offset: u32, bytes: &mut [u8]) {
        let memory = &self.memory[region as usize];
        let offset = memory.len().min(offset as usize);
        bytes.iter_mut().zip(&memory[offset..]).for_each(|(to, from)| *to = *from);
    }
}

const MIB: usize = 1 << 20;

fn arena(budget_mib: u64) -> Arena<Plain> {
    let mut arena = Arena::new(Plain::default());
    arena.allow(budget_mib << 20);
    arena
}

fn bytes_at(arena: &Arena<Plain>, place: Place, len: usize) -> &[u8] {
    &arena.regions.memory[place.region as usize][place.offset as usize..][..len]
}

#[test]
fn what_is_placed_is_there() {
    let (mut arena, now) = (arena(8), Instant::now());
    let things: Vec<Vec<u8>> = (1..100u8).map(|i| vec![i; usize::from(i) * 37]).collect();
    let places: Vec<Place> = things.iter().map(|t| arena.place(t, now).unwrap()).collect();
    for (thing, place) in things.iter().zip(places) {
        assert_eq!(bytes_at(&arena, place, thing.len()), thing);
        assert_eq!(place.offset % 8, 0);
    }
}

#[test]
fn regions_are_made_when_they_are_needed_and_within_the_budget() {
    let (mut arena, now) = (arena(11), Instant::now());
    assert_eq!(arena.room(now).mapped, 0);
    let three = vec![7; 3 * MIB];
    assert_eq!(arena.place(&three, now), Some(Place { region: 0, offset: 0 }));
    assert_eq!(arena.room(now).mapped, 4 << 20);
    assert_eq!(arena.place(&three, now), Some(Place { region: 1, offset: 0 }));
    assert_eq!(arena.place(&three, now), None);
    assert!(arena.place(&three[..MIB / 2], now).is_some(), "the rest is still of use");
    let room = arena.room(now);
    assert_eq!((room.mapped, room.total), (8 << 20, 2 * u64::from(USABLE)));
    assert_eq!(room.free + room.used + room.resting, room.total);
}

#[test]
fn the_end_of_a_region_stays_unused() {
    let (mut arena, now) = (arena(64), Instant::now());
    assert_eq!(arena.place(&vec![1; USABLE as usize + 1], now), None);
    let place = arena.place(&vec![1; USABLE as usize], now).unwrap();
    assert_eq!(place, Place { region: 0, offset: 0 });
    let end = bytes_at(&arena, Place { offset: USABLE, ..place }, 64);
    assert!(end.iter().all(|b| *b == 0));
}

#[test]
fn what_was_freed_rests_before_it_is_used_again() {
    let (mut arena, now) = (arena(5), Instant::now());
    let whole = vec![1; USABLE as usize];
    let place = arena.place(&whole, now).unwrap();
    arena.free(place, now);
    let later = now + REST - Duration::from_millis(1);
    assert_eq!((arena.place(&[2], later), arena.room(later).resting), (None, USABLE.into()));
    assert_eq!(bytes_at(&arena, place, 1), [1], "still there for who reads it");
    assert_eq!(arena.place(&whole, now + REST), Some(place));
    assert_eq!(arena.room(now + REST).resting, 0);
}

#[test]
fn what_is_not_given_out_cannot_be_freed() {
    let (mut arena, now) = (arena(5), Instant::now());
    arena.place(&[1; 64], now).unwrap();
    let other = arena.place(&[1; 64], now).unwrap();
    arena.free(other, now);
    arena.free(other, now);
    arena.room(now + REST);
    arena.free(other, now);
    let before = arena.room(now);
    arena.free(Place { region: 0, offset: 8 }, now);
    arena.free(Place { region: 9, offset: 0 }, now);
    assert_eq!((arena.room(now + REST), before.used), (before, 64));
}

#[test]
fn a_system_without_memory_is_not_asked_again() {
    let regions = Plain { no_more_than: Some(1), ..Plain::default() };
    let (mut arena, now) = (Arena::new(regions), Instant::now());
    arena.allow(64 << 20);
    let three = vec![7; 3 * MIB];
    assert!(arena.place(&three, now).is_some());
    assert_eq!(arena.place(&three, now), None);
    assert_eq!(arena.room(now).total, u64::from(USABLE));
}

#[test]
fn what_is_placed_can_be_read_as_a_walk_reads_it() {
    let (mut arena, now) = (arena(4), Instant::now());
    let place = arena.place(&[1, 2, 3, 4, 5, 6, 7, 8], now).unwrap();
    assert!(arena.view(1).is_none());
    let view = arena.view(place.region).unwrap();
    assert_eq!((view.u8(place.offset), view.u16(place.offset + 2)), (1, 0x0403));
    assert_eq!(
        (view.u32(place.offset + 4), view.u64(place.offset)),
        (0x0807_0605, 0x0807_0605_0403_0201)
    );
    assert_eq!((view.word(REGION_BYTES - 1), view.word(u32::MAX)), (0, 0));
}
