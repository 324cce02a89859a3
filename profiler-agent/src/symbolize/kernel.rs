//! Kernel code, modules and BPF programs: the function symbols of `/proc/kallsyms` in a compact table.
//!
//! blazesym reads this file too, but keeps every symbol in an allocation of its own, drops the module's
//! name, and gives an address the next lower symbol whatever its type or distance: code past the last
//! symbol of a module would take a neighbour's name. Here a name needs a function symbol at most
//! [`MAX_FUNCTION`] below the address with no other symbol between.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::lines::Lines;

/// No function is longer, in bytes; the largest BPF programs come near.
const MAX_FUNCTION: u64 = 1 << 20;

/// Bytes of kallsyms that are read at most; large kernels have 15 MB.
const MAX_BYTES: u64 = 256 << 20;

/// Modules and BPF programs come and go: their addresses are looked up in a table no older than this.
const MAX_AGE: Duration = Duration::from_secs(10);

/// A kernel function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelName {
    /// Its name, with its module (`nft_do_chain [nf_tables]`), or `[bpf]`.
    pub function: String,
    /// Its name in kallsyms.
    pub symbol: String,
}

/// Names kernel addresses. The table is read when the first one is asked for.
pub(super) struct Kernel {
    path: PathBuf,
    table: Option<(Table, Instant)>,
    problem: Option<String>,
}

impl Kernel {
    /// `path` is `/proc/kallsyms`, or a copy.
    pub fn new(path: PathBuf) -> Self {
        Self { path, table: None, problem: None }
    }

    /// Why kernel frames stay without names, for the user.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The function at an address.
    pub fn name(&mut self, address: u64) -> Option<KernelName> {
        let found = self.table.as_ref().map(|(table, _)| table.find(address));
        // The kernel image never changes; what lies elsewhere may be newer than the table.
        match found {
            Some(Some(name)) if !name.contains(MODULE_MARK) => {}
            _ => self.refresh(),
        }
        let (table, _) = self.table.as_ref()?;
        let function = table.find(address)?.to_owned();
        let symbol = function.split(MODULE_MARK).next().unwrap_or(&function).to_owned();
        Some(KernelName { function, symbol })
    }

    fn refresh(&mut self) {
        let now = Instant::now();
        if self.table.as_ref().is_some_and(|(_, read)| now.duration_since(*read) < MAX_AGE) {
            return;
        }
        let (table, problem) = match File::open(&self.path).and_then(Table::read) {
            Ok(table) if table.symbols.is_empty() => (table, Some(self.hidden())),
            Ok(table) => (table, None),
            Err(error) => (Table::default(), Some(self.unreadable(&error))),
        };
        self.problem = problem;
        self.table = Some((table, now));
    }

    fn hidden(&self) -> String {
        format!(
            "kernel frames have no names: {} shows no addresses (set kernel.kptr_restrict to 0 or 1 \
             and give the agent CAP_SYSLOG)",
            self.path.display()
        )
    }

    fn unreadable(&self, error: &io::Error) -> String {
        format!(
            "kernel frames have no names: {} cannot be read: {error} (it needs a kernel with \
             CONFIG_KALLSYMS and a mounted /proc)",
            self.path.display()
        )
    }
}

/// What separates a name from its module in the table.
const MODULE_MARK: &str = " [";

/// Symbols by address.
#[derive(Default)]
struct Table {
    symbols: Vec<Symbol>,
    /// Names, each up to its NUL.
    names: Vec<u8>,
}

/// 16 bytes: there are some hundred thousand of them.
#[derive(Clone, Copy)]
struct Symbol {
    address: u64,
    /// Offset in the names; `None` for data, which only says that a function has ended.
    name: Option<NameOffset>,
}

/// Offset in [`Table::names`], plus one.
type NameOffset = std::num::NonZeroU32;

impl Table {
    fn read(reader: impl Read) -> io::Result<Self> {
        let mut table = Self::default();
        let mut lines = Lines::new(reader, MAX_BYTES);
        while let Some(line) = lines.next()? {
            match parse(line.bytes) {
                Some((address, kind, name)) if !is_padding(name) => table.add(address, kind, name),
                _ => {}
            }
        }
        table.sort();
        Ok(table)
    }

    fn add(&mut self, address: u64, kind: u8, name: &[u8]) {
        let is_function = matches!(kind, b't' | b'T' | b'w' | b'W');
        let name = if is_function { self.add_name(name) } else { None };
        let in_data = self.symbols.last().is_some_and(|s| s.name.is_none() && s.address <= address);
        if name.is_some() || !in_data {
            self.symbols.push(Symbol { address, name });
        }
    }

    fn add_name(&mut self, name: &[u8]) -> Option<NameOffset> {
        let offset = u32::try_from(self.names.len()).ok()?.checked_add(1)?;
        self.names.extend(name.iter().map(|b| if *b == b'\t' { b' ' } else { *b }));
        self.names.push(0);
        NameOffset::new(offset)
    }

