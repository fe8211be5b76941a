use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

const TEXT: &[u8] = b"The quick brown fox jumps over the lazy dog. ";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A source that gives one byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let most = target.len().min(1);
        self.0.read(&mut target[..most])
    }
}

fn undone(codings: &[Coding], bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    let whole = decode(codings, &mut &bytes[..], &mut out, Caps::default()).map(|n| {
        assert_eq!(n, out.len() as u64);
        out
    });
    let mut slow = Vec::new();
    let split = decode(codings, &mut Slow(bytes), &mut slow, Caps::default());
    match (&whole, split) {
        (Ok(whole), Ok(_)) => assert_eq!(whole, &slow),
        (Err(_), Err(_)) => {}
        (whole, split) => panic!("splitting changes the result: {whole:?}, {split:?}"),
    }
    whole
}

#[test]
fn names_of_codings_are_read_in_order_and_without_case() {
    let read = |values: &[&str]| codings(values.iter().copied());
    assert_eq!(read(&[]), Some(vec![]));
    assert_eq!(read(&["identity"]), Some(vec![]));
    assert_eq!(read(&["GZip, br", "zstd"]), Some(vec![Coding::Gzip, Coding::Brotli, Coding::Zstd]));
    assert_eq!(read(&["x-gzip,,deflate"]), Some(vec![Coding::Gzip, Coding::Deflate]));
    assert_eq!(read(&["compress"]), None);
    assert_eq!(read(&["gzip, gzip, gzip, gzip"]).map(|all| all.len()), Some(4));
    assert_eq!(read(&["gzip, gzip, gzip, gzip, gzip"]), None);
}

#[test]
fn every_coding_and_stack_is_undone() {
    assert_eq!(undone(&[], TEXT).unwrap(), TEXT);
    assert_eq!(undone(&[Coding::Gzip], &gzip(TEXT)).unwrap(), TEXT);
    assert_eq!(undone(&[Coding::Deflate], &zlib(TEXT)).unwrap(), TEXT);
    assert_eq!(undone(&[Coding::Deflate], &raw(TEXT)).unwrap(), TEXT);
    let stacked = gzip(&zlib(TEXT));
    assert_eq!(undone(&[Coding::Deflate, Coding::Gzip], &stacked).unwrap(), TEXT);
    let two_members = [gzip(TEXT), gzip(b"more")].concat();
    assert_eq!(undone(&[Coding::Gzip], &two_members).unwrap(), [TEXT, b"more"].concat());
}

/// RFC 1950 section 2.2: its first byte alone does not tell it from a raw stream.
#[test]
fn zlib_with_a_small_window_is_known_whatever_comes_first() {
    let mut small = zlib(TEXT);
    small[..2].copy_from_slice(&[0x58, 0x85]);
    assert_eq!(undone(&[Coding::Deflate], &small).unwrap(), TEXT);
    let stacked = gzip(&small);
    assert_eq!(undone(&[Coding::Deflate, Coding::Gzip], &stacked).unwrap(), TEXT);
}

#[test]
fn what_stands_behind_the_end_of_a_stacked_coding_must_be_sound() {
    let both = [Coding::Brotli, Coding::Gzip];
    let brotli = &include_bytes!("../../../tests/data/fox.br")[..];
    // What is inside can be undone without the check at gzip's end.
    let sound = gzip(brotli);
    assert_eq!(undone(&both, &sound).unwrap(), TEXT.repeat(40));
    for cut in 1..=8 {
        let result = undone(&both, &sound[..sound.len() - cut]);
        assert!(matches!(result, Err(DecodeError::Malformed)), "{cut}: {result:?}");
    }
    let bomb = gzip(&[brotli, &vec![0; 2 * DECODED_FREE_BYTES as usize]].concat());
    let result = undone(&both, &bomb);
    assert!(matches!(result, Err(DecodeError::PastCaps)), "{result:?}");
}

#[test]
fn what_stands_behind_the_end_of_the_last_coding_counts_for_nothing() {
    // An empty stream, and what is none.
    let body = b"\x06garbage";
    for codings in [&[Coding::Brotli][..], &[Coding::Zstd, Coding::Brotli]] {
        assert_eq!(undone(codings, body).unwrap(), b"", "{codings:?}");
    }
    for behind in [&b"\r\n"[..], b"\0", &[0; 600], b"\x1f", b"\x1fgarbage", b"<!-- 0.2 s -->"] {
        for (coding, whole) in [
            (Coding::Gzip, gzip(TEXT)),
            (Coding::Gzip, [gzip(b""), gzip(TEXT)].concat()),
            (Coding::Deflate, zlib(TEXT)),
            (Coding::Deflate, raw(TEXT)),
        ] {
            let body = [&whole, behind].concat();
            assert_eq!(undone(&[coding], &body).unwrap(), TEXT, "{coding:?} {behind:?}");
        }
    }
}

#[test]
fn a_further_member_of_gzip_must_be_sound() {
    let further = gzip(b"more");
    for end in 2..further.len() {
        let body = [&gzip(TEXT), &further[..end]].concat();
        let result = undone(&[Coding::Gzip], &body);
        assert!(matches!(result, Err(DecodeError::Malformed)), "{end}: {result:?}");
    }
}

