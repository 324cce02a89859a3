//! The governor under simulated load: what a step saves shows in the next reading.

use super::*;

const BUDGET: Budget = Budget { cpu: 0.01, memory: 96 << 20 };

fn base() -> Rates {
    Rates {
        frequency: 99,
        min_block: Duration::from_micros(1),
        carry_below: Duration::ZERO,
        blocks_per_second: 2_000,
        burst: None,
    }
}

/// A host of two CPUs that switches so often, with blocks of about so long.
#[derive(Clone, Copy)]
struct Load {
    switches: f64,
    block: Duration,
    own: f64,
}

const QUIET: Load = Load { switches: 1_000.0, block: Duration::from_millis(5), own: 0.002 };
const STORM: Load = Load { switches: 100_000.0, block: Duration::from_micros(20), own: 0.001 };

impl Load {
    /// What a second of it takes under these rates.
    fn reading(self, rates: &Rates) -> Reading {
        let kept = self.switches.min(2.0 * f64::from(rates.blocks_per_second));
        let ended = if self.block < rates.carry_below { 0.0 } else { kept };
        let samples = 2.0 * f64::from(rates.frequency);
        // In the programs, and in the agent.
        let bpf = self.switches * 150.0 + kept * 2_500.0 + ended * 200.0 + samples * 3_000.0;
        let own = self.own * 2e9 + (kept + ended + samples) * 1_500.0;
        Reading {
            elapsed: Duration::from_secs(1),
            cpus: 2,
            own_ns: own as u64,
            bpf_ns: bpf as u64,
            memory: 50 << 20,
            burst_frequency: 0,
        }
    }
}

/// Lets so many seconds pass. Returns the steps, with the second of each.
fn pass(governor: &mut Governor, load: Load, seconds: u64) -> Vec<(u64, Step)> {
    let second = |second| Some((second, governor.take(&load.reading(&governor.rates()))?));
    (0..seconds).filter_map(second).collect()
}

#[test]
fn a_quiet_host_has_everything() {
    let mut governor = Governor::new(BUDGET, &base());
    assert!(pass(&mut governor, QUIET, 600).is_empty());
    assert_eq!((governor.rates(), governor.level()), (base(), 0));
}

#[test]
fn a_storm_is_brought_into_the_budget_and_nothing_is_silent() {
    let mut governor = Governor::new(BUDGET, &base());
    let steps = pass(&mut governor, STORM, 300);
    assert!(governor.cpu() <= BUDGET.cpu, "{}", governor.cpu());
    assert!(steps.iter().all(|(second, _)| *second < 120), "it comes to rest: {steps:?}");
    for (_, step) in &steps {
        assert!(step.rates.frequency >= 19 && step.rates.blocks_per_second >= 50, "{step:?}");
        assert!(step.rates.min_block == base().min_block, "no time is dropped: {step:?}");
        assert!(step.reason.contains("budget of 1.00%"), "{}", step.reason);
    }
    assert_eq!(governor.rates().frequency, 99, "samples cost little: they are not given up");
}

#[test]
fn steps_of_two_kinds_take_turns_as_long_as_there_are_both() {
    let steps = |base: &Rates| -> Vec<_> {
        let step = |rates: &Rates| {
            (rates.carry_below.as_micros(), rates.blocks_per_second, rates.frequency)
        };
        ladder(base).iter().map(step).collect()
    };
    let all = [
        (32, 2_000, 99),
        (32, 1_000, 99),
        (160, 1_000, 99),
        (160, 500, 99),
        (800, 500, 99),
        (800, 250, 99),
        (800, 125, 99),
        (800, 62, 99),
        (800, 62, 49),
        (800, 62, 19),
    ];
    assert_eq!(steps(&base()), all);
    // Longer blocks are only counted, so none would carry.
    let long = Rates { min_block: Duration::from_micros(600), ..base() };
    assert_eq!(steps(&long)[..2], [(0, 1_000, 99), (0, 500, 99)]);
    let few = Rates { blocks_per_second: 99, frequency: 19, ..base() };
    assert_eq!(steps(&few), [(32, 99, 19), (160, 99, 19), (800, 99, 19)]);
}

#[test]
fn what_cannot_be_brought_into_the_budget_is_at_the_least_and_not_at_nothing() {
    let mut governor = Governor::new(Budget { cpu: 0.0001, ..BUDGET }, &base());
    pass(&mut governor, STORM, 600);
    let rates = governor.rates();
    assert_eq!((rates.frequency, rates.blocks_per_second), (19, 62));
    assert_eq!(governor.level(), governor.ladder.len());
    assert!(pass(&mut governor, STORM, 300).is_empty(), "there is nothing left to say");
}

#[test]
fn after_a_storm_all_comes_back_slowly() {
    let mut governor = Governor::new(BUDGET, &base());
    pass(&mut governor, STORM, 120);
    let low = governor.level();
    assert!(low > 0);
    let steps = pass(&mut governor, QUIET, 3_600);
    assert_eq!((governor.rates(), governor.level()), (base(), 0));
    assert!(steps.len() <= low, "{low} steps in {}", steps.len());
    let seconds: Vec<u64> = steps.iter().map(|(second, _)| *second).collect();
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] >= 30), "{seconds:?}");
}

