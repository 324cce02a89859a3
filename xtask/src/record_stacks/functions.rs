//! The unwind information of some functions, out of the files that are mapped.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use gimli::{
    BaseAddresses, CieOrFde, EhFrame, EndianSlice, LittleEndian, Reader as _, UnwindSection as _,
    constants as dw,
};
use object::{Object as _, ObjectSection as _, ObjectSegment as _, SegmentFlags};
use profiler_tests::recorded::{Common, Function, Hex, MappedFile, Mapping, Segment, to_hex};

use super::stopped::{Map, Stopped};
use crate::sh;

/// The files that hold these places, each with the functions there.
pub fn of(stopped: &Stopped, maps: &[Map], places: &[u64]) -> Result<Vec<MappedFile>> {
    let mut by_path: BTreeMap<&str, Vec<&Map>> = BTreeMap::new();
    for map in maps.iter().filter(|map| map.is_executable && !map.path.is_empty()) {
        by_path.entry(&map.path).or_default().push(map);
    }
    let mut files = Vec::new();
    for (path, maps) in by_path {
        let held = |place: &&u64| maps.iter().any(|map| (map.start..map.end).contains(place));
        let places: Vec<u64> = places.iter().filter(held).copied().collect();
        if !places.is_empty() {
            files.push(file(stopped, path, &maps, &places).with_context(|| path.to_owned())?);
        }
    }
    Ok(files)
}

fn file(stopped: &Stopped, path: &str, maps: &[&Map], places: &[u64]) -> Result<MappedFile> {
    let bytes = match maps.first() {
        // The vDSO is an ELF file in memory.
        Some(map) if !Path::new(path).is_absolute() => stopped.read(map.start, map.end)?,
        _ => std::fs::read(path)?,
    };
    let elf = object::File::parse(&*bytes)?;
    let segments: Vec<Segment> = elf.segments().filter_map(|segment| code(&segment)).collect();
    let mappings = maps.iter().map(|map| Mapping {
        start: Hex(map.start),
        end: Hex(map.end),
        offset: Hex(map.offset),
    });
    let mappings: Vec<Mapping> = mappings.collect();
    let addresses = places.iter().filter_map(|place| elf_address(*place, &mappings, &segments));
    let commons = commons(&elf, &addresses.collect::<Vec<u64>>())?;
    // Where this checkout lies is nobody's business.
    let path = Path::new(path);
    let path = path.strip_prefix(sh::workspace()).unwrap_or(path).display().to_string();
    Ok(MappedFile { path, mappings, segments, commons })
}

fn code(segment: &object::Segment<'_, '_>) -> Option<Segment> {
    let SegmentFlags::Elf { p_flags, .. } = segment.flags() else { return None };
    let (offset, size) = segment.file_range();
    p_flags.contains(object::elf::PF_X).then(|| Segment {
        offset: Hex(offset),
        size: Hex(size),
        address: Hex(segment.address()),
    })
}

fn elf_address(place: u64, mappings: &[Mapping], segments: &[Segment]) -> Option<u64> {
    let mapping = mappings.iter().find(|m| (m.start.0..m.end.0).contains(&place))?;
    let offset = place - mapping.start.0 + mapping.offset.0;
    let holds = |segment: &&Segment| {
        (segment.offset.0..segment.offset.0 + segment.size.0).contains(&offset)
    };
    let segment = segments.iter().find(holds)?;
    Some(offset - segment.offset.0 + segment.address.0)
}

/// The descriptions that cover any of these addresses, by what they have in common.
fn commons(elf: &object::File<'_>, addresses: &[u64]) -> Result<Vec<Common>> {
    let section = elf.section_by_name(".eh_frame").context("no .eh_frame")?;
    let data = section.uncompressed_data()?;
    let mut frames = EhFrame::new(&data, LittleEndian);
    frames.set_address_size(8);
    let text = elf.section_by_name(".text").map_or(0, |text| text.address());
    let bases = BaseAddresses::default().set_eh_frame(section.address()).set_text(text);
    let mut commons: BTreeMap<(bool, String), Vec<Function>> = BTreeMap::new();
    let mut entries = frames.entries(&bases);
    while let Some(entry) = entries.next()? {
        let CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(EhFrame::cie_from_offset)?;
        if !addresses.iter().any(|address| fde.contains(*address)) {
            continue;
        }
        let cie = fde.cie();
        ensure!(
            (cie.code_alignment_factor(), cie.data_alignment_factor()) == (1, -8),
            "offsets in units that are not kept"
        );
        let program = common_program(&data, cie)?;
        commons.entry((cie.is_signal_trampoline(), program)).or_default().push(Function {
            start: Hex(fde.initial_address()),
            len: Hex(fde.len()),
            program: function_program(&data, &fde)?,
        });
    }
    let common = |((is_signal, program), functions)| Common { is_signal, program, functions };
    Ok(commons.into_iter().map(common).collect())
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The bytes of an entry behind its length and the offset of its CIE, 4 bytes each.
fn entry(section: &[u8], offset: usize, len: usize) -> Result<Slice<'_>> {
    let bytes = section.get(offset + 8..offset + 4 + len).context("an entry without an end")?;
    Ok(Slice::new(bytes, LittleEndian))
}

/// The program of a CIE: what is left behind its version, augmentation, factors and register.
fn common_program(
    section: &[u8],
    cie: &gimli::CommonInformationEntry<Slice<'_>>,
) -> Result<String> {
    let mut rest = entry(section, cie.offset(), cie.entry_len())?;
    ensure!(rest.read_u8()? == 1, "a version that is not kept");
    let augmentation = rest.read_null_terminated_slice()?;
    rest.read_uleb128()?;
    rest.read_sleb128()?;
    rest.read_u8()?;
    if augmentation.slice().starts_with(b"z") {
        let len = rest.read_uleb128()?;
        rest.skip(usize::try_from(len)?)?;
    }
    Ok(to_hex(rest.slice()))
}

/// The program of an FDE: what is left behind its addresses and its augmentation.
fn function_program(
    section: &[u8],
    fde: &gimli::FrameDescriptionEntry<Slice<'_>>,
) -> Result<String> {
    let mut rest = entry(section, fde.offset(), fde.entry_len())?;
    let encoding = fde.cie().fde_address_encoding().unwrap_or(dw::DW_EH_PE_absptr);
    let size = match encoding.format() {
        dw::DW_EH_PE_sdata4 | dw::DW_EH_PE_udata4 => 4,
        _ => 8,
    };
    rest.skip(2 * size)?;
    if fde.cie().augmentation().is_some() {
        let len = rest.read_uleb128()?;
        rest.skip(usize::try_from(len)?)?;
    }
    Ok(to_hex(rest.slice()))
}
