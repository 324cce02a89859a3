//! Makes Rust of the definitions in `wire/`. The compiler of `.proto` files is written in Rust, so no
//! `protoc` is needed.

use std::error::Error;

/// Every service and message that is spoken.
const FILES: &[&str] = &[
    "push/v1/push.proto",
    "parca/profilestore/v1alpha1/profilestore.proto",
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=wire");
    let definitions = protox::compile(FILES, ["wire"])?;
    // The name `prost` is that of an older version here, which pprof's types need.
    let mut config = tonic_prost_build::Config::new();
    config.prost_path("::prost_wire");
    // So that a profile is not copied for each try.
    config.bytes(["."]);
    tonic_prost_build::configure()
        .build_transport(false)
        .include_file("wire.rs")
        .compile_fds_with_config(definitions, config)?;
    Ok(())
}