#[test]
fn a_load_at_the_edge_does_not_swing() {
    // One step down is within, and leaves just enough room to come back: and then it is above again.
    let mut governor = Governor::new(BUDGET, &base());
    let mut changes = 0;
    for _ in 0..3_600 {
        let cpu = if governor.level() == 0 { 0.011 } else { 0.005 };
        let reading = Reading { own_ns: 0, bpf_ns: (cpu * 2e9) as u64, ..QUIET.reading(&base()) };
        changes += u32::from(governor.take(&reading).is_some());
    }
    // Every 33 s it would be more than 200.
    assert!(changes < 40, "{changes} changes in an hour");
}

#[test]
fn the_time_of_one_window_is_no_reason() {
    // A tenth and a half of a second of work each ten seconds is three quarters of a per cent of two CPUs.
    for millis in [1_000, 1_050, 1_090] {
        let elapsed = Duration::from_millis(millis);
        let mut governor = Governor::new(BUDGET, &base());
        for reading in 0..600 {
            let at = |reading: u64| reading * millis / 10_000;
            let ends_window = at(reading + 1) > at(reading);
            let own_ns = if ends_window { 150_000_000 } else { 1_000_000 };
            let reading = Reading { elapsed, own_ns, bpf_ns: 0, ..QUIET.reading(&base()) };
            assert_eq!(governor.take(&reading), None, "{millis} ms");
        }
    }
}

#[test]
fn the_start_is_no_reason() {
    // Two seconds of reading and naming, and programs that look at all threads.
    let mut governor = Governor::new(BUDGET, &base());
    for second in 0..60 {
        let own_ns = if second < 12 { 300_000_000 } else { 2_000_000 };
        let bpf_ns = if second < 3 { 100_000_000 } else { 1_000_000 };
        let reading = Reading { own_ns, bpf_ns, ..QUIET.reading(&base()) };
        assert_eq!(governor.take(&reading), None, "second {second}");
    }
}

#[test]
fn one_second_of_many_switches_is_no_reason() {
    let mut governor = Governor::new(BUDGET, &base());
    for second in 0..600 {
        let bpf_ns = if second % 7 == 0 { 45_000_000 } else { 2_000_000 };
        let reading = Reading { own_ns: 0, bpf_ns, ..QUIET.reading(&base()) };
        assert_eq!(governor.take(&reading), None, "second {second}");
    }
}

#[test]
fn a_storm_is_answered_soon_and_by_no_more_than_it_takes() {
    let mut governor = Governor::new(BUDGET, &base());
    pass(&mut governor, QUIET, 60);
    // The programs take 1.1% of the CPUs, and the agent has just named much.
    let reading = Reading { own_ns: 0, bpf_ns: 22_000_000, ..QUIET.reading(&base()) };
    let steps: Vec<_> = (0..7).filter_map(|s| Some((s, governor.take(&reading)?.level))).collect();
    assert!(matches!(steps[..], [(2..=6, 1)]), "{steps:?}");
}

#[test]
fn the_agents_own_time_is_judged_while_its_programs_step_down() {
    let mut governor = Governor::new(BUDGET, &base());
    // The programs are above the budget whatever is done about them, and the agent is far above it.
    let reading = Reading { own_ns: 60_000_000, bpf_ns: 22_000_000, ..QUIET.reading(&base()) };
    let is_of_both = |step: Step| !step.reason.contains("took 1.10%");
    let first = (0..120).find(|_| governor.take(&reading).is_some_and(is_of_both));
    assert!(first.is_some_and(|second| second < 40), "{first:?}");
}

#[test]
fn a_burst_is_not_held_against_the_budget() {
    let mut governor = Governor::new(BUDGET, &base());
    let burst = Reading { burst_frequency: 1_000, bpf_ns: 40_000_000, ..QUIET.reading(&base()) };
    assert!((0..60).all(|_| governor.take(&burst).is_none()));
    let without = Reading { burst_frequency: 0, ..burst };
    assert!((0..60).any(|_| governor.take(&without).is_some()));
}

#[test]
fn under_pressure_caches_go_first_and_then_windows() {
    let mut governor = Governor::new(BUDGET, &base());
    let with = |memory_mib: u64| Reading { memory: memory_mib << 20, ..QUIET.reading(&base()) };
    let memory = |step: Option<Step>| step.map(|step| step.memory);
    assert_eq!(memory(governor.take(&with(90))), None);
    let under_pressure: Vec<_> =
        (0..120).filter_map(|_| memory(governor.take(&with(97)))).collect();
    assert_eq!(under_pressure, [Memory::Caches, Memory::Windows]);
    assert_eq!(governor.rates(), base(), "the rates have nothing to do with it");
    let steps: Vec<_> = (0..120).filter_map(|_| memory(governor.take(&with(60)))).collect();
    assert_eq!(steps, [Memory::Caches, Memory::Free]);
}

#[test]
fn other_settings_begin_at_the_top() {
    let mut governor = Governor::new(BUDGET, &base());
    pass(&mut governor, STORM, 120);
    let rates = Rates { frequency: 199, ..base() };
    governor.configure(Budget { cpu: 0.5, ..BUDGET }, &rates);
    assert_eq!((governor.rates(), governor.level()), (rates, 0));
}
