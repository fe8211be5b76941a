//! What kind of picture bytes are, and how large it is, told by its header alone; and whether they
//! are another medium.

/// A picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The format's usual name.
    pub(crate) format: &'static str,
    /// Width and height in pixels; `None` where the header does not have them.
    pub(crate) pixels: Option<(u32, u32)>,
}

/// The picture that begins with these bytes: PNG, GIF, JPEG or WebP. What is cut may still tell.
pub(crate) fn picture(bytes: &[u8]) -> Option<Picture> {
    let (format, pixels) = match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', rest @ ..] => ("PNG", png(rest)),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', rest @ ..] => ("GIF", gif(rest)),
        [0xff, 0xd8, 0xff, ..] => ("JPEG", jpeg(bytes)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', rest @ ..] => {
            ("WebP", webp(rest))
        }
        _ => return None,
    };
    Some(Picture { format, pixels })
}

/// Whether bytes begin as the usual formats of pictures, sounds, films and fonts do.
pub(crate) fn is_medium(bytes: &[u8]) -> bool {
    // A segment of a film begins with any of these boxes (ISO/IEC 14496-12 section 4.2).
    const BOXES: [&[u8]; 11] = [
        b"ftyp", b"styp", b"moof", b"sidx", b"moov", b"emsg", b"prft", b"mdat", b"free", b"skip",
        b"wide",
    ];
    const BEGINNINGS: [&[u8]; 17] = [
        b"II*\0",
        b"MM\0*",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\x1aE\xdf\xa3",
        b"OggS",
        b"fLaC",
        b"ID3",
        b"MThd\0\0\0\x06",
        b"#!AMR",
        b"FLV\x01",
        b"wOFF",
        b"wOF2",
        b"OTTO\0",
        b"ttcf\0",
        b"true\0",
        b"\0\x01\0\0\0",
    ];
    if picture(bytes).is_some() || BEGINNINGS.iter().any(|it| bytes.starts_with(it)) {
        return true;
    }
    match bytes {
        // BMP, and icons and pointers of Windows.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => true,
        [0, 0, 1 | 2, 0, count, 0, ..] => *count > 0,
        [b'R', b'I', b'F', b'F', _, _, _, _, kind @ ..] => {
            kind.starts_with(b"WAVE") || kind.starts_with(b"AVI ")
        }
        [b'F', b'O', b'R', b'M', _, _, _, _, kind @ ..] => kind.starts_with(b"AIF"),
        // Frames of MPEG audio and AAC.
        [0xff, 0xe2 | 0xe3 | 0xf1..=0xf3 | 0xf9..=0xfb, ..] => true,
        // The packets of an MPEG transport stream.
        [0x47, ..] if bytes.get(188) == Some(&0x47) && bytes.get(376) == Some(&0x47) => true,
        [_, _, _, _, kind @ ..] => BOXES.iter().any(|it| kind.starts_with(it)),
        _ => false,
    }
}

/// The IHDR chunk (PNG section 11.2.1).
fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let [_, _, _, _, b'I', b'H', b'D', b'R', size @ ..] = bytes else { return None };
    let (width, size) = size.split_first_chunk()?;
    let height = size.first_chunk()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

/// The logical screen (GIF89a section 18).
fn gif(bytes: &[u8]) -> Option<(u32, u32)> {
    let [a, b, c, d, ..] = *bytes else { return None };
    Some((u16::from_le_bytes([a, b]).into(), u16::from_le_bytes([c, d]).into()))
}

/// The first frame header (ITU-T T.81 annex B); what stands before it is skipped by its length.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    loop {
        let [0xff, marker, after @ ..] = rest else { return None };
        match marker {
            // Fill bytes.
            0xff => rest = rest.get(1..)?,
            // Markers that stand alone.
            0x01 | 0xd0..=0xd7 => rest = after,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let [_, _, _, a, b, c, d, ..] = *after else { return None };
                let (height, width) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                return Some((width.into(), height.into()));
            }
            // The scan, or the end: no frame came before.
            0xda | 0xd9 => return None,
            _ => {
                let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
                rest = after.get(length.max(2)..)?;
            }
        }
    }
}

