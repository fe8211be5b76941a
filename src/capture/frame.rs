//! Frames of the journal: type, length, CRC-32, payload.
//!
//! ```text
//! +------+----------------+---------------------------+---------+
//! | type | payload length | CRC-32 of the rest of the | payload |
//! | u8   | u32, LE        | frame, u32, LE            |         |
//! +------+----------------+---------------------------+---------+
//! ```
//!
//! A file that was cut anywhere, or damaged, gives all whole frames before that place.

use std::io::{self, Read};

use crate::limits::JOURNAL_FRAME_BYTES;

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 9;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// The first frame of a segment: version, creation time, names.
    Segment = 1,
    /// An exchange that ended.
    Exchange = 2,
    /// A WebSocket connection that ended; its messages are in a file of their own.
    WebSocket = 3,
    /// The last frame of a segment that was finished in good order.
    SegmentEnd = 4,
    /// The first frame of a connection's file: the handshake.
    WebSocketOpen = 5,
    /// A block of a message.
    WebSocketData = 6,
    /// The end of a message.
    WebSocketMessage = 7,
    /// The last frame of a connection's file.
    WebSocketClose = 8,
    /// Messages of one direction are missing here.
    WebSocketGap = 9,
    /// Flows and messages that stand nowhere.
    Losses = 10,
}

impl FrameType {
    fn of(byte: u8) -> Option<Self> {
        use FrameType::*;
        [
            Segment,
            Exchange,
            WebSocket,
            SegmentEnd,
            WebSocketOpen,
            WebSocketData,
            WebSocketMessage,
            WebSocketClose,
            WebSocketGap,
            Losses,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Appends a frame to `out`; `write` appends the payload. Nothing is appended when the payload
/// is longer than [`JOURNAL_FRAME_BYTES`], and the result is false.
pub fn append_frame(out: &mut Vec<u8>, kind: FrameType, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    append_frame_before(out, kind, write, [&[], &[]])
}

/// Appends the beginning of a frame whose payload ends with `rest`, which is not copied: it has to
/// stand behind what was appended.
pub fn append_frame_before(
    out: &mut Vec<u8>,
    kind: FrameType,
    write: impl FnOnce(&mut Vec<u8>),
    rest: [&[u8]; 2],
) -> bool {
    let start = out.len();
    out.push(kind as u8);
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES - 1]);
    write(out);
    let [one, two] = rest;
    let length = out.len() - start - FRAME_HEADER_BYTES + one.len() + two.len();
    if length > JOURNAL_FRAME_BYTES {
        out.truncate(start);
        return false;
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let Some((header, payload)) =
        out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(FRAME_HEADER_BYTES))
    else {
        return false;
    };
    let crc = checksum(kind as u8, length, [payload, one, two]).to_le_bytes();
    if let Some(place) = header.get_mut(1..5) {
        place.copy_from_slice(&length);
    }
    if let Some(place) = header.get_mut(5..) {
        place.copy_from_slice(&crc);
    }
    true
}

fn checksum(kind: u8, length: [u8; 4], payload: [&[u8]; 3]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length);
    payload.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Where reading of a journal file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileEnd {
    /// Behind a whole frame.
    Whole,
    /// At something that is no whole frame: the file was cut or damaged.
    Torn,
}

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    payload: Vec<u8>,
    position: u64,
    end: Option<FileEnd>,
    /// Whether a damaged frame is passed over, or ends the reading.
    skips: bool,
    /// Frames that were passed over since the last whole one.
    passed_over: u64,
    /// Frames that were passed over before a whole one.
    skipped: u64,
    /// Whether the length of a frame is one that no frame has.
    lost_track: bool,
    /// Whether reading ended at a frame that is all there, and wrong.
    ended_at_wrong: bool,
}

impl<R: Read> FrameReader<R> {
    /// A reader of frames from the beginning of a file; `source` should be buffered.
    pub fn new(source: R) -> Self {
        FrameReader {
            source,
            payload: Vec::new(),
            position: 0,
            end: None,
            skips: false,
            passed_over: 0,
            skipped: 0,
            lost_track: false,
            ended_at_wrong: false,
        }
    }

    /// As [`FrameReader::new`], but a damaged frame ends only itself where its length still leads
    /// to the next. Nothing is searched for: bytes of a body could look like a frame.
    pub fn skipping(source: R) -> Self {
        FrameReader { skips: true, ..Self::new(source) }
    }

    /// The next frame and its payload; `None` at the end and for ever after it.
    pub fn next_frame(&mut self) -> io::Result<Option<(FrameType, &[u8])>> {
        if self.end.is_some() {
            return Ok(None);
        }
        loop {
            let mut header = [0; FRAME_HEADER_BYTES];
            let got = read_up_to(&mut self.source, &mut header)?;
            if got == 0 && self.passed_over == 0 {
                self.end = Some(FileEnd::Whole);
                return Ok(None);
            }
            let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = header;
            let length = [l0, l1, l2, l3];
            let payload_bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
            if got < FRAME_HEADER_BYTES || payload_bytes > JOURNAL_FRAME_BYTES {
                self.lost_track = got == FRAME_HEADER_BYTES;
                return Ok(self.torn());
            }
            self.payload.resize(payload_bytes, 0);
            if read_up_to(&mut self.source, &mut self.payload)? < payload_bytes {
                return Ok(self.torn());
            }
            let behind = self.position + (FRAME_HEADER_BYTES + payload_bytes) as u64;
            let crc = u32::from_le_bytes([c0, c1, c2, c3]);
            match FrameType::of(kind) {
                Some(known) if checksum(kind, length, [&self.payload, &[], &[]]) == crc => {
                    self.position = behind;
                    self.skipped += std::mem::take(&mut self.passed_over);
                    return Ok(Some((known, &self.payload)));
                }
                _ if self.skips => {
                    self.position = behind;
                    self.passed_over += 1;
                }
                _ => {
                    self.ended_at_wrong = true;
                    return Ok(self.torn());
                }
            }
        }
    }

