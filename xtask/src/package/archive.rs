//! The VSIX as an archive: written again with entries in order and without times, so that the same sources give the same bytes.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// Above 9 it is zopfli that compresses, so many iterations less 9: what any reader of deflate takes, in fewer bytes than zlib's best.
const LEVEL: i64 = 19;

/// Rewrites an archive in place.
pub fn normalize(path: &Path) -> Result<()> {
    let mut entries = read(path).with_context(|| format!("failed to read {}", path.display()))?;
    entries.sort();
    let mut archive = ZipWriter::new(File::create(path)?);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).compression_level(Some(LEVEL));
    for (name, contents) in entries {
        archive.start_file(name, options)?;
        archive.write_all(&contents)?;
    }
    archive.finish().with_context(|| format!("failed to write {}", path.display()))?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut archive = ZipArchive::new(File::open(path)?)?;
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_file() {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents)?;
            entries.push((entry.name().to_owned(), contents));
        }
    }
    Ok(entries)
}
