//! Content codings undone, under caps (RFC 9110 section 8.4, RFC 8878, RFC 7932).
//!
//! Decoding costs at most what the caps allow: output is bounded in bytes and in its ratio to the
//! input, after every coding of a stack, so that a bomb ends early. There is no clock: bounded
//! bytes bound the time as well.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::flow::decode::gzip::Gzip;
use crate::flow::decode::inflate::Inflate;
use crate::flow::decode::zstd::Zstd;
use crate::limits::{
    DECODED_BODY_BYTES, DECODED_CODINGS, DECODED_FREE_BYTES, DECODED_RATIO, INFLATE_BUFFER_BYTES,
};

mod gzip;
pub mod inflate;
mod zstd;

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` or `x-gzip`.
    Gzip,
    /// `deflate`: zlib as RFC 9110 section 8.4.1.2 has it, or raw as some servers send it.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

/// Reads the values of all Content-Encoding fields of a message, in order: the codings that were
/// applied, the first one first, `identity` left out. `None` when one is unknown or more than
/// [`DECODED_CODINGS`] are stacked.
pub fn codings<'a>(values: impl Iterator<Item = &'a str>) -> Option<Vec<Coding>> {
    let mut found = Vec::new();
    for name in values.flat_map(|value| value.split(',')).map(str::trim) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if name.is_empty() || is("identity") {
            continue;
        }
        let coding = if is("gzip") || is("x-gzip") {
            Coding::Gzip
        } else if is("deflate") {
            Coding::Deflate
        } else if is("br") {
            Coding::Brotli
        } else if is("zstd") {
            Coding::Zstd
        } else {
            return None;
        };
        if found.len() == DECODED_CODINGS {
            return None;
        }
        found.push(coding);
    }
    Some(found)
}

/// Bounds of one decoding.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Bytes of output, of every coding of the stack.
    pub bytes: u64,
    /// Bytes of output for each byte of input, once the output is past `free_bytes`.
    pub ratio: u64,
    /// Bytes of output that the ratio does not judge.
    pub free_bytes: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Caps { bytes: DECODED_BODY_BYTES, ratio: DECODED_RATIO, free_bytes: DECODED_FREE_BYTES }
    }
}

/// Why a body could not be decoded.
#[derive(Debug)]
pub enum DecodeError {
    /// The bytes are not what the coding makes, or end too early.
    Malformed,
    /// The output grew past the caps.
    PastCaps,
    /// The output grew so far past the caps that not even its end was looked for.
    FarPastCaps,
    /// The output could not be written.
    Sink(io::Error),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed => f.write_str("the bytes are not in the coding that is named"),
            DecodeError::PastCaps | DecodeError::FarPastCaps => {
                f.write_str("the decoded bytes are more than is allowed")
            }
            DecodeError::Sink(error) => write!(f, "the decoded bytes cannot be written: {error}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Undoes `codings` (the one applied last is undone first) and writes the result to `sink`; gives
/// the number of bytes written. After an error `sink` has an unspecified part of them.
///
/// What stands behind the end of a coding counts for nothing, but must be in the codings that it is
/// inside of: whether a body is sound does not depend on the pieces in which it is read.
pub fn decode(
    codings: &[Coding],
    source: &mut dyn Read,
    sink: &mut dyn Write,
    caps: Caps,
) -> Result<u64, DecodeError> {
    let spent = Rc::new(Spent::default());
    let wire = Counted { source, spent: spent.clone() };
    let mut reader = Layer::new(wire);
    let mut inside = Vec::new();
    for coding in codings.iter().rev() {
        inside.push(reader.clone());
        let layer = undo(*coding, reader);
        reader = Layer::new(Capped { layer, ended: false, given: 0, caps, spent: spent.clone() });
    }
    let written = copy(&mut reader, sink, &spent)?;
    // The first is the wire, in which anything may stand.
    for layer in inside.iter_mut().skip(1).rev() {
        copy(layer, &mut io::sink(), &spent)?;
    }
    Ok(written)
}

/// Inflates one message of permessage-deflate (RFC 7692 section 7.2.2) with the history that
/// `inflate` has; gives the number of bytes written.
///
/// Past the caps, or when the sink fails, inflating goes on without a sink for `drained` bytes at
/// most: the history stays for the messages that follow, after [`DecodeError::PastCaps`] and
/// [`DecodeError::Sink`]. After other errors it is lost. At most 1,032 bytes come of each byte
/// (deflate's bound), so that the work is bounded by the source as well.
pub fn inflate_message(
    inflate: &mut Inflate,
    source: &mut dyn Read,
    sink: &mut dyn Write,
    caps: Caps,
    drained: u64,
) -> Result<u64, DecodeError> {
    let spent = Rc::new(Spent::default());
    let wire = Counted { source, spent: spent.clone() };
    // The end that the sender cut off (section 7.2.1).
    let ended = wire.chain(&[0x00, 0x00, 0xff, 0xff][..]);
    let source = BufReader::with_capacity(INFLATE_BUFFER_BYTES, ended);
    let layer: Box<dyn Read> = Box::new(Flushed { source, inflate });
    let mut capped = Capped { layer, ended: false, given: 0, caps, spent: spent.clone() };
    let copied = copy(&mut capped, sink, &spent);
    if let Err(DecodeError::PastCaps | DecodeError::Sink(_)) = copied {
        drain(capped.layer.as_mut(), drained)?;
    }
    copied
}

/// Reads to the end, which must come within `most` bytes.
fn drain(reader: &mut dyn Read, most: u64) -> Result<(), DecodeError> {
    let mut block = vec![0; INFLATE_BUFFER_BYTES];
    let mut drained = 0;
    loop {
        let got = read_guarded(reader, &mut block).map_err(|_| DecodeError::Malformed)?;
        if got == 0 {
            return Ok(());
        }
        drained += got as u64;
        if drained > most {
            return Err(DecodeError::FarPastCaps);
        }
    }
}

struct Flushed<'a, R> {
    source: R,
    inflate: &'a mut Inflate,
}

impl<R: BufRead> Read for Flushed<'_, R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.inflate.read_flushed(&mut self.source, target)
    }
}

fn copy(reader: &mut dyn Read, sink: &mut dyn Write, spent: &Spent) -> Result<u64, DecodeError> {
    let mut block = vec![0; INFLATE_BUFFER_BYTES];
    let mut written = 0;
    loop {
        let got = read_guarded(reader, &mut block).map_err(|_| {
            if spent.past_caps.get() { DecodeError::PastCaps } else { DecodeError::Malformed }
        })?;
        let Some(bytes) = block.get(..got).filter(|bytes| !bytes.is_empty()) else {
            return Ok(written);
        };
        sink.write_all(bytes).map_err(DecodeError::Sink)?;
        written += got as u64;
    }
}

/// Reads once; a decoder of another crate that panics on odd bytes has found them malformed.
fn read_guarded(reader: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    loop {
        match catch_unwind(AssertUnwindSafe(|| reader.read(block))) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(result) => return result,
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// What is read by the coding outside of it, and behind the end of that by [`decode`].
#[derive(Clone)]
struct Layer<'a>(Rc<RefCell<dyn Read + 'a>>);

impl<'a> Layer<'a> {
    fn new(reader: impl Read + 'a) -> Self {
        Layer(Rc::new(RefCell::new(reader)))
    }
}

impl Read for Layer<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(target)
    }
}

fn undo<'a>(coding: Coding, source: Layer<'a>) -> Box<dyn Read + 'a> {
    let buffered = |source| BufReader::with_capacity(INFLATE_BUFFER_BYTES, source);
    match coding {
        Coding::Gzip => Box::new(Gzip::new(buffered(source))),
        Coding::Deflate => {
            let source = FirstTwo { source, begun: false };
            let source = BufReader::with_capacity(INFLATE_BUFFER_BYTES, source);
            Box::new(Deflate { source, inflate: None })
        }
        Coding::Brotli => {
            Box::new(brotli_decompressor::Decompressor::new(buffered(source), INFLATE_BUFFER_BYTES))
        }
        Coding::Zstd => Box::new(Zstd::new(buffered(source))),
    }
}

/// What the layers of one decoding share.
#[derive(Default)]
struct Spent {
    read: Cell<u64>,
    past_caps: Cell<bool>,
}

struct Counted<'a> {
    source: &'a mut dyn Read,
    spent: Rc<Spent>,
}

impl Read for Counted<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let got = self.source.read(target)?;
        self.spent.read.set(self.spent.read.get() + got as u64);
        Ok(got)
    }
}

/// Ends a layer whose output grows past the caps, and one that has ended for good: brotli's, asked
/// again, fails by what stands behind its end where it has read that already.
struct Capped<'a> {
    layer: Box<dyn Read + 'a>,
    ended: bool,
    given: u64,
    caps: Caps,
    spent: Rc<Spent>,
}

impl Read for Capped<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let got = self.layer.read(target)?;
        self.ended = got == 0 && !target.is_empty();
        self.given += got as u64;
        let by_ratio = self.spent.read.get().saturating_mul(self.caps.ratio);
        let allowed = self.caps.bytes.min(by_ratio.max(self.caps.free_bytes));
        if self.given > allowed {
            self.spent.past_caps.set(true);
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(got)
    }
}

/// Gives the first two bytes at once, in whatever pieces they come.
struct FirstTwo<R> {
    source: R,
    begun: bool,
}

impl<R: Read> Read for FirstTwo<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.begun {
            return self.source.read(target);
        }
        self.begun = true;
        let mut got = 0;
        while got < 2 {
            let rest = target.get_mut(got..).unwrap_or_default();
            match self.source.read(rest) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }
}

/// `deflate`, zlib or raw, whichever the first two bytes are.
struct Deflate<R> {
    source: R,
    inflate: Option<Inflate>,
}

impl<R: BufRead> Read for Deflate<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let inflate = match &mut self.inflate {
            Some(inflate) => inflate,
            None => {
                let zlib = is_zlib(self.source.fill_buf()?);
                self.inflate.insert(Inflate::new(zlib))
            }
        };
        inflate.read(&mut self.source, target)
    }
}

/// Whether a stream begins as RFC 1950 section 2.2 has it. One lonely byte is judged by its
/// method alone. A raw stream could only look so if its first block were stored and padded with
/// something other than zeros.
fn is_zlib(start: &[u8]) -> bool {
    match start {
        [method, flags, ..] => {
            method & 0x0f == 8
                && method >> 4 <= 7
                && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
        }
        [method] => *method == 0x78,
        [] => false,
    }
}

#[cfg(test)]
mod tests;
