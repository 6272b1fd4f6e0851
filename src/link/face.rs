//! The face of a shared object: what the linker looks at in its place. It has the names that the user's
//! side wants, of the many ten thousand that are there, and so is read in no time; the executable is then
//! loaded with the shared object itself, which goes by the same name. What the dependencies in turn want
//! from the executable (an allocator, say) is in it, too.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use object::elf::{
    DT_SONAME, ELFOSABI_NONE, EM_X86_64, ET_DYN, FileHeader64, SHN_ABS, SHN_UNDEF, SHT_DYNSYM,
    STB_LOCAL,
};
use object::endian::{Endianness, LittleEndian};
use object::read::elf::{FileHeader, Sym};
use object::write::elf::{self, Writer};
use xxhash_rust::xxh3::xxh3_64;

/// A name, short.
pub(super) type Hash = u64;

/// The hash of a name.
pub(super) fn hash(name: &[u8]) -> Hash {
    xxh3_64(name)
}

/// The face that `library` shows to those who want these names.
///
/// # Errors
///
/// The library cannot be read.
pub(super) fn of(library: &Path, wanted: &BTreeSet<Hash>) -> io::Result<Vec<u8>> {
    let data = std::fs::read(library)?;
    let soname = library.file_name().unwrap_or_default().as_encoded_bytes();
    seen_by(&data, soname, wanted).map_err(io::Error::other)
}

fn seen_by(
    data: &[u8],
    soname: &[u8],
    wanted: &BTreeSet<Hash>,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let header = FileHeader64::<LittleEndian>::parse(data)?;
    let sections = header.sections(LittleEndian, data)?;
    let all = sections.symbols(LittleEndian, data, SHT_DYNSYM)?;
    let mut symbols = Vec::new();
    for symbol in all.iter().filter(|symbol| symbol.st_bind() != STB_LOCAL) {
        let name = all.symbol_name(LittleEndian, symbol)?;
        let defined = symbol.st_shndx(LittleEndian) != SHN_UNDEF;
        if !defined || wanted.contains(&hash(name)) {
            symbols.push((name, symbol, defined));
        }
    }

    // Laid out first, then written in the same order.
    let mut face = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut face);
    writer.reserve_file_header();
    writer.reserve_null_section_index();
    writer.reserve_null_dynamic_symbol_index();
    let soname = writer.add_dynamic_string(soname);
    let mut names = Vec::with_capacity(symbols.len());
    for (name, _, _) in &symbols {
        names.push(writer.add_dynamic_string(name));
        writer.reserve_dynamic_symbol_index();
    }
    writer.reserve_dynsym_section_index();
    writer.reserve_dynsym();
    writer.reserve_dynstr_section_index();
    writer.reserve_dynstr()?;
    writer.reserve_dynamic_section_index();
    // The name, and the end.
    writer.reserve_dynamic(2);
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();

    writer.write_file_header(&elf::FileHeader {
        os_abi: ELFOSABI_NONE,
        abi_version: 0,
        e_type: ET_DYN,
        e_machine: EM_X86_64,
        e_entry: 0,
        e_flags: object::elf::FileFlags(0),
    })?;
    writer.write_null_dynamic_symbol();
    for ((_, symbol, defined), name) in symbols.iter().zip(&names) {
        writer.write_dynamic_symbol(&elf::Sym {
            section: None,
            st_name: writer.dynamic_string_offset(Some(*name)),
            st_info: symbol.st_info(),
            st_other: symbol.st_other(),
            // Nobody looks there.
            st_shndx: if *defined { SHN_ABS } else { SHN_UNDEF },
            st_value: 0,
            st_size: symbol.st_size(LittleEndian),
        });
    }
    writer.write_dynstr();
    writer.write_align_dynamic();
    writer.write_dynamic_string(DT_SONAME, soname)?;
    writer.write_dynamic(object::elf::DT_NULL, 0)?;
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_dynsym_section_header(0, 1);
    writer.write_dynstr_section_header(0);
    writer.write_dynamic_section_header(0);
    writer.write_shstrtab_section_header();
    Ok(face)
}
