//! Writes a ZIP archive (PKWARE's APPNOTE 6.3): entries that are stored or deflated, one after
//! the other.
//!
//! What a bundle needs and no more, since every exchange is two or three entries: a header is
//! written once and corrected in memory, and what the directory will say of an entry takes less
//! room than its text. Whatever is past what 32 bits can count is ZIP64 (APPNOTE 4.5.3), so that
//! every reader of ZIP archives reads these.

use std::io::{self, Seek, Write};

use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::capture::patch::PatchWriter;

/// The name of an entry, in a form that takes less memory than its text.
pub(super) trait EntryName {
    /// Appends the text, which is ASCII and not long.
    fn put(&self, out: &mut Vec<u8>);
}

/// How an entry's bytes stand in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// As they are.
    Stored,
    /// Compressed (RFC 1951), as fast as can be.
    Deflated,
}

impl Method {
    fn code(self) -> u16 {
        match self {
            Method::Stored => 0,
            Method::Deflated => 8,
        }
    }
}

/// What the directory will say of an entry.
#[derive(Clone, Debug)]
struct Entry<N> {
    name: N,
    /// Where its header stands.
    offset: u64,
    size: u64,
    /// Its size in the archive.
    packed_size: u64,
    crc: u32,
    method: Method,
}

/// Bytes of memory that an archive needs for each entry.
#[cfg(test)]
pub(super) const fn entry_bytes<N>() -> usize {
    size_of::<Entry<N>>()
}

/// An archive that is being written. One that is dropped before [`Archive::finish`] has no
/// directory, and is litter.
#[derive(Debug)]
pub(super) struct Archive<W, N> {
    out: PatchWriter<W>,
    entries: Vec<Entry<N>>,
    under_way: Option<UnderWay<N>>,
    /// There once something is deflated: its state is large.
    deflate: Option<DeflateEncoder<Vec<u8>>>,
    /// The name or header under way.
    text: Vec<u8>,
}

/// An entry whose end has not come.
#[derive(Debug)]
struct UnderWay<N> {
    entry: Entry<N>,
    crc: Hasher,
    /// Where its data begins.
    data: u64,
    /// Whether its header has room for sizes of 64 bits.
    is_large: bool,
}

// The signatures of the records (APPNOTE 4.3).
const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;

/// Where the checksum stands in a local header, with both sizes behind it.
const CRC_PLACE: u64 = 14;
/// Where the length of the name stands in a local header.
const NAME_LENGTH_PLACE: usize = 26;
/// The extra field with values of 64 bits.
const ZIP64_EXTRA: u16 = 1;
/// Made on Unix, by version 4.5 of the format, the first with ZIP64.
const MADE_BY: u16 = 3 << 8 | 45;
/// The first day that the format knows. Entries have no time of their own: the flows have.
const DATE: u16 = 1 << 5 | 1;
/// A regular file that only its owner reads.
const ATTRIBUTES: u32 = 0o100_600 << 16;
/// In the place of a value that stands elsewhere, with 64 bits.
const ELSEWHERE: u32 = u32::MAX;
/// Bytes past which an entry gets a header for large ones: what deflate adds in the worst case
/// must not make it one unforeseen.
const LARGE_FROM: u64 = 0xff00_0000;

impl<W: Write + Seek, N: EntryName> Archive<W, N> {
    /// An archive that goes on at the place `start` of `file`, where that stands.
    pub(super) fn new(file: W, start: u64) -> Self {
        Archive {
            out: PatchWriter::new(file, start),
            entries: Vec::new(),
            under_way: None,
            deflate: None,
            text: Vec::new(),
        }
    }

    /// Begins an entry of at most `size` bytes.
    pub(super) fn begin(&mut self, name: N, size: u64, method: Method) -> io::Result<()> {
        let is_large = size >= LARGE_FROM;
        let entry =
            Entry { name, offset: self.out.position(), size: 0, packed_size: 0, crc: 0, method };
        self.text.clear();
        let header = &mut self.text;
        put32(header, LOCAL_HEADER);
        put_common(header, &entry, is_large);
        // The checksum and the sizes, to be corrected.
        header.extend_from_slice(&[0; 12]);
        put16(header, 0);
        put16(header, if is_large { 20 } else { 0 });
        put_name(header, &entry.name, NAME_LENGTH_PLACE);
        if is_large {
            put16(header, ZIP64_EXTRA);
            put16(header, 16);
            header.extend_from_slice(&[0; 16]);
        }
        self.out.write_all(header)?;
        let data = self.out.position();
        self.under_way = Some(UnderWay { entry, crc: Hasher::new(), data, is_large });
        Ok(())
    }

