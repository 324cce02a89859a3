//! The busiest services and functions of a profile: what `top` shows.

use std::collections::HashMap;

use ahash::RandomState;
use profiler_proto::pprof::Profile;

use super::functions::{self, FunctionKey};
use super::measure::{self, Measure};
use super::reader::Reader;
use super::text_safe::{frame, shortened};
use super::{Options, Time, ViewError};
use crate::model::conventions::{comment, label};
use crate::model::hottest::{Hot, Hottest, Times};
use crate::model::query::Range;

/// The `limit` busiest of each kind of time, so that either can be sorted by.
///
/// # Errors
/// Where the profile has no time in it.
pub fn busiest(profile: &Profile, limit: usize) -> Result<Hottest, ViewError> {
    let reader = Reader::new(profile);
    let measures = measure::pick(&reader, None)?;
    let mut functions: HashMap<FunctionKey<'_>, Hot, RandomState> = HashMap::default();
    let mut services: HashMap<&str, Times, RandomState> = HashMap::default();
    let mut total = Times::default();
    for measure in &measures {
        let (sorted, all) = functions::sorted(&reader, measure, &Options::default());
        *of(&mut total, measure) = all;
        for (key, weight) in sorted {
            let hot = functions.entry(key).or_default();
            *of(&mut hot.own, measure) = weight.flat;
            *of(&mut hot.total, measure) = weight.cumulative;
        }
        for sample in &profile.sample {
            let service = match reader.label(sample, label::SERVICE) {
                "" => reader.label(sample, label::COMM),
                service => service,
            };
            let time = of(services.entry(service).or_default(), measure);
            *time = time.saturating_add(measure.value(sample));
        }
    }
    let functions = functions.into_iter().map(|((name, module), hot)| Hot {
        name: printable(name),
        module: printable_or_empty(module),
        ..hot
    });
    let services = services.into_iter().map(|(name, own)| Hot {
        name: printable(name),
        module: String::new(),
        own,
        total: own,
    });
    Ok(Hottest {
        range: range(profile),
        cpus: 0,
        services: pick(services.collect(), limit),
        functions: pick(functions.collect(), limit),
        total,
        losses: losses(&reader),
    })
}

fn of<'a>(times: &'a mut Times, measure: &Measure<'_>) -> &'a mut u64 {
    match measure.time {
        Some(Time::OffCpu) => &mut times.off_cpu_ns,
        Some(Time::OnCpu) | None => &mut times.on_cpu_ns,
    }
}

/// Those that are among the first by either kind of time, the busiest first.
fn pick(mut all: Vec<Hot>, limit: usize) -> Vec<Hot> {
    all.retain(|hot| hot.total != Times::default());
    all.sort_by(|a, b| off(b).cmp(&off(a)).then_with(|| a.name.cmp(&b.name)));
    let mut rest = all.split_off(limit.min(all.len()));
    rest.sort_by(by_cpu);
    rest.truncate(limit);
    all.retain(|hot| off(hot) != (0, 0) || on(hot) != (0, 0));
    all.extend(rest.into_iter().filter(|hot| on(hot) != (0, 0)));
    all.sort_by(by_cpu);
    all
}

fn by_cpu(a: &Hot, b: &Hot) -> std::cmp::Ordering {
    on(b).cmp(&on(a)).then_with(|| off(b).cmp(&off(a))).then_with(|| a.name.cmp(&b.name))
}

fn on(hot: &Hot) -> (u64, u64) {
    (hot.own.on_cpu_ns, hot.total.on_cpu_ns)
}

fn off(hot: &Hot) -> (u64, u64) {
    (hot.own.off_cpu_ns, hot.total.off_cpu_ns)
}

fn range(profile: &Profile) -> Option<Range> {
    let from_unix_ns = u64::try_from(profile.time_nanos).ok().filter(|time| *time > 0)?;
    let length = u64::try_from(profile.duration_nanos).unwrap_or_default();
    Some(Range { from_unix_ns, to_unix_ns: from_unix_ns.saturating_add(length) })
}

fn losses(reader: &Reader<'_>) -> Vec<(String, u64)> {
    let counters = reader.comments().filter_map(|(key, value)| {
        let name = key.strip_prefix(comment::COUNTER).filter(|name| comment::is_loss(name))?;
        let count = value.parse().ok().filter(|count| *count > 0)?;
        Some((printable(name), count))
    });
    counters.collect()
}

fn printable(name: &str) -> String {
    shortened(&frame(name))
}

fn printable_or_empty(name: &str) -> String {
    if name.is_empty() { String::new() } else { printable(name) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Builder;
    use super::*;

    fn wall() -> Builder {
        Builder::wall()
            .comment("count.samples_lost_ring_full: 3")
            .comment("count.blocks_lost_ring_full: 0")
            .comment("count.filtered: 9")
            .sample(("redis", 1, "redis", 1, ""), &["r|get", "r|main"], &[3, 30, 0, 0])
            .sample(("redis", 1, "redis", 1, "sleeping"), &["r|wait", "r|main"], &[0, 0, 1, 700])
            .sample(("cc", 2, "cc", 2, ""), &["c|parse", "c|main"], &[5, 50, 0, 0])
    }

    #[test]
    fn both_kinds_of_time_stand_beside_each_other() {
        let top = busiest(&wall().build(), 10).unwrap();
        let services: Vec<_> = top
            .services
            .iter()
            .map(|s| (s.name.as_str(), s.own.on_cpu_ns, s.own.off_cpu_ns))
            .collect();
        assert_eq!(services, [("cc", 50, 0), ("redis", 30, 700)]);
        let functions: Vec<_> = top
            .functions
            .iter()
            .map(|f| (f.name.as_str(), f.module.as_str(), f.own.on_cpu_ns, f.total.off_cpu_ns))
            .collect();
        assert_eq!(
            functions,
            [
                ("parse", "c", 50, 0),
                ("get", "r", 30, 0),
                ("main", "c", 0, 0),
                ("main", "r", 0, 700),
                ("wait", "r", 0, 700)
            ]
        );
        assert_eq!(top.total, Times { on_cpu_ns: 80, off_cpu_ns: 700 });
        assert_eq!(top.losses, [("samples_lost_ring_full".to_owned(), 3)]);
        assert_eq!(top.range, Some(Range { from_unix_ns: 1, to_unix_ns: 10_000_000_001 }));
    }

    #[test]
    fn a_limit_keeps_the_first_of_either_kind() {
        let top = busiest(&wall().build(), 1).unwrap();
        let names: Vec<_> = top.functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["parse", "wait"]);
        assert_eq!(top.services.len(), 2);
    }

    #[test]
    fn a_profile_of_one_kind_of_time_has_nothing_of_the_other() {
        let profile = Builder::on_cpu().sample(("a", 1, "a", 1, ""), &["a|f"], &[1, 9]).build();
        let top = busiest(&profile, 5).unwrap();
        assert_eq!(top.total, Times { on_cpu_ns: 9, off_cpu_ns: 0 });
        assert_eq!(top.functions.len(), 1);
    }
}