#[test]
fn brotli_and_zstd_made_by_their_own_tools_are_undone() {
    let expected = TEXT.repeat(40);
    let brotli = include_bytes!("../../../tests/data/fox.br");
    let zstd = include_bytes!("../../../tests/data/fox.zst");
    assert_eq!(undone(&[Coding::Brotli], brotli).unwrap(), expected);
    assert_eq!(undone(&[Coding::Zstd], zstd).unwrap(), expected);
    let skippable = [b"\x50\x2a\x4d\x18\x03\0\0\0abc", &zstd[..], &zstd[..]].concat();
    assert_eq!(undone(&[Coding::Zstd], &skippable).unwrap(), expected.repeat(2));
}

#[test]
fn what_is_cut_is_malformed() {
    let brotli = include_bytes!("../../../tests/data/fox.br");
    let zstd = include_bytes!("../../../tests/data/fox.zst");
    let cases = [
        (Coding::Gzip, gzip(TEXT)),
        (Coding::Deflate, zlib(TEXT)),
        (Coding::Deflate, raw(TEXT)),
        (Coding::Brotli, brotli.to_vec()),
        (Coding::Zstd, zstd.to_vec()),
    ];
    for (coding, whole) in cases {
        for end in 1..whole.len() {
            let result = undone(&[coding], &whole[..end]);
            assert!(result.is_err(), "{coding:?} cut at {end} of {}", whole.len());
        }
    }
}

#[test]
fn a_bomb_ends_at_the_ratio() {
    let bomb = gzip(&vec![0; 32 * 1024 * 1024]);
    let mut out = CountingSink(0);
    let result = decode(&[Coding::Gzip], &mut &bomb[..], &mut out, Caps::default());
    assert!(matches!(result, Err(DecodeError::PastCaps)), "{result:?}");
    let allowed = DECODED_FREE_BYTES.max(bomb.len() as u64 * DECODED_RATIO);
    assert!(out.0 <= allowed, "{} bytes came out", out.0);
}

#[test]
fn a_bomb_inside_a_bomb_ends_at_the_ratio() {
    let bomb = gzip(&gzip(&vec![0; 32 * 1024 * 1024]));
    let mut out = CountingSink(0);
    let codings = [Coding::Gzip, Coding::Gzip];
    let result = decode(&codings, &mut &bomb[..], &mut out, Caps::default());
    assert!(matches!(result, Err(DecodeError::PastCaps)), "{result:?}");
}

#[test]
fn output_ends_at_the_cap_in_bytes() {
    let caps = Caps { bytes: 10, ratio: 1_000, free_bytes: 1_000 };
    let at_cap = gzip(&[7; 10]);
    assert_eq!(decode(&[Coding::Gzip], &mut &at_cap[..], &mut io::sink(), caps).unwrap(), 10);
    let past = gzip(&[7; 11]);
    let result = decode(&[Coding::Gzip], &mut &past[..], &mut io::sink(), caps);
    assert!(matches!(result, Err(DecodeError::PastCaps)));
}

struct CountingSink(u64);

impl Write for CountingSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), coding in 0..4) {
        let coding = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd][coding as usize];
        let caps = Caps { bytes: 1 << 20, ratio: 100, free_bytes: 1 << 16 };
        let _ = decode(&[coding], &mut &bytes[..], &mut io::sink(), caps);
    }

    #[test]
    fn flipped_bits_do_not_panic(at in 0_usize..4_096, zstd in any::<bool>()) {
        let mut bytes = if zstd {
            include_bytes!("../../../tests/data/fox.zst").to_vec()
        } else {
            include_bytes!("../../../tests/data/fox.br").to_vec()
        };
        let at = at % (bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        let coding = if zstd { Coding::Zstd } else { Coding::Brotli };
        let _ = decode(&[coding], &mut &bytes[..], &mut io::sink(), Caps::default());
    }
}

#[test]
fn the_history_outlives_a_message_past_the_caps_up_to_a_bound() {
    let mut state = flate2::Compress::new(Compression::best(), false);
    let mut deflated = |payload: &[u8]| {
        let mut out = Vec::with_capacity(payload.len() + 1_024);
        state.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    };
    let large = deflated(&vec![b'a'; 1 << 20]);
    let after = deflated(&[b'a'; 300]);
    let caps = Caps { bytes: 1_000, ratio: 200, free_bytes: 1_000 };
    for (drained, kept) in [(1 << 20, true), (1 << 10, false)] {
        let mut inflate = Inflate::new(false);
        let mut sink = Vec::new();
        let first = inflate_message(&mut inflate, &mut &large[..], &mut sink, caps, drained);
        assert_eq!(matches!(first, Err(DecodeError::PastCaps)), kept, "{first:?}");
        assert_eq!(matches!(first, Err(DecodeError::FarPastCaps)), !kept, "{first:?}");
        assert!(sink.len() <= 1_000);
        if kept {
            let mut sink = Vec::new();
            inflate_message(&mut inflate, &mut &after[..], &mut sink, caps, drained).unwrap();
            assert_eq!(sink, [b'a'; 300]);
        }
    }
}
