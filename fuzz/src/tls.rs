//! ClientHellos, TLS sessions and CA files.

use std::sync::{Arc, LazyLock};

use flowtap::limits::{CLIENT_HELLO_BYTES, SEALED_OVERHEAD_BYTES, TLS_PENDING_BYTES};
use flowtap::tls::authority::Authority;
use flowtap::tls::cert_cache::CertCache;
use flowtap::tls::hello::{Hello, read_client_hello};
use flowtap::tls::leaf::LeafNames;
use flowtap::tls::server::ServerTls;
use flowtap::tls::session::Session;
use flowtap::tls::upstream::UpstreamTls;
use flowtap::tls::version::TlsVersion;

const CA: &[u8] = include_bytes!("../corpus/authority_pem/p256");

/// A ClientHello that is read from its beginning, if it can be, is the one of the whole; what is
/// read of it is of use to the proxy.
pub fn client_hello(data: &[u8]) {
    let whole = read_client_hello(data);
    for length in [1, 5, data.len() / 3, data.len() / 2, data.len().saturating_sub(1)] {
        match read_client_hello(data.get(..length).unwrap_or(data)) {
            Hello::Partial => {}
            // More bytes change no verdict.
            decided => assert_eq!(decided, whole),
        }
    }
    match &whole {
        Hello::Partial => assert!(data.len() < CLIENT_HELLO_BYTES),
        Hello::NotTls => assert_ne!(data.first(), Some(&0x16)),
        Hello::ClientHello(hello) => {
            let name = hello.server_name.as_deref();
            assert!(name.is_none_or(|name| name.is_ascii() && !name.is_empty()));
            assert!(hello.alpn.iter().all(|protocol| !protocol.is_empty()));
            let one_byte = in_records(data, 1);
            if one_byte.len() < CLIENT_HELLO_BYTES {
                // The record layer divides a handshake message anywhere (RFC 8446 section 5.1).
                assert_eq!(read_client_hello(&one_byte), whole);
            }
        }
        Hello::Malformed(why) => assert!(!why.is_empty()),
    }
}

/// The payload of handshake records in records of `size` bytes, up to the end of the message.
fn in_records(data: &[u8], size: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut rest = data;
    while let [0x16, major, minor, high, low, after @ ..] = rest {
        let _ = (major, minor);
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        payload.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    let length = match payload[..] {
        [_, a, b, c, ..] => 4 + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c),
        _ => payload.len(),
    };
    payload.truncate(length);
    let record = |part: &[u8]| [&[0x16, 3, 1, 0, part.len() as u8], part].concat();
    payload.chunks(size).flat_map(record).collect()
}