    /// The place in the file behind the frame that was read last.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How the file ended, once [`FrameReader::next_frame`] has given `None`.
    pub fn end(&self) -> Option<FileEnd> {
        self.end
    }

    /// Frames that were passed over with whole ones behind them.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether frames may stand behind the place where reading ended: unlike the end of a file
    /// that was cut, it has bytes that lead nowhere.
    pub fn has_lost_track(&self) -> bool {
        self.lost_track
    }

    /// Whether reading ended at bytes that a writer does not leave behind when it is killed: that
    /// cuts a file short, and does no more.
    pub fn has_met_damage(&self) -> bool {
        self.lost_track || self.ended_at_wrong
    }

    fn torn<T>(&mut self) -> Option<T> {
        self.end = Some(FileEnd::Torn);
        None
    }
}

fn read_up_to(source: &mut impl Read, target: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = target.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn three_frames() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for payload in [&b"first"[..], b"", b"the third frame"] {
            assert!(
                append_frame(&mut bytes, FrameType::Exchange, |out| out.extend_from_slice(payload))
            );
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, FileEnd) {
        let mut reader = FrameReader::new(bytes);
        let mut frames = Vec::new();
        while let Some((kind, payload)) = reader.next_frame().unwrap() {
            assert_eq!(kind, FrameType::Exchange);
            frames.push(payload.to_vec());
        }
        assert!(reader.next_frame().unwrap().is_none());
        (frames, reader.end().unwrap())
    }

    #[test]
    fn a_file_cut_anywhere_gives_all_whole_frames_before() {
        let (bytes, ends) = three_frames();
        let (all, end) = read(&bytes);
        assert_eq!(all, [&b"first"[..], b"", b"the third frame"]);
        assert_eq!(end, FileEnd::Whole);
        for cut in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (frames, end) = read(&bytes[..cut]);
            assert_eq!(frames, all[..whole], "cut at {cut}");
            assert_eq!(end == FileEnd::Whole, cut == 0 || ends.contains(&cut));
            assert!(!has_met_damage(&bytes[..cut]), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_gives_all_frames_before() {
        let (bytes, ends) = three_frames();
        let (all, _) = read(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let before = ends.iter().filter(|end| **end <= bit / 8).count();
            assert_eq!(read(&damaged), (all[..before].to_vec(), FileEnd::Torn), "bit {bit}");
            // A length that points behind the end looks like a file that was cut.
            let start = if before == 0 { 0 } else { ends[before - 1] };
            let in_length = (1..5).contains(&(bit / 8 - start));
            assert!(in_length || has_met_damage(&damaged), "bit {bit}");
        }
    }

    fn has_met_damage(bytes: &[u8]) -> bool {
        let mut reader = FrameReader::new(bytes);
        while reader.next_frame().unwrap().is_some() {}
        reader.has_met_damage()
    }

    #[test]
    fn damaged_frames_are_passed_over_where_their_length_is_whole() {
        let (bytes, ends) = three_frames();
        let (all, _) = read(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().filter(|end| **end <= bit / 8).count();
            let start = if hit == 0 { 0 } else { ends[hit - 1] };
            let in_length = (1..5).contains(&(bit / 8 - start));
            let mut reader = FrameReader::skipping(&damaged[..]);
            let mut frames = Vec::new();
            while let Some((_, payload)) = reader.next_frame().unwrap() {
                frames.push(payload.to_vec());
            }
            let (whole, last) = (reader.end() == Some(FileEnd::Whole), hit == 2);
            if in_length {
                assert_eq!(frames, all[..hit], "bit {bit}");
                assert!(!whole);
            } else {
                assert_eq!(frames.len(), 2, "bit {bit}");
                assert_eq!((whole, reader.skipped()), (!last, u64::from(!last)), "bit {bit}");
                assert!(!reader.has_lost_track());
            }
        }
        let mut reader = FrameReader::skipping(&[2, 255, 255, 255, 255, 1, 1, 1, 1, 1][..]);
        assert!(reader.next_frame().unwrap().is_none() && reader.has_lost_track());
    }

    #[test]
    fn a_payload_past_the_limit_is_not_appended() {
        let mut bytes = b"before".to_vec();
        let long = vec![0; JOURNAL_FRAME_BYTES + 1];
        assert!(!append_frame(&mut bytes, FrameType::Exchange, |out| out.extend_from_slice(&long)));
        assert_eq!(bytes, b"before");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut reader = FrameReader::new(&bytes[..]);
            while let Ok(Some(_)) = reader.next_frame() {}
        }
    }
}
