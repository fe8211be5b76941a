use proptest::prelude::*;

use super::*;
use crate::flow::record::DeflateParameters;

use WebSocketError as E;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a reader saw, with the pieces of a message joined.
#[derive(Debug, PartialEq)]
enum Seen {
    Message(Opcode, bool, Vec<u8>),
    Control(Opcode, Vec<u8>),
    Error(WebSocketError),
}

fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        length @ 0..126 => out.push(flag | length as u8),
        length @ 126..65_536 => {
            out.push(flag | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(flag | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

fn read(mut reader: MessageReader, input: &[u8], part: usize) -> Vec<Seen> {
    let (mut seen, mut data) = (Vec::new(), Vec::new());
    for part in input.chunks(part) {
        let result = reader.advance(part, &mut |observed| match observed {
            Observed::Data(piece) => data.extend_from_slice(piece),
            Observed::Message { opcode, compressed } => {
                seen.push(Seen::Message(opcode, compressed, std::mem::take(&mut data)));
            }
            Observed::Control { opcode, payload } => {
                seen.push(Seen::Control(opcode, payload.to_vec()));
            }
        });
        seen.extend(result.err().map(Seen::Error));
    }
    seen
}

#[test]
fn reading_pauses_behind_a_number_of_frames() {
    let frame = frame(0x82, b"ab", None);
    let bytes = frame.repeat(3);
    let mut reader = MessageReader::new(false, false);
    let mut sink = |_: Observed<'_>| ();
    let mut frames = 2;
    assert_eq!(reader.advance_frames(&bytes, &mut frames, &mut sink), Ok(2 * frame.len()));
    assert_eq!(frames, 0);
    assert_eq!(reader.advance_frames(&frame, &mut 0, &mut sink), Ok(0));
    // What has begun is read to its end.
    assert_eq!(reader.advance_frames(&frame[..3], &mut 1, &mut sink), Ok(3));
    assert_eq!(reader.advance_frames(&[frame[3], frame[0]], &mut 0, &mut sink), Ok(1));
}

#[test]
fn broken_rules_are_told_once() {
    let long: &[u8] = &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let top: &[u8] = &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
    for (input, masked, deflate, expected) in [
        (&[0xa1, 0][..], false, true, E::ReservedBit),
        (&[0x91, 0], false, true, E::ReservedBit),
        (&[0xc1, 0], false, false, E::ReservedBit),
        (&[0x41, 1, b'x', 0xc0, 0], false, true, E::CompressedBit),
        (&[0xc9, 0], false, true, E::CompressedBit),
        (&[0x83, 0], false, false, E::Opcode),
        (&[0x87, 0], false, false, E::Opcode),
        (&[0x8b, 0], false, false, E::Opcode),
        (&[0x8f, 0], false, false, E::Opcode),
        (&[0x09, 0], false, false, E::FragmentedControl),
        (&[0x89, 126, 0, 126], false, false, E::LongControl),
        (&[0x88, 127], false, false, E::LongControl),
        (&[0x88, 1, 3], false, false, E::CloseCode),
        (&[0x80, 0], false, false, E::Continuation),
        (&[0x81, 0, 0x00, 0], false, false, E::Continuation),
        (&[0x01, 0, 0x81, 0], false, false, E::Interleaved),
        (&[0x01, 0, 0x89, 0, 0x02, 0], false, false, E::Interleaved),
        (&[0x81, 0], true, false, E::Unmasked),
        (&[0x81, 0x80, 0, 0, 0, 0], false, false, E::Masked),
        (&[0x82, 126, 0, 125], false, false, E::LengthForm),
        (long, false, false, E::LengthForm),
        (top, false, false, E::Length),
        (&[0x88, 0, 0x81], false, false, E::AfterClose),
    ] {
        for part in [1, 2, 100] {
            let mut input = input.to_vec();
            input.extend_from_slice(&frame(0x81, b"later", masked.then_some(MASK)));
            let seen = read(MessageReader::new(masked, deflate), &input, part);
            let errors: Vec<_> = seen.iter().filter(|s| matches!(s, Seen::Error(_))).collect();
            assert_eq!(errors, [&Seen::Error(expected)], "{input:x?} in parts of {part}");
            assert_eq!(seen.last(), Some(&Seen::Error(expected)), "{input:x?} {part}");
        }
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    for mask in [None, Some(MASK)] {
        let input = [
            frame(0x41, b"he", mask),
            frame(0x89, b"ping", mask),
            frame(0x00, b"", mask),
            frame(0x80, b"llo", mask),
            frame(0x82, b"", mask),
            frame(0x88, b"\x03\xe8bye", mask),
        ]
        .concat();
        for part in [1, 3, 1000] {
            let seen = read(MessageReader::new(mask.is_some(), true), &input, part);
            let expected = [
                Seen::Control(Opcode::Ping, b"ping".to_vec()),
                Seen::Message(Opcode::Text, true, b"hello".to_vec()),
                Seen::Message(Opcode::Binary, false, Vec::new()),
                Seen::Control(Opcode::Close, b"\x03\xe8bye".to_vec()),
            ];
            assert_eq!(seen, expected, "in parts of {part}");
        }
    }
}

#[test]
fn every_form_of_length_is_read() {
    for length in [0, 1, 125, 126, 127, 1_023, 1_025, 65_535, 65_536, 70_001] {
        let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        for mask in [None, Some(MASK)] {
            for part in [7, 4_099, 100_000] {
                let input = frame(0x82, &payload, mask);
                let seen = read(MessageReader::new(mask.is_some(), false), &input, part);
                let message = Seen::Message(Opcode::Binary, false, payload.clone());
                assert!(seen == [message], "{length} bytes in parts of {part}");
            }
        }
    }
}

#[test]
fn an_end_inside_a_message_is_seen() {
    for (input, expected) in [
        (&b""[..], true),
        (b"\x81", false),
        (b"\x81\x02a", false),
        (b"\x81\x02ab", true),
        (b"\x01\x02ab", false),
        (b"\x01\x02ab\x89\x00", false),
        (b"\x88\x00", true),
    ] {
        let mut reader = MessageReader::new(false, false);
        reader.advance(input, &mut |_| ()).unwrap();
        assert_eq!(reader.is_between_messages(), expected, "{input:x?}");
    }
}

#[test]
fn deflate_is_what_the_server_says() {
    let parameters = |client, server| {
        Some(DeflateParameters {
            client_no_context_takeover: client,
            server_no_context_takeover: server,
        })
    };
    let offer = "permessage-deflate; client_max_window_bits";
    for (request, response, expected) in [
        (offer, "permessage-deflate", parameters(false, false)),
        (offer, "Permessage-Deflate ; SERVER_no_context_takeover", parameters(false, true)),
        (
            "x-a, permessage-deflate",
            "x-a;b=\"permessage-deflate,;\", permessage-deflate; client_no_context_takeover",
            parameters(true, false),
        ),
        (offer, "permessage-deflate; server_max_window_bits=10", parameters(false, false)),
        (offer, "permessage-deflate; client_max_window_bits=\"15\"", parameters(false, false)),
        (offer, "permessage-deflate; client_max_window_bits", None),
        (offer, "permessage-deflate; server_max_window_bits=16", None),
        (offer, "permessage-deflate; server_max_window_bits=08", None),
        (offer, "permessage-deflate; unknown", None),
        (offer, "permessage-deflate; server_no_context_takeover=1", None),
        (offer, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        (offer, "permessage-deflate, permessage-deflate", None),
        (offer, "x-webkit-deflate-frame", None),
        (offer, "", None),
        ("", "permessage-deflate", None),
    ] {
        let values = |value: &'static str| [value.as_bytes()].into_iter();
        let result = deflate_parameters(values(request), values(response));
        assert_eq!(result, expected, "{request:?} {response:?}");
    }
}

proptest! {
    #[test]
    fn splitting_anywhere_changes_nothing(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
        mask in prop::option::of(any::<[u8; 4]>()),
        part in 1_usize..64,
    ) {
        let input: Vec<u8> = payloads.iter().flat_map(|p| frame(0x82, p, mask)).collect();
        let seen = read(MessageReader::new(mask.is_some(), false), &input, part);
        let expected: Vec<Seen> =
            payloads.into_iter().map(|p| Seen::Message(Opcode::Binary, false, p)).collect();
        prop_assert_eq!(seen, expected);
    }
}