/// What is accepted as a CA signs certificates, and its certificate comes out as it was read.
pub fn authority_pem(data: &[u8]) {
    let authority = match Authority::from_pem(data) {
        Ok(authority) => authority,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let der = authority.certificate_der();
    let text = authority.certificate_pem();
    let inner: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(from_base64(&inner), der);
    assert!(authority.pkcs12().windows(der.len()).any(|window| window == der));
    let names = LeafNames::for_host("host.example").unwrap_or_else(|error| panic!("{error}"));
    let leaf = authority.mint(&names).unwrap_or_else(|error| panic!("{error}"));
    assert!(!leaf.cert.is_empty());
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut count = 0;
    let mut out = Vec::new();
    for letter in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|it| *it == letter).unwrap_or_default();
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

static SERVER: LazyLock<ServerTls> = LazyLock::new(|| {
    let authority = Authority::from_pem(CA).unwrap_or_else(|error| panic!("{error}"));
    ServerTls::new(Arc::new(CertCache::new(Arc::new(authority))))
        .unwrap_or_else(|error| panic!("{error}"))
});
static CLIENT: LazyLock<UpstreamTls> =
    LazyLock::new(|| UpstreamTls::new(true, &[]).unwrap_or_else(|error| panic!("{error}")).0);

fn version(flags: u8) -> TlsVersion {
    if flags & 4 == 0 { TlsVersion::Tls12 } else { TlsVersion::Tls13 }
}

fn server(flags: u8) -> Session {
    let session = SERVER.session(Some("host.example"), "host.example", version(flags));
    session.unwrap_or_else(|error| panic!("{error}"))
}

fn client(flags: u8) -> Session {
    let session = CLIENT.session("host.example", version(flags));
    session.unwrap_or_else(|error| panic!("{error}"))
}

/// Any records before and after a handshake: those that come in pieces do what the whole does, and
/// what one end reads is the beginning of what the other wrote, whatever happens between them. The
/// first byte chooses the end and the moment.
pub fn tls_session(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    match flags & 3 {
        0 => fresh([server(flags), server(flags)], flags, rest),
        1 => fresh([client(flags), client(flags)], flags, rest),
        _ => between(flags, rest),
    }
}

/// Gives records to two sessions that have seen nothing: to the one at once, to the other in
/// pieces.
fn fresh([mut whole, mut slow]: [Session; 2], flags: u8, records: &[u8]) {
    let mut plain = [Vec::new(), Vec::new()];
    let at_once = feed(&mut whole, records, &mut plain[0]);
    let piece = usize::from(flags >> 3) + 1;
    let mut in_pieces = Ok(());
    for part in records.chunks(piece) {
        in_pieces = in_pieces.and_then(|()| feed(&mut slow, part, &mut plain[1]));
    }
    assert_eq!(at_once, in_pieces);
    assert_eq!(plain[0], plain[1]);
    assert_eq!(whole.is_handshaking(), slow.is_handshaking());
    if at_once.is_ok() {
        assert_eq!(whole.pending().len(), slow.pending().len());
    }
}

/// Gives bytes to a session behind those that wait there; the reason why it fails.
fn feed(session: &mut Session, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
    let mut all = [session.pending(), bytes].concat();
    session.receive(&mut all, plain).map(drop).map_err(|error| error.to_string())?;
    assert!(session.pending().len() <= TLS_PENDING_BYTES);
    Ok(())
}

/// One end of a connection between two sessions, and what is under way to it.
struct Peer {
    session: Session,
    wrote: Vec<u8>,
    read: Vec<u8>,
    coming: Vec<u8>,
    failed: bool,
    closed: bool,
}

impl Peer {
    fn new(session: Session) -> Self {
        let [wrote, read, coming] = [Vec::new(), Vec::new(), Vec::new()];
        Peer { session, wrote, read, coming, failed: false, closed: false }
    }

    fn take(&mut self, count: usize) {
        let part: Vec<u8> = self.coming.drain(..count.min(self.coming.len())).collect();
        if !self.failed {
            self.failed = feed(&mut self.session, &part, &mut self.read).is_err();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        let mut sealed = vec![0; bytes.len() + SEALED_OVERHEAD_BYTES];
        if let Ok(done) = self.session.seal(bytes, &mut sealed) {
            self.session.queue(&sealed[..done.written]);
            self.wrote.extend_from_slice(&bytes[..done.taken]);
        }
    }
}

/// A handshake and what the plan says after it, or before it is done: bytes are written, lost,
/// changed and added under way.
fn between(flags: u8, plan: &[u8]) {
    let mut ends = [Peer::new(client(flags)), Peer::new(server(flags >> 1))];
    let mut is_intact = true;
    if flags & 1 == 0 {
        for _ in 0..6 {
            carry(&mut ends);
            ends.iter_mut().for_each(|end| end.take(usize::MAX));
        }
        assert!(ends.iter().all(|end| !end.session.is_handshaking() && !end.failed));
    }
    for step in plan.chunks(2) {
        let (what, argument) = (step[0], step.get(1).copied().unwrap_or(1));
        let side = usize::from(what & 1);
        let count = usize::from(argument);
        match what >> 1 & 7 {
            0 | 1 => ends[side].write(&plan[..count.min(plan.len())]),
            2 | 3 => ends[side].take(count * count),
            4 => {
                ends[side].closed |= !ends[side].session.is_handshaking();
                ends[side].session.close();
            }
            5 => {
                is_intact = false;
                let at = count.min(ends[side].coming.len().saturating_sub(1));
                if let Some(byte) = ends[side].coming.get_mut(at) {
                    *byte ^= what | 1;
                }
            }
            6 => {
                is_intact = false;
                ends[side].coming.extend_from_slice(&plan[..count.min(plan.len())]);
            }
            _ => {
                is_intact = false;
                let lost = count.min(ends[side].coming.len());
                ends[side].coming.drain(..lost);
            }
        }
        carry(&mut ends);
    }
    for _ in 0..6 {
        ends.iter_mut().for_each(|end| end.take(usize::MAX));
        carry(&mut ends);
    }
    let [client, server] = &ends;
    for (reader, writer) in [(client, server), (server, client)] {
        assert!(writer.wrote.starts_with(&reader.read));
        if is_intact {
            assert!(!reader.failed);
            assert_eq!(reader.read, writer.wrote);
        }
    }
}

/// What the sessions have to say is on its way.
fn carry([client, server]: &mut [Peer; 2]) {
    let hand = |from: &mut Peer, to: &mut Peer| {
        to.coming.extend_from_slice(from.session.output());
        from.session.consume_output(from.session.output().len());
    };
    hand(client, server);
    hand(server, client);
}
