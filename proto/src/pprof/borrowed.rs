//! A profile read where it lies: names and stacks are slices of the message.
//!
//! Building every message of a profile costs far more than reading it, when what is wanted is a sum over
//! hundreds of profiles. Samples of one profile that have the same stack, or the same labels, mostly have
//! the same bytes for it, which tells them equal without looking inside.
//!
//! The same rules as protobuf's hold: fields in any order, the last of a field that is given twice counts,
//! numbers packed or not, unknown fields passed over. Groups, which nobody writes, are refused.

use std::borrow::Cow;

use super::{DecodeError, Function, Label, Line, Mapping, ValueType};

/// A profile. Samples are read one by one, by [`Borrowed::sample`].
#[derive(Debug, Default)]
pub struct Borrowed<'a> {
    /// What the values of a sample are.
    pub sample_type: Vec<ValueType>,
    /// Files and what else code lies in.
    pub mapping: Vec<Mapping>,
    /// Places in them.
    pub location: Vec<BorrowedLocation>,
    /// Lines of all locations, see [`BorrowedLocation::lines`].
    pub line: Vec<Line>,
    /// Functions.
    pub function: Vec<Function>,
    /// Texts, by index.
    pub string_table: Vec<&'a str>,
    /// Begin (Unix time, ns).
    pub time_nanos: i64,
    /// Length, ns.
    pub duration_nanos: i64,
    /// What the period counts.
    pub period_type: Option<ValueType>,
    /// Distance of two samples.
    pub period: i64,
    /// Indices of comments.
    pub comment: Vec<i64>,
    samples: Vec<&'a [u8]>,
}

/// A place. Its lines are a range of [`Borrowed::line`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BorrowedLocation {
    /// Its number.
    pub id: u64,
    /// The number of its mapping.
    pub mapping_id: u64,
    /// Its address in the mapping's file.
    pub address: u64,
    /// Whether other addresses were folded into it.
    pub is_folded: bool,
    first_line: usize,
    line_count: usize,
}

/// A sample, not yet looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BorrowedSample<'a> {
    /// Its locations, innermost first: bytes for [`numbers`].
    pub stack: Cow<'a, [u8]>,
    /// Its labels: bytes for [`labels`].
    pub labels: Cow<'a, [u8]>,
}

impl<'a> Borrowed<'a> {
    /// Reads a message that is not packed.
    ///
    /// # Errors
    /// Where it is no message of this type.
    pub fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut profile = Self::default();
        let mut fields = Fields(message);
        while let Some((number, value)) = fields.next_field()? {
            profile.field(number, value)?;
        }
        Ok(profile)
    }

    fn field(&mut self, number: u64, value: Value<'a>) -> Result<(), DecodeError> {
        match number {
            1 => self.sample_type.push(value_type(ValueType::default(), value.bytes()?)?),
            2 => self.samples.push(value.bytes()?),
            3 => self.mapping.push(mapping(value.bytes()?)?),
            4 => self.location(value.bytes()?)?,
            5 => self.function.push(function(value.bytes()?)?),
            6 => {
                let text = std::str::from_utf8(value.bytes()?);
                self.string_table.push(text.map_err(|_| MALFORMED)?);
            }
            9 => self.time_nanos = value.signed()?,
            10 => self.duration_nanos = value.signed()?,
            11 => {
                let earlier = self.period_type.take().unwrap_or_default();
                self.period_type = Some(value_type(earlier, value.bytes()?)?);
            }
            12 => self.period = value.signed()?,
            13 => value.each_number(|n| self.comment.push(n.cast_signed()))?,
            _ => {}
        }
        Ok(())
    }

    fn location(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        let mut location = BorrowedLocation { first_line: self.line.len(), ..Default::default() };
        let mut fields = Fields(message);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                1 => location.id = value.number()?,
                2 => location.mapping_id = value.number()?,
                3 => location.address = value.number()?,
                4 => self.line.push(line(value.bytes()?)?),
                5 => location.is_folded = value.number()? != 0,
                _ => {}
            }
        }
        location.line_count = self.line.len() - location.first_line;
        self.location.push(location);
        Ok(())
    }

    /// The lines of a location, innermost first.
    pub fn lines(&self, location: &BorrowedLocation) -> &[Line] {
        let lines = self.line.get(location.first_line..);
        lines.and_then(|lines| lines.get(..location.line_count)).unwrap_or_default()
    }

    /// A text; empty for an index that does not exist.
    pub fn string(&self, index: i64) -> &'a str {
        let index = usize::try_from(index).ok();
        index.and_then(|index| self.string_table.get(index)).copied().unwrap_or_default()
    }

    /// How many samples there are.
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// Reads a sample; its values replace what is in `values`. `None` after the last.
    ///
    /// # Errors
    /// Where it is no message of this type.
    pub fn sample(
        &self,
        index: usize,
        values: &mut Vec<i64>,
    ) -> Result<Option<BorrowedSample<'a>>, DecodeError> {
        let Some(message) = self.samples.get(index).copied() else { return Ok(None) };
        values.clear();
        let mut sample = BorrowedSample::default();
        let mut fields = Fields(message);
        // Where the labels that stand next to each other begin and end.
        let mut run: Option<(usize, usize)> = None;
        loop {
            let begin = message.len() - fields.0.len();
            let Some((number, value)) = fields.next_field()? else { break };
            let end = message.len() - fields.0.len();
            match (number, value) {
                (1, Value::Bytes(bytes)) => append(&mut sample.stack, bytes),
                (1, Value::Number(n)) => push_number(sample.stack.to_mut(), n),
                (2, value) => value.each_number(|n| values.push(n.cast_signed()))?,
                (3, Value::Bytes(_)) => match &mut run {
                    Some((_, run_end)) if *run_end == begin => *run_end = end,
                    _ => {
                        if let Some((from, to)) = run.replace((begin, end)) {
                            append(&mut sample.labels, message.get(from..to).unwrap_or_default());
                        }
                    }
                },
                (1 | 3, _) => return Err(MALFORMED),
                _ => {}
            }
        }
        if let Some((from, to)) = run {
            append(&mut sample.labels, message.get(from..to).unwrap_or_default());
        }
        Ok(Some(sample))
    }
}

