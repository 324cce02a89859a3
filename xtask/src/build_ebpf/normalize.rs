//! Makes of the linker's output the object that is committed: smaller, and the same from any folder.

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// The object without what no loader reads and without what depends on where it was compiled.
pub fn normalize(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("the linker made no ELF object")?;
    drop_debug_sections(&mut builder);
    plain_names(&mut builder);
    let mut normal = Vec::new();
    builder.write(&mut normal).context("cannot write the BPF object")?;
    Ok(normal)
}

/// The linker has made BTF of the DWARF sections; and the relocations of the BTF sections tell no more
/// than the sections themselves. Together five sixths of the object.
fn drop_debug_sections(builder: &mut Builder<'_>) {
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        let plain = name.strip_prefix(b".rel").unwrap_or(name);
        section.delete = plain.starts_with(b".debug_") || name.starts_with(b".rel.BTF");
    }
    // LLVM keeps the names of sections among those of symbols; the builder wants them apart.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    builder.delete_orphans();
}

/// The mangled name of a private function holds a hash of the path of its crate.
fn plain_names(builder: &mut Builder<'_>) {
    for symbol in &mut builder.symbols {
        let Ok(name) = std::str::from_utf8(symbol.name.as_slice()) else { continue };
        if let Some(plain) = without_hash(name) {
            symbol.name = plain.into_bytes().into();
        }
    }
}

/// A name of the v0 mangling whose crate, `Cs<hash>_<name>`, has lost its hash.
fn without_hash(name: &str) -> Option<String> {
    let (path, hashed) = name.strip_prefix("_R")?.split_once("Cs")?;
    let (_hash, rest) = hashed.split_once('_')?;
    Some(format!("_R{path}C{rest}"))
}

#[cfg(test)]
mod tests {
    use super::without_hash;

    #[test]
    fn only_the_hash_of_the_crate_goes() {
        let mangled = "_RNvNtCskwSe9EvQL7S_13profiler_ebpf4walk11sample_step";
        let plain = "_RNvNtC13profiler_ebpf4walk11sample_step";
        assert_eq!(without_hash(mangled).as_deref(), Some(plain));
        assert_eq!(without_hash("on_cpu"), None);
    }
}
