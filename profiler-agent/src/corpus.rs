//! The corpora of the fuzz targets (`tests/fuzz`), as ordinary tests.

use std::path::Path;

/// Runs the body of a target on each input that is kept of it.
pub fn replay(target: &str, body: impl Fn(&[u8])) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let directory = workspace.join("tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&directory).expect("a corpus");
    let mut inputs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", directory.display());
    for input in inputs {
        // Shown where the test fails.
        println!("{}", input.display());
        body(&std::fs::read(input).unwrap());
    }
}
