//! What is wrong is told at once, with its place and the way out.

use super::*;

#[test]
fn everything_that_is_wrong_is_told() {
    let error = load("[store]\nsise = \"1 GiB\"\nage = 24\n", &[], &[]).unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("agent.toml:2:1: there is no key store.sise; did you mean store.size?"));
    assert!(error.contains("agent.toml:3:7: store.age: \"24\" has no unit"));
}