fn append<'a>(to: &mut Cow<'a, [u8]>, bytes: &'a [u8]) {
    if to.is_empty() {
        *to = Cow::Borrowed(bytes);
    } else {
        to.to_mut().extend_from_slice(bytes);
    }
}

fn push_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number as u8) | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Reads numbers that stand behind each other.
///
/// # Errors
/// Where the last one is cut off, or one is too large.
pub fn numbers(bytes: &[u8], mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        each(fields.varint()?);
    }
    Ok(())
}

/// Reads the labels of a [`BorrowedSample`].
///
/// # Errors
/// Where they are none.
pub fn labels(bytes: &[u8], mut each: impl FnMut(Label)) -> Result<(), DecodeError> {
    let mut labels = Fields(bytes);
    while let Some((_, value)) = labels.next_field()? {
        let mut label = Label::default();
        let mut fields = Fields(value.bytes()?);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                1 => label.key = value.signed()?,
                2 => label.str = value.signed()?,
                3 => label.num = value.signed()?,
                4 => label.num_unit = value.signed()?,
                _ => {}
            }
        }
        each(label);
    }
    Ok(())
}

fn value_type(mut read: ValueType, message: &[u8]) -> Result<ValueType, DecodeError> {
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            1 => read.ty = value.signed()?,
            2 => read.unit = value.signed()?,
            _ => {}
        }
    }
    Ok(read)
}

fn mapping(message: &[u8]) -> Result<Mapping, DecodeError> {
    let mut mapping = Mapping::default();
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            1 => mapping.id = value.number()?,
            2 => mapping.memory_start = value.number()?,
            3 => mapping.memory_limit = value.number()?,
            4 => mapping.file_offset = value.number()?,
            5 => mapping.filename = value.signed()?,
            6 => mapping.build_id = value.signed()?,
            7 => mapping.has_functions = value.number()? != 0,
            8 => mapping.has_filenames = value.number()? != 0,
            9 => mapping.has_line_numbers = value.number()? != 0,
            10 => mapping.has_inline_frames = value.number()? != 0,
            _ => {}
        }
    }
    Ok(mapping)
}

fn function(message: &[u8]) -> Result<Function, DecodeError> {
    let mut function = Function::default();
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            1 => function.id = value.number()?,
            2 => function.name = value.signed()?,
            3 => function.system_name = value.signed()?,
            4 => function.filename = value.signed()?,
            5 => function.start_line = value.signed()?,
            _ => {}
        }
    }
    Ok(function)
}

fn line(message: &[u8]) -> Result<Line, DecodeError> {
    let mut line = Line::default();
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            1 => line.function_id = value.number()?,
            2 => line.line = value.signed()?,
            _ => {}
        }
    }
    Ok(line)
}

const MALFORMED: DecodeError = DecodeError::Malformed;

/// What a field holds.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed width, which the format has nowhere.
    Other,
}

impl<'a> Value<'a> {
    fn number(&self) -> Result<u64, DecodeError> {
        match self {
            Self::Number(number) => Ok(*number),
            _ => Err(MALFORMED),
        }
    }

    fn signed(&self) -> Result<i64, DecodeError> {
        self.number().map(u64::cast_signed)
    }

    fn bytes(&self) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(MALFORMED),
        }
    }

    /// The numbers of a repeated field, packed or not.
    fn each_number(&self, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
        match self {
            Self::Number(number) => each(*number),
            Self::Bytes(bytes) => numbers(bytes, each)?,
            Self::Other => return Err(MALFORMED),
        }
        Ok(())
    }
}

/// The rest of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Result<Option<(u64, Value<'a>)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(usize::try_from(len).map_err(|_| MALFORMED)?)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(MALFORMED),
        };
        match key >> 3 {
            0 => Err(MALFORMED),
            number => Ok(Some((number, value))),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.0.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            let bits = u64::from(*byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * index);
            if *byte < 0x80 {
                self.0 = self.0.get(index + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(MALFORMED)
    }
}

#[cfg(test)]
mod tests;
