use std::io::{Cursor, Read, SeekFrom};

use proptest::prelude::*;
use zip::{CompressionMethod, ZipArchive};

use super::*;

impl EntryName for String {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

type Memory = Cursor<Vec<u8>>;

fn archive() -> Archive<Memory, String> {
    Archive::new(Memory::default(), 0)
}

/// What an independent reader finds: names, methods and bytes; it checks the checksums.
fn read_back(archive: Vec<u8>) -> Vec<(String, CompressionMethod, Vec<u8>)> {
    let mut zip = ZipArchive::new(Cursor::new(archive)).unwrap();
    let count = zip.len();
    let read = |at| {
        let mut entry = zip.by_index(at).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        assert_eq!(entry.unix_mode(), Some(0o100_600));
        assert_eq!(entry.size(), bytes.len() as u64);
        (entry.name().unwrap().into_owned(), entry.compression(), bytes)
    };
    (0..count).map(read).collect()
}

#[test]
fn an_empty_archive_is_one() {
    assert_eq!(read_back(archive().finish().unwrap().into_inner()), []);
}

#[test]
fn a_stream_of_an_archive_is_read_without_its_directory() {
    let mut archive = archive();
    for (name, method) in [("one", Method::Stored), ("two", Method::Deflated)] {
        archive.begin(name.into(), 100, method).unwrap();
        archive.write_all(&[b'x'; 100]).unwrap();
        archive.end().unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    let mut stream = &bytes[..];
    for name in ["one", "two"] {
        let mut entry = zip::read::read_zipfile_from_stream(&mut stream).unwrap().unwrap();
        assert_eq!(entry.name().unwrap(), name);
        let mut read = Vec::new();
        entry.read_to_end(&mut read).unwrap();
        assert_eq!(read, [b'x'; 100]);
    }
}

#[test]
fn more_entries_than_16_bits_can_count_are_all_there() {
    for count in [0xfffe, 0xffff, 0x1_0000] {
        let mut archive = archive();
        for number in 0..count {
            archive.begin(number.to_string(), 0, Method::Stored).unwrap();
            archive.end().unwrap();
        }
        let bytes = archive.finish().unwrap().into_inner();
        let zip = ZipArchive::new(Cursor::new(&bytes)).unwrap();
        assert_eq!(zip.len(), count);
        let is_zip64 = bytes.windows(4).any(|bytes| bytes == ZIP64_END.to_le_bytes());
        assert_eq!(is_zip64, count >= 0xffff);
    }
}

/// A file that holds only what stands behind `start`; before it there are zeros.
struct Shifted {
    held: Vec<u8>,
    start: u64,
    position: u64,
}

impl Shifted {
    fn place(&self) -> Option<usize> {
        self.position.checked_sub(self.start).map(|place| usize::try_from(place).unwrap())
    }
}

impl Write for Shifted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert_eq!(self.place(), Some(self.held.len()));
        self.held.extend_from_slice(bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Shifted {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let got = match self.place() {
            Some(place) => (&self.held[place..]).read(target)?,
            None => io::repeat(0).take(self.start - self.position).read(target)?,
        };
        self.position += got as u64;
        Ok(got)
    }
}

impl Seek for Shifted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = self.start + self.held.len() as u64;
        self.position = match to {
            SeekFrom::Start(place) => place,
            SeekFrom::Current(by) => self.position.checked_add_signed(by).unwrap(),
            SeekFrom::End(by) => end.checked_add_signed(by).unwrap(),
        };
        Ok(self.position)
    }
}

#[test]
fn entries_behind_4_gib_are_found() {
    for start in [u64::from(ELSEWHERE) - 70, u64::from(ELSEWHERE), 5 << 30] {
        let file = Shifted { held: Vec::new(), start, position: start };
        let mut archive: Archive<Shifted, String> = Archive::new(file, start);
        for name in ["one", "two", "three"] {
            archive.begin(name.into(), 5, Method::Stored).unwrap();
            archive.write_all(name.as_bytes()).unwrap();
            archive.end().unwrap();
        }
        let mut zip = ZipArchive::new(archive.finish().unwrap()).unwrap();
        assert_eq!(zip.len(), 3);
        for name in ["one", "two", "three"] {
            let mut text = String::new();
            zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, name);
        }
    }
}

#[test]
fn entries_of_more_than_4_gib_say_so() {
    let mut archive = archive();
    archive.begin("small".into(), 1, Method::Stored).unwrap();
    archive.write_all(b"x").unwrap();
    archive.end().unwrap();
    // Only what is said of an entry is looked at: its data would take long.
    let sizes = [1, u64::from(ELSEWHERE) - 1, u64::from(ELSEWHERE), 1 << 32, 5 << 40];
    let pairs: Vec<_> = sizes.iter().flat_map(|a| sizes.map(|b| (*a, b))).collect();
    for (number, (size, packed_size)) in pairs.iter().copied().enumerate() {
        let entry =
            Entry { name: number.to_string(), size, packed_size, ..archive.entries[0].clone() };
        archive.entries.push(entry);
    }
    let mut zip = ZipArchive::new(archive.finish().unwrap()).unwrap();
    for (number, (size, packed_size)) in pairs.into_iter().enumerate() {
        let entry = zip.by_index_raw(number + 1).unwrap();
        assert_eq!((entry.size(), entry.compressed_size()), (size, packed_size));
    }
}

#[test]
fn an_entry_that_is_announced_as_large_may_be_small() {
    let mut archive = archive();
    archive.begin("large".into(), LARGE_FROM, Method::Stored).unwrap();
    archive.write_all(b"small").unwrap();
    archive.end().unwrap();
    let bytes = archive.finish().unwrap().into_inner();
    let mut stream = &bytes[..];
    let mut entry = zip::read::read_zipfile_from_stream(&mut stream).unwrap().unwrap();
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    assert_eq!(text, "small");
    drop(entry);
    assert_eq!(read_back(bytes)[0].2, b"small");
}

#[test]
fn an_entry_that_grows_past_what_was_announced_is_refused() {
    let mut archive = archive();
    archive.begin("small".into(), LARGE_FROM - 1, Method::Stored).unwrap();
    archive.under_way.as_mut().unwrap().entry.size = ELSEWHERE.into();
    assert!(archive.end().is_err());
    assert!(archive.end().is_err(), "there is none under way");
    assert!(archive.write_all(b"x").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn an_independent_reader_finds_what_was_written(
        entries in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec((any::<u8>(), 0_usize..900_000), 0..4)),
            0..8,
        )
    ) {
        let mut archive = archive();
        let mut expected = Vec::new();
        for (number, (is_deflated, blocks)) in entries.into_iter().enumerate() {
            let method = if is_deflated { Method::Deflated } else { Method::Stored };
            let size = blocks.iter().map(|(_, length)| *length as u64).sum();
            archive.begin(format!("entry {number}"), size, method).unwrap();
            let mut bytes = Vec::new();
            for (byte, length) in blocks {
                let block: Vec<u8> = (0..length).map(|at| byte ^ ((at * at) >> 7) as u8).collect();
                archive.write_all(&block).unwrap();
                bytes.extend_from_slice(&block);
            }
            archive.end().unwrap();
            let name = format!("entry {number}");
            expected.push(match method {
                Method::Stored => (name, CompressionMethod::Stored, bytes),
                Method::Deflated => (name, CompressionMethod::Deflated, bytes),
            });
        }
        prop_assert!(read_back(archive.finish().unwrap().into_inner()) == expected);
    }
}
