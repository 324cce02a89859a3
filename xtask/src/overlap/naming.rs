//! One way to name the code of both sides: by the file and the function, as its unwind information tells
//! where functions begin. So stripped programs have names, and a function with several has one.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection as _};
use object::{Object as _, ObjectSection as _, ObjectSegment as _};

/// Names of addresses.
pub struct Naming {
    files: HashMap<String, File>,
    /// The first name of each place of the kernel that has several, by the others.
    kernel: HashMap<String, String>,
}

/// What is known of a file.
#[derive(Default)]
struct File {
    /// Where functions begin and end, by address.
    functions: Vec<(u64, u64)>,
    /// Offset in the file, length and address of each segment.
    segments: Vec<(u64, u64, u64)>,
}

impl Naming {
    /// Reads the kernel's names.
    pub fn new() -> Result<Self> {
        let symbols = std::fs::read_to_string("/proc/kallsyms")?;
        let mut first: HashMap<&str, &str> = HashMap::new();
        let mut kernel = HashMap::new();
        for line in symbols.lines() {
            let mut words = line.split_whitespace();
            let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let known = *first.entry(address).or_insert(name);
            if known != name {
                kernel.insert(name.to_owned(), known.to_owned());
            }
        }
        Ok(Self { files: HashMap::new(), kernel })
    }

    /// A function of the kernel.
    pub fn kernel(&self, symbol: &str) -> String {
        self.kernel.get(symbol).map_or(symbol, String::as_str).to_owned()
    }

    /// The function at an ELF virtual address of a file.
    pub fn address(&mut self, path: &str, address: u64) -> String {
        let short = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.starts_with('[') {
            return path.to_owned();
        }
        match self.file(path).function(address) {
            Some(start) => format!("{short}+{start:#x}"),
            None => format!("{short}+?"),
        }
    }

    /// The function at an offset in a file.
    pub fn offset(&mut self, path: &str, offset: u64) -> String {
        let holds = |(from, len, _): &&(u64, u64, u64)| (*from..from + len).contains(&offset);
        let segment = self.file(path).segments.iter().find(holds).copied();
        let address = segment.map_or(offset, |(from, _, address)| offset - from + address);
        self.address(path, address)
    }

    fn file(&mut self, path: &str) -> &File {
        // What is no file, or none that can be read, has no functions.
        self.files.entry(path.to_owned()).or_insert_with(|| read(path).unwrap_or_default())
    }
}

impl File {
    fn function(&self, address: u64) -> Option<u64> {
        let after = self.functions.partition_point(|(start, _)| *start <= address);
        let (start, end) = *self.functions.get(after.checked_sub(1)?)?;
        (address < end).then_some(start)
    }
}

fn read(path: &str) -> Result<File> {
    let bytes = std::fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let segments = elf.segments();
    let segments = segments.map(|s| (s.file_range().0, s.file_range().1, s.address())).collect();
    let mut file = File { functions: Vec::new(), segments };
    let Some(section) = elf.section_by_name(".eh_frame") else { return Ok(file) };
    let data = section.uncompressed_data()?;
    let mut frames = EhFrame::new(&data, LittleEndian);
    frames.set_address_size(8);
    let text = elf.section_by_name(".text").map_or(0, |text| text.address());
    let bases = BaseAddresses::default().set_eh_frame(section.address()).set_text(text);
    let mut entries = frames.entries(&bases);
    while let Some(entry) = entries.next()? {
        let CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(EhFrame::cie_from_offset)?;
        file.functions.push((fde.initial_address(), fde.end_address()));
    }
    file.functions.sort_unstable();
    Ok(file)
}
