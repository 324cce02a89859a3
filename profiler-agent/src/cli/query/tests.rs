//! `query` on a store that no agent has open.

use std::sync::Arc;

use clap::Parser;
use profiler_proto::pprof::{Label, Sample, ValueType, encode_zstd};

use super::*;
use crate::model::finished::Finished;
use crate::store::{Config, MIN_BYTES, Store};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: QueryArgs,
}

fn query(directory: &Path, flags: &[&str]) -> anyhow::Result<String> {
    let output = directory.join("out.folded");
    let _ = std::fs::remove_file(&output);
    let (store, out) = (directory.join("store"), output.display().to_string());
    let paths = ["query", "--store", store.to_str().unwrap(), "--output", &out];
    run(Command::try_parse_from(paths.iter().chain(flags))?.args)?;
    Ok(std::fs::read_to_string(&output)?)
}

/// A window of ten seconds with one sample.
fn window(start_unix_ns: u64, service: &str, ns: i64) -> Finished {
    let strings = ["", "cpu", "nanoseconds", "service", service, "samples", "count"];
    let profile = Profile {
        string_table: strings.map(str::to_owned).to_vec(),
        sample_type: vec![ValueType { ty: 5, unit: 6 }, ValueType { ty: 1, unit: 2 }],
        sample: vec![Sample {
            value: vec![1, ns],
            label: vec![Label { key: 3, str: 4, ..Label::default() }],
            ..Sample::default()
        }],
        time_nanos: start_unix_ns as i64,
        duration_nanos: 10_000_000_000,
        ..Profile::default()
    };
    let profile = Arc::from(encode_zstd(&profile).unwrap());
    Finished { start_unix_ns, duration_ns: 10_000_000_000, profile }
}

fn store(directory: &Path, minutes_ago: &[u64]) -> Store {
    let config = Config {
        path: directory.join("store"),
        max_bytes: MIN_BYTES,
        max_age: Duration::from_secs(86_400),
        sinks: Vec::new(),
    };
    let (store, _) = Store::open(&config).unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap();
    for (n, minutes) in (1..).zip(minutes_ago) {
        let service = if n == 2 { "redis" } else { "web" };
        store.put(&window(now - minutes * 60_000_000_000, service, n));
    }
    store
}

#[test]
fn windows_of_a_time_are_added_up_also_while_the_store_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let open = store(directory.path(), &[50, 40, 5, 3]);
    let query = |flags: &[&str]| query(directory.path(), flags);
    assert_eq!(query(&[]).unwrap(), "[no stack] 10\n", "the last hour: all four");
    assert_eq!(query(&["--last", "6m"]).unwrap(), "[no stack] 7\n");
    assert_eq!(query(&["--service", "redis"]).unwrap(), "[no stack] 2\n");
    assert_eq!(query(&["--label", "service=web", "--last", "4m"]).unwrap(), "[no stack] 4\n");
    drop(open);
    assert_eq!(query(&["--last", "45m", "--event", "on-cpu"]).unwrap(), "[no stack] 9\n");
}

#[test]
fn an_error_says_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let told = |flags: &[&str]| format!("{:#}", query(directory.path(), flags).unwrap_err());
    assert!(told(&[]).contains("there is no store in"));
    let open = store(directory.path(), &[]);
    assert!(told(&["--last", "5m"]).contains("the store holds none yet"));
    drop(open);
    drop(store(directory.path(), &[50]));
    let year = Zoned::now().year().to_string();
    for (flags, parts) in [
        (&["--last", "5m"][..], &["there is no window from", "the store holds", &*year][..]),
        (&["--service", "nobody"], &["nothing in 1 windows fits --service nobody --event wall"]),
        (&["--last", "ten"], &["--last"]),
        (&["--last", "1m", "--from", "03:10"], &["cannot be used with"]),
        (&["--to", "03:10"], &["--from"]),
        (&["--from", "2999-01-01"], &["in the future"]),
        (&["--label", "redis"], &["NAME=VALUE"]),
        (&["--format", "png"], &["png"]),
    ] {
        let told = told(flags);
        for part in parts {
            assert!(told.contains(part), "{flags:?}: {part:?} is not in {told:?}");
        }
    }
}
