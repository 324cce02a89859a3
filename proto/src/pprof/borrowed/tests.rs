//! Against prost, which reads the same bytes by the format's definition.

use prost::Message;

use super::super::{Location, Profile, Sample};
use super::*;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn number(&mut self) -> i64 {
        let bits = self.roll(64);
        (self.roll(1 << 31) << 33 | self.roll(1 << 31)).cast_signed() >> bits
    }

    fn some<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.roll(most + 1)).map(|_| make(self)).collect()
    }
}

fn profile(dice: &mut Dice) -> Profile {
    let value_type = |dice: &mut Dice| ValueType { ty: dice.number(), unit: dice.number() };
    Profile {
        sample_type: dice.some(4, value_type),
        sample: dice.some(20, |dice| Sample {
            location_id: dice.some(30, |dice| dice.number().cast_unsigned()),
            value: dice.some(4, Dice::number),
            label: dice.some(5, |dice| Label {
                key: dice.number(),
                str: dice.number(),
                num: dice.number(),
                num_unit: dice.number(),
            }),
        }),
        mapping: dice.some(3, |dice| Mapping {
            id: dice.number().cast_unsigned(),
            memory_limit: dice.number().cast_unsigned(),
            filename: dice.number(),
            build_id: dice.number(),
            has_functions: dice.roll(2) == 1,
            has_inline_frames: dice.roll(2) == 1,
            ..Mapping::default()
        }),
        location: dice.some(9, |dice| Location {
            id: dice.number().cast_unsigned(),
            mapping_id: dice.number().cast_unsigned(),
            address: dice.number().cast_unsigned(),
            line: dice.some(3, |dice| Line {
                function_id: dice.number().cast_unsigned(),
                line: dice.number(),
            }),
            is_folded: dice.roll(2) == 1,
        }),
        function: dice.some(9, |dice| Function {
            id: dice.number().cast_unsigned(),
            name: dice.number(),
            system_name: dice.number(),
            filename: dice.number(),
            start_line: dice.number(),
        }),
        string_table: dice.some(9, |dice| "äbc".repeat(dice.roll(60) as usize)),
        time_nanos: dice.number(),
        duration_nanos: dice.number(),
        period_type: (dice.roll(2) == 1).then(|| value_type(dice)),
        period: dice.number(),
        comment: dice.some(9, Dice::number),
        ..Profile::default()
    }
}

/// All of it as prost's types; what is not kept stays at its default.
fn owned(bytes: &[u8]) -> Result<Profile, DecodeError> {
    let read = Borrowed::read(bytes)?;
    let mut values = Vec::new();
    let mut samples = Vec::new();
    for index in 0..read.sample_count() {
        let sample = read.sample(index, &mut values)?.unwrap_or_default();
        let (mut location_id, mut label) = (Vec::new(), Vec::new());
        numbers(&sample.stack, |n| location_id.push(n))?;
        labels(&sample.labels, |l| label.push(l))?;
        samples.push(Sample { location_id, value: values.clone(), label });
    }
    let location = |location: &BorrowedLocation| Location {
        id: location.id,
        mapping_id: location.mapping_id,
        address: location.address,
        line: read.lines(location).to_vec(),
        is_folded: location.is_folded,
    };
    Ok(Profile {
        sample: samples,
        location: read.location.iter().map(location).collect(),
        string_table: read.string_table.iter().map(|s| (*s).to_owned()).collect(),
        sample_type: read.sample_type,
        mapping: read.mapping,
        function: read.function,
        time_nanos: read.time_nanos,
        duration_nanos: read.duration_nanos,
        period_type: read.period_type,
        period: read.period,
        comment: read.comment,
        ..Profile::default()
    })
}

#[test]
fn it_reads_what_prost_writes() {
    let mut dice = Dice(1);
    for _ in 0..300 {
        let profile = profile(&mut dice);
        assert_eq!(owned(&profile.encode_to_vec()).unwrap(), profile);
    }
}

#[test]
fn damaged_bytes_never_panic_and_read_as_prost_reads_them() {
    let mut dice = Dice(2);
    let mut both = 0;
    for _ in 0..20_000 {
        let mut bytes = profile(&mut dice).encode_to_vec();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len().max(1) as u64) as usize;
            match dice.roll(3) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, dice.roll(256) as u8),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = dice.roll(256) as u8),
            }
        }
        let ours = owned(&bytes);
        if let (Ok(ours), Ok(mut theirs)) = (ours, Profile::decode(bytes.as_slice())) {
            theirs.drop_frames = 0;
            theirs.keep_frames = 0;
            theirs.default_sample_type = 0;
            assert_eq!(ours, theirs);
            both += 1;
        }
    }
    assert!(both > 500, "{both} of the damaged ones could be read");
}

#[test]
fn fields_in_any_order_packed_or_not_are_one_stack() {
    // location 300, label a, value 5, label b, locations 1 and 2, value 6.
    let sample = [
        &[0x08, 0xac, 0x02][..],
        &[0x1a, 2, 0x08, 1],
        &[0x10, 5],
        &[0x1a, 2, 0x08, 2],
        &[0x0a, 2, 1, 2],
        &[0x12, 1, 6],
    ]
    .concat();
    let message = [&[0x12, sample.len() as u8][..], &sample].concat();
    let ours = owned(&message).unwrap();
    assert_eq!(ours, Profile::decode(message.as_slice()).unwrap());
    assert_eq!(ours.sample[0].location_id, [300, 1, 2]);
    assert_eq!(ours.sample[0].value, [5, 6]);
    assert_eq!(ours.sample[0].label.iter().map(|l| l.key).collect::<Vec<_>>(), [1, 2]);
}