/// The first chunk (RFC 9649 section 2): extended, lossless or lossy.
fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let data = rest.get(4..)?;
    let u24 = |low: u8, middle: u8, high: u8| u32::from_le_bytes([low, middle, high, 0]);
    match (kind, data) {
        (b"VP8X", [_, _, _, _, a, b, c, d, e, f, ..]) => {
            Some((u24(*a, *b, *c) + 1, u24(*d, *e, *f) + 1))
        }
        (b"VP8L", [0x2f, a, b, c, d, ..]) => {
            let bits = u32::from_le_bytes([*a, *b, *c, *d]);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..]) => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(*a, *b), side(*c, *d)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(bytes: &[u8]) -> (&'static str, Option<(u32, u32)>) {
        picture(bytes).map_or(("", None), |it| (it.format, it.pixels))
    }

    #[test]
    fn each_format_tells_its_size() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x06\0\0\0";
        assert_eq!(told(png), ("PNG", Some((640, 480))));
        assert_eq!(told(b"GIF89a\x2c\x01\x0a\0\xf0\0\0"), ("GIF", Some((300, 10))));
        assert_eq!(told(b"GIF87a\x01\0\x01\0"), ("GIF", Some((1, 1))));
        let jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xff\xdb\0\x04ab\
            \xff\xc2\0\x11\x08\x04\x38\x07\x80\x03";
        assert_eq!(told(jpeg), ("JPEG", Some((1_920, 1_080))));
        let lossy = b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0\x30\x01\0\x9d\x01\x2a\x90\x01\x2c\x41";
        assert_eq!(told(lossy), ("WebP", Some((400, 300))));
        let lossless = b"RIFF\x24\0\0\0WEBPVP8L\x18\0\0\0\x2f\x8f\xc1\x4a\0\0";
        assert_eq!(told(lossless), ("WebP", Some((400, 300))));
        let extended = b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x8f\x01\0\x2b\x01\0";
        assert_eq!(told(extended), ("WebP", Some((400, 300))));
    }

    #[test]
    fn what_does_not_tell_has_no_size() {
        assert_eq!(told(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02"), ("PNG", None));
        assert_eq!(told(b"\xff\xd8\xff\xda\0\x03x\xff\xc0\0\0\0\0\0\0\0"), ("JPEG", None));
        assert_eq!(told(b"\xff\xd8\xff\xe0\0\0\xff\xe0\0\0"), ("JPEG", None));
        assert_eq!(told(b"RIFF\0\0\0\0WEBPALPH\0\0\0\0"), ("WebP", None));
        for no in [b"".as_slice(), b"<svg/>", b"\xff\xd8", b"RIFF\0\0\0\0WAVE", b"GIF88a\x01\0"] {
            assert_eq!(picture(no), None);
        }
    }

    #[test]
    fn media_are_told_by_their_beginnings() {
        for medium in [
            b"\x89PNG\r\n\x1a\n".as_slice(),
            b"\0\0\0\x20ftypisom",
            b"\0\0\x01\0\x02\0\x10\x10",
            b"RIFF\x24\0\0\0WAVEfmt ",
            b"BM\x36\0\0\0\0\0\0\0\x36",
            b"OggS\0\x02",
            b"ID3\x04\0",
            b"\xff\xfb\x90\x64",
            b"wOF2\0\x01\0\0",
            b"\0\x01\0\0\0\x0c",
            &[b"G".as_slice(), &[0xff; 187]].concat().repeat(3),
        ] {
            assert!(is_medium(medium), "{medium:?}");
        }
        for other in [
            b"".as_slice(),
            b"GET / HTTP/1.1",
            b"{\"password\":1}",
            b"--b\r\n",
            // A mark of UTF-16, and messages of gRPC.
            b"\xff\xfe{\0",
            b"\0\0\0\0\x10\x0a\x0epassword=secret",
            b"\0\0\x01\0\x10\x0a\x0epassword=secret",
            b"\0\x01\0\0\x10\x0a\x0epassword=secret",
            b"BM password=secret",
        ] {
            assert!(!is_medium(other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(
            begin in 0_usize..4,
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let begins: [&[u8]; 4] =
                [b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"RIFF\0\0\0\0WEBPVP8X"];
            let _ = picture(&[begins[begin], &rest].concat());
        }
    }
}
