//! The alerts on the agent's own objective, tried with what a real agent exports: when all is well, and when it
//! is stopped for so long that the kernel has no room for what it samples.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use profiler_agent::telemetry::Metric;
use profiler_tests::daemon::{Metrics, Room};
use profiler_tests::program::Program;
use profiler_tests::promtool::{self, Case};
use profiler_tests::{wait, workload};

use crate::host;

/// Shown from the first time on that there is something to count.
const RARE: &[Metric] = &[Metric::TurnedAwayTime, Metric::TruncatedStacks];

const LOST: &str = "profiler_agent_turned_away_total";

/// When alerts are looked at: all spans of the fast one are full.
const MINUTES: u32 = 90;

#[test]
fn the_objective_is_kept_and_missed() {
    let _host = host::claim();
    let room = Room::in_memory().unwrap();
    // A full ring takes a while to fill at the usual rate. The budget is for ordinary ones.
    room.configure("[sampling]\nfrequency = 4999\n[budget]\ncpu = \"100%\"\nmemory = \"1 GiB\"\n")
        .unwrap();
    let _load = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    let alerts = promtool::alerts().unwrap();
    let mut agent = room.start(&[] as &[&str]).unwrap();
    agent
        .wait_for_metric("profiler_agent_sink_shipped_total", 2.0, Duration::from_secs(60))
        .unwrap();

    let (begun, first) = (Instant::now(), agent.metrics().unwrap());
    let shipped = first.sum("profiler_agent_sink_shipped_total").unwrap();
    let next = shipped + 3.0;
    agent
        .wait_for_metric("profiler_agent_sink_shipped_total", next, Duration::from_secs(60))
        .unwrap();
    let quiet = (begun.elapsed(), first, agent.metrics().unwrap());
    for metric in Metric::ALL.iter().filter(|metric| !RARE.contains(metric)) {
        assert!(quiet.2.sum(&metric.full_name()).is_some(), "{}", metric.full_name());
    }
    assert!(quiet.2.of("profiler_agent_samples_total", "on-cpu").unwrap() > 1000.0);
    let mut case = case(&quiet);
    alerts.iter().for_each(|alert| case.quiet(alert, MINUTES));
    case.run().unwrap();

    let (begun, first) = (Instant::now(), agent.metrics().unwrap());
    let lost = first.of(LOST, "samples_lost_ring_full").unwrap();
    wait::until("samples that are lost", Duration::from_secs(120), || {
        agent.signal(Signal::SIGSTOP)?;
        std::thread::sleep(Duration::from_secs(10));
        agent.signal(Signal::SIGCONT)?;
        // It tells of them with the window in which they were.
        let told = wait::until("what was lost to be told", Duration::from_secs(15), || {
            let now = agent.metrics().ok().and_then(|now| now.of(LOST, "samples_lost_ring_full"));
            Ok(now.filter(|now| *now > lost))
        });
        Ok(told.ok())
    })
    .unwrap();
    let burning = (begun.elapsed(), first, agent.metrics().unwrap());
    let (_, _, last) = &burning;
    println!(
        "{:?} of {:?}",
        last.of(LOST, "samples_lost_ring_full"),
        last.sum("profiler_agent_samples_total")
    );
    let mut case = self::case(&burning);
    case.fires("ProfilerAgentLosesFast", MINUTES);
    alerts
        .iter()
        .filter(|alert| !alert.contains("Loses"))
        .for_each(|alert| case.quiet(alert, MINUTES));
    case.run().unwrap();
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
}

/// Ten hours like the time between two scrapes.
fn case((time, first, last): &(Duration, Metrics, Metrics)) -> Case {
    let mut case = Case::default();
    let minutes = time.as_secs_f64() / 60.0;
    for (series, end) in last.series() {
        let begin = first.value(series).unwrap_or_default();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let comma = if labels == "}" { "" } else { ", " };
        let series = format!("{name}{{job=\"profiler-agent\", instance=\"a\"{comma}{labels}");
        if name.ends_with("_total") {
            case.series(&series, begin, (end - begin) / minutes);
        } else {
            case.series(&series, end, 0.0);
        }
    }
    case.series("up{job=\"profiler-agent\", instance=\"a\"}", 1.0, 0.0);
    case
}
