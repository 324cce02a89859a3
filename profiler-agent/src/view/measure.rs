//! Which of a sample's values a view shows.

use profiler_proto::pprof::{Sample, ValueType};

use super::reader::Reader;
use super::{Time, ViewError};
use crate::model::conventions::value;

/// One type of value, picked to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure<'a> {
    /// Which of a sample's values it is.
    index: usize,
    /// Where the count that belongs to it is, if there is one.
    count_index: Option<usize>,
    /// What kind of time it is; `None` for other tools' types.
    pub(super) time: Option<Time>,
    /// Name of the type.
    pub(super) name: &'a str,
    /// Its unit.
    pub(super) unit: &'a str,
    /// What the count counts.
    pub(super) count_name: &'a str,
}

impl Measure<'_> {
    /// A sample's value; nothing negative (a difference of two profiles has such).
    pub(super) fn value(&self, sample: &Sample) -> u64 {
        at(sample, self.index)
    }

    /// How many events the value comes from.
    pub(super) fn count(&self, sample: &Sample) -> u64 {
        self.count_index.map_or(0, |i| at(sample, i))
    }
}

fn at(sample: &Sample, index: usize) -> u64 {
    sample.value.get(index).and_then(|v| u64::try_from(*v).ok()).unwrap_or(0)
}

/// What to show: both kinds of time where a profile has both and none is asked for; of other tools'
/// profiles their default type.
pub(super) fn pick<'a>(
    reader: &Reader<'a>,
    wanted: Option<Time>,
) -> Result<Vec<Measure<'a>>, ViewError> {
    let types = &reader.profile.sample_type;
    if types.is_empty() {
        return Err(ViewError::NoSampleTypes);
    }
    let on = (wanted != Some(Time::OffCpu)).then(|| time(reader, Time::OnCpu)).flatten();
    let off = (wanted != Some(Time::OnCpu)).then(|| time(reader, Time::OffCpu)).flatten();
    let times: Vec<_> = on.into_iter().chain(off).collect();
    match wanted {
        _ if !times.is_empty() => Ok(times),
        None => Ok(vec![default_type(reader)]),
        Some(wanted) => {
            let wanted = match wanted {
                Time::OnCpu => "on-CPU",
                Time::OffCpu => "off-CPU",
            };
            Err(ViewError::NoSuchTime { wanted, found: describe(reader) })
        }
    }
}

fn time<'a>(reader: &Reader<'a>, wanted: Time) -> Option<Measure<'a>> {
    let (ty, count) = match wanted {
        Time::OnCpu => (value::CPU, value::SAMPLES),
        Time::OffCpu => (value::OFF_CPU, value::BLOCKS),
    };
    let find = |name: &str, unit: &str| {
        let types = &reader.profile.sample_type;
        types.iter().position(|t| reader.string(t.ty) == name && reader.string(t.unit) == unit)
    };
    let index = find(ty, value::NANOSECONDS)?;
    let count_index = find(count, value::COUNT);
    Some(measure(reader, index, count_index, Some(wanted)))
}

/// The type that the profile itself names as its default, or its last one, as the format says.
fn default_type<'a>(reader: &Reader<'a>) -> Measure<'a> {
    let profile = reader.profile;
    let default = profile.default_sample_type;
    let named = profile.sample_type.iter().position(|t| default != 0 && t.ty == default);
    let index = named.unwrap_or(profile.sample_type.len().saturating_sub(1));
    let is_count = |t: &ValueType| reader.string(t.unit) == value::COUNT;
    let count_index = profile.sample_type.iter().position(is_count).filter(|i| *i != index);
    measure(reader, index, count_index, None)
}

fn measure<'a>(
    reader: &Reader<'a>,
    index: usize,
    count_index: Option<usize>,
    time: Option<Time>,
) -> Measure<'a> {
    let types = &reader.profile.sample_type;
    let text = |index: usize, of: fn(&ValueType) -> i64| {
        types.get(index).map_or("", |t| reader.string(of(t)))
    };
    Measure {
        index,
        count_index,
        time,
        name: text(index, |t| t.ty),
        unit: text(index, |t| t.unit),
        count_name: count_index.map_or("", |i| text(i, |t| t.ty)),
    }
}

fn describe(reader: &Reader<'_>) -> String {
    let types = reader.profile.sample_type.iter();
    let names = types.map(|t| format!("{}/{}", reader.string(t.ty), reader.string(t.unit)));
    names.collect::<Vec<_>>().join(", ")
}
