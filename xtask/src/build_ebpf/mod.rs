//! `cargo xtask build-ebpf`: compiles the kernel side into the object that the agent embeds.
//!
//! The object is committed with a manifest, so that a plain `cargo build` needs neither a BPF
//! toolchain nor a nightly compiler. `--check` tells when the two are no longer what the sources say.

mod back_edges;
mod functions;
mod manifest;
mod normalize;
mod tail_calls;
mod toolchain;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::sh;
use manifest::Manifest;
use toolchain::Toolchain;

/// The options of the command.
#[derive(clap::Args)]
pub struct Args {
    /// Changes nothing: fails when the committed object is not what the sources make.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if args.check { check() } else { build() }
}

const HOW_TO_REBUILD: &str = "run `cargo xtask build-ebpf` and commit profiler-agent/bpf";

fn directory() -> PathBuf {
    sh::workspace().join("profiler-agent/bpf")
}

fn object_path() -> PathBuf {
    directory().join("profiler.bpf.o")
}

fn manifest_path() -> PathBuf {
    directory().join("manifest.toml")
}

fn build() -> Result<()> {
    let toolchain = Toolchain::find()?;
    let object = compile(&toolchain)?;
    let manifest = Manifest::new(&object, toolchain.versions)?;
    fs::create_dir_all(directory()).context("cannot make profiler-agent/bpf")?;
    fs::write(object_path(), &object).context("cannot write the BPF object")?;
    fs::write(manifest_path(), manifest.to_toml()?).context("cannot write the manifest")?;
    println!("{}: {} bytes", object_path().display(), object.len());
    Ok(())
}

fn compile(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let built = toolchain.build()?;
    let object = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    back_edges::check(&object)?;
    tail_calls::check(&object)?;
    normalize::normalize(&object)
}

fn check() -> Result<()> {
    let object = fs::read(object_path())
        .with_context(|| format!("cannot read the BPF object: {HOW_TO_REBUILD}"))?;
    let text = fs::read_to_string(manifest_path())
        .with_context(|| format!("cannot read its manifest: {HOW_TO_REBUILD}"))?;
    let committed = Manifest::from_toml(&text)?;
    committed.verify(&object).with_context(|| HOW_TO_REBUILD)?;
    match Toolchain::find() {
        Ok(toolchain) if toolchain.versions == committed.toolchain => {
            if compile(&toolchain)? != object {
                bail!(
                    "the sources compile to another object than the committed one: {HOW_TO_REBUILD}"
                );
            }
            println!("the committed BPF object is what its sources compile to, byte for byte");
        }
        Ok(toolchain) => println!(
            "the hashes of the BPF object and its sources are right; not compiled to compare, since \
             it was made with {}, and here is {}",
            committed.toolchain, toolchain.versions
        ),
        Err(missing) => println!(
            "the hashes of the BPF object and its sources are right; not compiled to compare: {missing:#}"
        ),
    }
    Ok(())
}
