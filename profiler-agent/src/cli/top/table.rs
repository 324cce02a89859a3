//! The lines of a table: no terminal is known here.

use std::cmp::Reverse;

use crate::model::hottest::{Hot, Hottest, Times};

/// What stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// What is on the CPU.
    OnCpu,
    /// What waits.
    OffCpu,
}

/// Titles of the columns before the name; the widths are those of [`Row::columns`].
pub(super) const FUNCTION_TITLES: [&str; 4] = ["CPUs", "+called", "waiting", "+called"];

/// Titles for services, which have nothing of their own beside the total.
pub(super) const SERVICE_TITLES: [&str; 2] = ["CPUs", "waiting"];

/// Width of a column, in characters.
pub(super) const WIDTH: usize = 8;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Figures, each at most [`WIDTH`] characters.
    pub(super) columns: Vec<String>,
    /// Name, and where it is.
    pub(super) name: String,
}

/// How long the table looked, in seconds; never zero.
fn seconds(top: &Hottest) -> f64 {
    let length = top.range.map_or(0, |range| range.length_ns());
    (length.max(1) as f64) / 1e9
}

/// What stands above: how busy the host is, and what is missing.
pub(super) fn header(top: &Hottest) -> String {
    let Some(range) = top.range else { return "nothing was recorded".to_owned() };
    let Times { on_cpu_ns, off_cpu_ns } = top.total;
    let seconds = seconds(top);
    let cpus = if top.cpus == 0 { String::new() } else { format!(" of {}", top.cpus) };
    format!(
        "{:.1} s   on CPU: {:.2}{cpus} CPUs   off CPU: {:.1} threads wait",
        range.length_ns() as f64 / 1e9,
        on_cpu_ns as f64 / 1e9 / seconds,
        off_cpu_ns as f64 / 1e9 / seconds,
    )
}

/// What was lost; `None` where nothing was.
pub(super) fn losses(top: &Hottest) -> Option<String> {
    if top.losses.is_empty() {
        return None;
    }
    let losses = top.losses.iter().map(|(name, count)| format!("{name} {count}"));
    Some(format!("lost: {}", losses.collect::<Vec<_>>().join(", ")))
}

/// Lines for services.
pub(super) fn services(top: &Hottest, sort: Sort, most: usize) -> Vec<Row> {
    let seconds = seconds(top);
    let row = |hot: &Hot| Row {
        columns: vec![per(hot.own.on_cpu_ns, seconds), per(hot.own.off_cpu_ns, seconds)],
        name: hot.name.clone(),
    };
    sorted(&top.services, sort).take(most).map(row).collect()
}

/// Lines for functions.
pub(super) fn functions(top: &Hottest, sort: Sort, most: usize) -> Vec<Row> {
    let seconds = seconds(top);
    let row = |hot: &Hot| Row {
        columns: [hot.own.on_cpu_ns, hot.total.on_cpu_ns, hot.own.off_cpu_ns, hot.total.off_cpu_ns]
            .map(|ns| per(ns, seconds))
            .to_vec(),
        name: match hot.module.as_str() {
            "" => hot.name.clone(),
            module => format!("{}  {module}", hot.name),
        },
    };
    sorted(&top.functions, sort).take(most).map(row).collect()
}

fn sorted(all: &[Hot], sort: Sort) -> impl Iterator<Item = &Hot> {
    let mut all: Vec<&Hot> = all.iter().collect();
    let key = |times: &Times| match sort {
        Sort::OnCpu => (times.on_cpu_ns, times.off_cpu_ns),
        Sort::OffCpu => (times.off_cpu_ns, times.on_cpu_ns),
    };
    all.sort_by_key(|hot| Reverse((key(&hot.own), key(&hot.total))));
    all.into_iter()
}

/// Time in each second: of CPU time that is CPUs, of blocked time threads. Nothing is a dot, so that
/// the eye finds what is there.
fn per(ns: u64, seconds: f64) -> String {
    let share = ns as f64 / 1e9 / seconds;
    match share {
        _ if ns == 0 => ".".to_owned(),
        share if share < 0.005 => "<0.01".to_owned(),
        share if share < 100.0 => format!("{share:.2}"),
        share => format!("{share:.0}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::query::Range;

    pub(crate) fn sample() -> Hottest {
        let times =
            |on: u64, off: u64| Times { on_cpu_ns: on * 1_000_000, off_cpu_ns: off * 1_000_000 };
        let hot = |name: &str, module: &str, own, total| Hot {
            name: name.to_owned(),
            module: module.to_owned(),
            own,
            total,
        };
        Hottest {
            range: Some(Range { from_unix_ns: 1_000_000_000, to_unix_ns: 3_000_000_000 }),
            cpus: 8,
            services: vec![
                hot("redis", "", times(1500, 200), times(1500, 200)),
                hot("idle", "", times(0, 300_000), times(0, 300_000)),
            ],
            functions: vec![
                hot("dictFind", "redis-server", times(900, 0), times(1400, 0)),
                hot("epoll_wait", "libc.so.6", times(1, 250_000), times(1, 250_000)),
            ],
            total: times(1500, 300_200),
            losses: Vec::new(),
        }
    }

    #[test]
    fn kinds_of_time_have_their_own_columns() {
        let top = sample();
        let rows = functions(&top, Sort::OnCpu, 10);
        assert_eq!(rows[0].columns, ["0.45", "0.70", ".", "."]);
        assert_eq!(rows[0].name, "dictFind  redis-server");
        assert_eq!(rows[1].columns, ["<0.01", "<0.01", "125", "125"]);
        let by_wait = functions(&top, Sort::OffCpu, 1);
        assert!(by_wait[0].name.starts_with("epoll_wait"));
        let names = |sort| -> Vec<String> {
            services(&top, sort, 10).into_iter().map(|row| row.name).collect()
        };
        assert_eq!(names(Sort::OnCpu), ["redis", "idle"]);
        assert_eq!(names(Sort::OffCpu), ["idle", "redis"]);
        let longest = rows.iter().flat_map(|row| &row.columns).map(String::len).max();
        assert!(longest < Some(WIDTH));
    }

    #[test]
    fn the_header_tells_the_host_and_what_is_missing() {
        let mut top = sample();
        let text = "2.0 s   on CPU: 0.75 of 8 CPUs   off CPU: 150.1 threads wait";
        assert_eq!(header(&top), text);
        assert_eq!(losses(&top), None);
        top.losses = vec![("samples_lost_ring_full".to_owned(), 3)];
        assert_eq!(losses(&top).as_deref(), Some("lost: samples_lost_ring_full 3"));
        assert_eq!(header(&Hottest::default()), "nothing was recorded");
    }
}
