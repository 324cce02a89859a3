//! Builds programs, and makes of them what the process stage would.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use object::{Object, ObjectSegment, ObjectSymbol, SegmentFlags, elf};
use tempfile::TempDir;

use crate::model::frame::{Binary, BinaryKind, Frame, Segment};
use crate::model::names::{FrameNames, NamedLine, Names};
use crate::symbolize::{Config, Symbolizer};

/// A directory with a program in it.
pub struct Workshop {
    directory: TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a source file and compiles it; returns the program's path.
    pub fn build(&self, compiler: &str, source: (&str, &str), flags: &[&str]) -> PathBuf {
        fs::write(self.path(source.0), source.1).unwrap();
        let mut arguments: Vec<&str> = flags.to_vec();
        arguments.extend(["-o", "program", source.0]);
        self.run(compiler, &arguments);
        self.path("program")
    }

    pub fn run(&self, program: &str, arguments: &[&str]) {
        let output =
            Command::new(program).args(arguments).current_dir(&self.directory).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    }

    pub fn symbolizer(&self) -> Symbolizer {
        let debug_dirs = vec![self.path("debug")];
        Symbolizer::new(Config { debug_dirs, ..Config::default() })
    }
}

/// A binary as the process stage makes it.
pub fn binary(id: u32, path: &Path) -> Arc<Binary> {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let build_id = file.build_id().unwrap().unwrap_or_default();
    let segments = file.segments().filter(is_executable).map(|segment| {
        let (file_offset, file_size) = segment.file_range();
        Segment { file_offset, file_size, address: segment.address() }
    });
    Arc::new(Binary {
        id,
        path: path.display().to_string(),
        kind: BinaryKind::File,
        build_id: build_id.iter().map(|b| format!("{b:02x}")).collect(),
        debug: None,
        segments: segments.collect(),
        file: Some(Arc::new(File::open(path).unwrap())),
        problem: None,
    })
}

fn is_executable<'a>(segment: &impl ObjectSegment<'a>) -> bool {
    matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.contains(elf::PF_X))
}

/// Every address of a function, as frames of `binary`; looked up in `path`'s symbol table.
pub fn frames_of(binary: &Arc<Binary>, path: &Path, function: &str) -> Vec<Frame> {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let symbol = file.symbols().find(|s| s.name() == Ok(function)).unwrap();
    let segment = binary
        .segments
        .iter()
        .find(|s| symbol.address() >= s.address && symbol.address() - s.address < s.file_size);
    let start = symbol.address() - segment.unwrap().address + segment.unwrap().file_offset;
    (start..start + symbol.size().max(1))
        .map(|offset| Frame::Native { binary: Arc::clone(binary), offset })
        .collect()
}

/// The names of all frames, without their repetitions: `function (file:line) < caller …`.
pub fn named(symbolizer: &mut Symbolizer, frames: &[Frame]) -> Vec<String> {
    let mut names = Names::default();
    symbolizer.symbolize(frames, &mut names);
    let mut all: Vec<String> = frames.iter().map(|f| describe(&names[&f.key()])).collect();
    all.dedup();
    all
}

pub fn describe(lines: &FrameNames) -> String {
    let line = |line: &NamedLine| match &*line.file {
        "" => line.function.to_string(),
        file => format!("{} ({}:{})", line.function, file.rsplit('/').next().unwrap(), line.line),
    };
    lines.iter().map(line).collect::<Vec<_>>().join(" < ")
}