    /// By address; of several at one address the best name stays.
    fn sort(&mut self) {
        let Self { symbols, names } = self;
        let preference = |s: &Symbol| (s.name.is_none(), s.name.map(|n| underscores(names, n)));
        symbols.sort_unstable_by(|a, b| {
            a.address.cmp(&b.address).then_with(|| preference(a).cmp(&preference(b)))
        });
        symbols.dedup_by_key(|s| s.address);
        symbols.shrink_to_fit();
        names.shrink_to_fit();
    }

    fn find(&self, address: u64) -> Option<&str> {
        let after = self.symbols.partition_point(|s| s.address <= address);
        let symbol = self.symbols.get(after.checked_sub(1)?)?;
        if address - symbol.address >= MAX_FUNCTION {
            return None;
        }
        str::from_utf8(name(&self.names, symbol.name?)).ok()
    }
}

fn name(names: &[u8], offset: NameOffset) -> &[u8] {
    let rest = names.get(offset.get() as usize - 1..).unwrap_or_default();
    super::text::until_nul(rest)
}

/// The symbols of the bytes before each function, which are never run: half of the table.
fn is_padding(name: &[u8]) -> bool {
    name.starts_with(b"__pfx_") || name.starts_with(b"__cfi_")
}

/// Aliases with many of them are the internal ones.
fn underscores(names: &[u8], offset: NameOffset) -> usize {
    name(names, offset).iter().take_while(|b| **b == b'_').count()
}

/// Address, type, and name with module. `None` where the address is hidden.
fn parse(line: &[u8]) -> Option<(u64, u8, &[u8])> {
    let (address, rest) = line.split_at_checked(line.iter().position(|b| *b == b' ')?)?;
    let address = u64::from_str_radix(str::from_utf8(address).ok()?, 16).ok()?;
    let [b' ', kind, b' ', name @ ..] = rest else { return None };
    (address != 0 && !name.is_empty()).then_some((address, *kind, name))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const KALLSYMS: &str = "\
0000000000001000 A percpu_thing
ffffffff81000000 T _stext
ffffffff81000000 T __startup
ffffffff81000000 T startup
ffffffff81000100 t do_work.isra.0
ffffffff81000200 T _etext
ffffffff82000000 D some_data
ffffffff82000100 d more_data
ffffffffc0001000 t nft_do_chain\t[nf_tables]
ffffffffc0001800 r nft_table\t[nf_tables]
ffffffffc0000000 t bpf_prog_6deef7357e7b4530_sd_fw\t[bpf]
";

    fn kernel(text: &str) -> (Kernel, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (Kernel::new(file.path().to_owned()), file)
    }

    #[test]
    fn functions_modules_and_bpf_programs_have_names() {
        let (mut kernel, _file) = kernel(KALLSYMS);
        for (address, function) in [
            (0xffffffff81000000, Some("startup")),
            (0xffffffff810000ff, Some("startup")),
            (0xffffffff81000100, Some("do_work.isra.0")),
            (0xffffffffc0001000, Some("nft_do_chain [nf_tables]")),
            (0xffffffffc0000010, Some("bpf_prog_6deef7357e7b4530_sd_fw [bpf]")),
            // Data, too far from any function, below and above everything.
            (0xffffffff82000010, None),
            (0xffffffffc0001900, None),
            (0xffffffff81900000, None),
            (0x10, None),
            (u64::MAX, None),
        ] {
            let name = kernel.name(address);
            assert_eq!(name.as_ref().map(|n| n.function.as_str()), function, "{address:#x}");
        }
        assert_eq!(kernel.name(0xffffffffc0001000).unwrap().symbol, "nft_do_chain");
        assert_eq!(kernel.problem(), None);
    }

    #[test]
    fn hidden_addresses_are_one_problem() {
        let (mut kernel, _file) = kernel("0000000000000000 T _stext\n0000000000000000 T startup\n");
        assert_eq!(kernel.name(0xffffffff81000000), None);
        assert!(kernel.problem().unwrap().contains("kptr_restrict"));
    }

    #[test]
    fn a_missing_file_is_one_problem() {
        let mut kernel = Kernel::new(PathBuf::from("/nonexistent/kallsyms"));
        assert_eq!(kernel.name(0xffffffff81000000), None);
        assert!(kernel.problem().unwrap().contains("CONFIG_KALLSYMS"));
    }

    #[test]
    fn odd_lines_are_skipped() {
        let odd = "\n \nzz T x\nffffffff81000000\nffffffff81000000 T\nffffffff81000000 T \n\
                   fffffffffffffffff T wide\n";
        assert!(Table::read(odd.as_bytes()).unwrap().symbols.is_empty());
    }

    #[test]
    fn the_live_kernel_has_names() {
        let live = std::fs::read_to_string("/proc/kallsyms").unwrap();
        let line = live.lines().find(|l| l.ends_with(" schedule")).unwrap();
        let address = parse(line.as_bytes()).unwrap().0;
        assert_ne!(address, 0, "run the tests as root");
        let mut kernel = Kernel::new(PathBuf::from("/proc/kallsyms"));
        assert_eq!(kernel.name(address + 1).unwrap().function, "schedule");
    }
}