    /// Appends to the entry that was begun.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let under_way = self.under_way.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        under_way.crc.update(bytes);
        under_way.entry.size += bytes.len() as u64;
        match under_way.entry.method {
            Method::Stored => self.out.write_all(bytes),
            Method::Deflated => {
                let deflate = self.deflate.get_or_insert_with(new_encoder);
                deflate.write_all(bytes)?;
                take_deflated(deflate, &mut self.out)
            }
        }
    }

    /// Ends the entry that was begun.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let under_way = self.under_way.take().ok_or(io::ErrorKind::InvalidInput)?;
        let UnderWay { mut entry, crc, data, is_large } = under_way;
        if entry.method == Method::Deflated {
            let deflate = self.deflate.get_or_insert_with(new_encoder);
            deflate.try_finish()?;
            take_deflated(deflate, &mut self.out)?;
            deflate.reset(Vec::new())?;
        }
        entry.crc = crc.finalize();
        entry.packed_size = self.out.position().saturating_sub(data);
        if entry.size.max(entry.packed_size) >= ELSEWHERE.into() && !is_large {
            return Err(io::Error::other("an entry is larger than was said"));
        }
        self.text.clear();
        put32(&mut self.text, entry.crc);
        if is_large {
            put32(&mut self.text, ELSEWHERE);
            put32(&mut self.text, ELSEWHERE);
            let sizes = [entry.size.to_le_bytes(), entry.packed_size.to_le_bytes()];
            self.out.patch(data.saturating_sub(16), sizes.as_flattened())?;
        } else {
            put32(&mut self.text, short(entry.packed_size));
            put32(&mut self.text, short(entry.size));
        }
        self.out.patch(entry.offset + CRC_PLACE, &self.text)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the directory and gives back the file.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let start = self.out.position();
        for entry in &self.entries {
            self.text.clear();
            put_central_header(&mut self.text, entry);
            self.out.write_all(&self.text)?;
        }
        let end = self.out.position();
        self.text.clear();
        put_end(&mut self.text, self.entries.len() as u64, start, end);
        self.out.write_all(&self.text)?;
        self.out.into_inner()
    }
}

fn new_encoder() -> DeflateEncoder<Vec<u8>> {
    DeflateEncoder::new(Vec::new(), Compression::fast())
}

fn take_deflated<W: Write + Seek>(
    deflate: &mut DeflateEncoder<Vec<u8>>,
    out: &mut PatchWriter<W>,
) -> io::Result<()> {
    out.write_all(deflate.get_ref())?;
    deflate.get_mut().clear();
    Ok(())
}

fn put16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// A value with 32 bits, or the sign that it stands elsewhere.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(ELSEWHERE)
}

/// What both headers of an entry have, from the version that a reader needs to the date.
fn put_common<N>(out: &mut Vec<u8>, entry: &Entry<N>, is_large: bool) {
    put16(out, if is_large { 45 } else { 20 });
    put16(out, 0);
    put16(out, entry.method.code());
    put16(out, 0);
    put16(out, DATE);
}

/// Appends the name, and writes its length at the place `length_at`.
fn put_name(out: &mut Vec<u8>, name: &impl EntryName, length_at: usize) {
    let start = out.len();
    name.put(out);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX).to_le_bytes();
    if let Some(place) = out.get_mut(length_at..).and_then(<[u8]>::first_chunk_mut) {
        *place = length;
    }
}

/// A directory's header of an entry (APPNOTE 4.3.12).
fn put_central_header(out: &mut Vec<u8>, entry: &Entry<impl EntryName>) {
    let values = [entry.size, entry.packed_size, entry.offset];
    let is_long = |value: &&u64| **value >= ELSEWHERE.into();
    let long = values.iter().filter(is_long).count();
    put32(out, CENTRAL_HEADER);
    put16(out, MADE_BY);
    put_common(out, entry, long > 0);
    put32(out, entry.crc);
    put32(out, short(entry.packed_size));
    put32(out, short(entry.size));
    let name_length = out.len();
    put16(out, 0);
    // Of the extra field, then of the comment; the disk and the internal attributes.
    put16(out, if long > 0 { 4 + 8 * long as u16 } else { 0 });
    out.extend_from_slice(&[0; 6]);
    put32(out, ATTRIBUTES);
    put32(out, short(entry.offset));
    put_name(out, &entry.name, name_length);
    if long > 0 {
        put16(out, ZIP64_EXTRA);
        put16(out, 8 * long as u16);
        values.iter().filter(is_long).for_each(|value| put64(out, *value));
    }
}

/// The end of an archive whose directory stands from `start` to `end` (APPNOTE 4.3.14 to 4.3.16).
fn put_end(out: &mut Vec<u8>, entries: u64, start: u64, end: u64) {
    let size = end - start;
    let count = u16::try_from(entries).unwrap_or(u16::MAX);
    if count == u16::MAX || size.max(start) >= ELSEWHERE.into() {
        put32(out, ZIP64_END);
        // The bytes of this record that follow.
        put64(out, 44);
        put16(out, MADE_BY);
        put16(out, 45);
        put64(out, 0);
        put64(out, entries);
        put64(out, entries);
        put64(out, size);
        put64(out, start);
        put32(out, ZIP64_LOCATOR);
        put32(out, 0);
        put64(out, end);
        put32(out, 1);
    }
    put32(out, END);
    put32(out, 0);
    put16(out, count);
    put16(out, count);
    put32(out, short(size));
    put32(out, short(start));
    put16(out, 0);
}

#[cfg(test)]
mod tests;
