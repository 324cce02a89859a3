//! What is hottest in a profile, for `top`.

use std::collections::{HashMap, HashSet};

use profiler_proto::pprof::{Function, Location, Profile, Sample};

use crate::model::conventions::{comment, label, value};
use crate::model::hottest::{Hot, Hottest, Times};
use crate::model::query::Range;

/// The hottest services and functions, so many of each at most.
pub(super) fn of(profile: &Profile, range: Range, limit: usize) -> Hottest {
    let reader = Reader::new(profile);
    let mut services: HashMap<&str, Hot> = HashMap::new();
    let mut functions: HashMap<(&str, &str), Hot> = HashMap::new();
    let mut total = Times::default();
    for sample in &profile.sample {
        let times = reader.times(sample);
        total.add(times);
        let service = reader.service(sample);
        let entry = services.entry(service).or_insert_with(|| hot(service, ""));
        entry.own.add(times);
        entry.total.add(times);
        let mut seen = HashSet::new();
        for (depth, place) in reader.places(sample).enumerate() {
            let entry = functions.entry(place).or_insert_with(|| hot(place.0, place.1));
            if depth == 0 {
                entry.own.add(times);
            }
            if seen.insert(place) {
                entry.total.add(times);
            }
        }
    }
    Hottest {
        range: Some(range),
        cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        services: hottest(services.into_values(), limit),
        functions: hottest(functions.into_values(), limit),
        total,
        losses: reader.losses(),
    }
}

fn hot(name: &str, module: &str) -> Hot {
    Hot { name: name.to_owned(), module: module.to_owned(), ..Hot::default() }
}

/// Those with the most time of either kind.
fn hottest(all: impl Iterator<Item = Hot>, limit: usize) -> Vec<Hot> {
    let mut all: Vec<Hot> = all.collect();
    let by_name = |hot: &Hot| (hot.name.clone(), hot.module.clone());
    all.sort_by_cached_key(by_name);
    all.sort_by_key(|hot| std::cmp::Reverse((hot.own.on_cpu_ns, hot.own.off_cpu_ns)));
    // What waits most may be on no CPU at all: half of the lines are for it.
    let mut first: Vec<Hot> = all.iter().take(limit.div_ceil(2)).cloned().collect();
    all.sort_by_key(|hot| std::cmp::Reverse(hot.own.off_cpu_ns));
    for hot in all {
        if first.len() >= limit {
            break;
        }
        if !first.contains(&hot) {
            first.push(hot);
        }
    }
    first.sort_by_key(|hot| std::cmp::Reverse((hot.own.on_cpu_ns, hot.own.off_cpu_ns)));
    first
}

/// Finds things in a profile.
struct Reader<'a> {
    profile: &'a Profile,
    on_cpu: Option<usize>,
    off_cpu: Option<usize>,
    locations: HashMap<u64, &'a Location>,
    functions: HashMap<u64, &'a Function>,
    modules: HashMap<u64, &'a str>,
}

impl<'a> Reader<'a> {
    fn new(profile: &'a Profile) -> Self {
        let text = |index: i64| text(profile, index);
        let column = |name: &str| profile.sample_type.iter().position(|ty| text(ty.ty) == name);
        let module = |path: &'a str| path.rsplit('/').next().unwrap_or(path);
        Self {
            profile,
            on_cpu: column(value::CPU),
            off_cpu: column(value::OFF_CPU),
            locations: profile.location.iter().map(|l| (l.id, l)).collect(),
            functions: profile.function.iter().map(|f| (f.id, f)).collect(),
            modules: profile.mapping.iter().map(|m| (m.id, module(text(m.filename)))).collect(),
        }
    }

    fn times(&self, sample: &Sample) -> Times {
        let value = |column: Option<usize>| {
            let value = column.and_then(|column| sample.value.get(column));
            value.and_then(|value| u64::try_from(*value).ok()).unwrap_or_default()
        };
        Times { on_cpu_ns: value(self.on_cpu), off_cpu_ns: value(self.off_cpu) }
    }

    fn service(&self, sample: &Sample) -> &'a str {
        let has = |key: &str| {
            let found = sample.label.iter().find(|l| text(self.profile, l.key) == key);
            found.map(|l| text(self.profile, l.str))
        };
        has(label::SERVICE).or_else(|| has(label::COMM)).unwrap_or("[unknown]")
    }

    /// Functions with their modules, innermost first.
    fn places(&self, sample: &Sample) -> impl Iterator<Item = (&'a str, &'a str)> {
        let locations = sample.location_id.iter().filter_map(|id| self.locations.get(id));
        locations.flat_map(|location| {
            let module = self.modules.get(&location.mapping_id).copied().unwrap_or_default();
            let function = |id: u64| self.functions.get(&id).map(|f| text(self.profile, f.name));
            location.line.iter().filter_map(move |line| Some((function(line.function_id)?, module)))
        })
    }

    /// Counts of what was turned away, as the profile says of itself.
    fn losses(&self) -> Vec<(String, u64)> {
        let comments = self.profile.comment.iter().map(|index| text(self.profile, *index));
        let count = |comment: &str| {
            let (name, count) = comment.strip_prefix(comment::COUNTER)?.split_once(": ")?;
            Some((name.to_owned(), count.parse::<u64>().ok().filter(|count| *count > 0)?))
        };
        comments.filter_map(count).collect()
    }
}

fn text(profile: &Profile, index: i64) -> &str {
    let text = usize::try_from(index).ok().and_then(|index| profile.string_table.get(index));
    text.map_or("", String::as_str)
}
