//! What follows once a connection is there: the proxy's handshake, and TLS with the one and the
//! other.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::net::dial::{Asking, Dialing, Dialled, Securing, Stage, forwards};
use crate::net::event_loop::{ConnKey, DialKey, EventLoop, Owner, SocketKey, UpstreamFacts};
use crate::net::pool::PoolKey;
use crate::proxy::buffer::Buffer;
use crate::proxy::context::{Connected, DialError, Via};
use crate::proxy::exchange::micros;
use crate::proxy::link::End;
use crate::tls::session::TlsError;
use crate::upstream::{Destination, Handshake, Kind};

impl EventLoop {
    /// The socket is connected, to the server or to the proxy on the way.
    pub(super) fn reached(
        &mut self,
        key: DialKey,
        socket: SocketKey,
        address: SocketAddr,
    ) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        match dialing.via.proxy() {
            None => self.begin_securing(key, socket, address, Vec::new(), None),
            Some(proxy) if proxy.kind == Kind::Https => {
                let name = proxy.authority.host.clone();
                let securing = Securing {
                    began: self.desk.now,
                    socket,
                    address,
                    name: dialing.shown().into(),
                    is_proxy: true,
                    early: Vec::new(),
                };
                self.begin_tls(key, &name, securing, &[])
            }
            Some(_) => self.begin_asking(key, socket, address, Vec::new(), None),
        }
    }

    /// The proxy can be spoken to: asks it for a relay to the server, unless it takes requests
    /// itself. `input` has come from it already, and perhaps its end.
    fn begin_asking(
        &mut self,
        key: DialKey,
        socket: SocketKey,
        address: SocketAddr,
        input: Vec<u8>,
        end: Option<End>,
    ) -> Dialled {
        let now = self.desk.now;
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        dialing.connect_us = micros(dialing.connect_began, now);
        let Via::Tunnel(proxy) = &dialing.via else {
            return self.finish_dial(key, socket, address, input, end);
        };
        let to = match dialing.looked_up {
            Some(address) => Destination::Address(address),
            None => Destination::Host(dialing.authority.clone()),
        };
        let mut output = Buffer::default();
        let handshake = Handshake::new(proxy, to, output.storage());
        // It has to look up and to connect now.
        dialing.wait = self.desk.options.connect_timeout;
        dialing.deadline = now.instant + dialing.wait;
        dialing.stage = Stage::Asking(Asking { socket, address, handshake, input, output, end });
        self.ask(key)
    }

    /// Goes on with the handshake of the proxy.
    pub(super) fn ask(&mut self, key: DialKey) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let proxy = dialing.shown();
        let Stage::Asking(asking) = &mut dialing.stage else { return Dialled::Pending(key) };
        let socket = asking.socket;
        loop {
            let Some(entry) = self.sockets.get_mut(socket) else { return self.gone(socket) };
            let advanced = asking.handshake.advance(&asking.input, asking.output.storage());
            let taken = match advanced {
                Ok(taken) => taken,
                Err(reason) => return self.fail_at(key, format!("{proxy} {reason}")),
            };
            asking.input.drain(..taken.bytes.min(asking.input.len()));
            let written = entry.socket.write(&mut self.scratch, &mut asking.output);
            if taken.done {
                let (address, end) = (asking.address, asking.end.take());
                let input = std::mem::take(&mut asking.input);
                dialing.connect_us = micros(dialing.connect_began, self.desk.now);
                return self.begin_securing(key, socket, address, input, end);
            }
            let ended = match (asking.end.take(), written) {
                (Some(End::Cut(reason)), _) => Some(reason),
                (Some(End::Clean | End::Unannounced), _) => {
                    Some("it closed the connection".to_owned())
                }
                // What it said before it closed may still be there to be read.
                (None, Err(reason)) if !entry.socket.readable => Some(reason),
                (None, _) => None,
            };
            if let Some(reason) = ended {
                let question = asking.handshake.question();
                return self.fail_at(key, format!("{proxy} did not answer {question}: {reason}"));
            }
            if !entry.socket.readable {
                return Dialled::Pending(key);
            }
            let outcome = entry.socket.read(&mut self.scratch, &mut asking.input);
            let failed = outcome.tls_error.map(|error| End::Cut(format!("TLS: {error}")));
            asking.end = failed.or(outcome.end);
        }
    }

    /// What comes now is the server's: begins TLS with it where it is wanted. `input` has come from
    /// it already, and perhaps its end.
    fn begin_securing(
        &mut self,
        key: DialKey,
        socket: SocketKey,
        address: SocketAddr,
        input: Vec<u8>,
        end: Option<End>,
    ) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let Some(name) = dialing.tls.clone() else {
            return self.finish_dial(key, socket, address, input, end);
        };
        if end.is_some() {
            let reason = format!("the TLS handshake with {name} failed: the connection has ended");
            return self.fail_at(key, reason);
        }
        let securing = Securing {
            began: self.desk.now,
            socket,
            address,
            name: name.clone(),
            is_proxy: false,
            early: Vec::new(),
        };
        self.begin_tls(key, &name, securing, &input)
    }

    /// Begins TLS for a server name. `input` are bytes of it that were read already.
    fn begin_tls(
        &mut self,
        key: DialKey,
        server_name: &str,
        mut securing: Securing,
        input: &[u8],
    ) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let (name, socket) = (securing.name.clone(), securing.socket);
        dialing.wait = self.desk.options.handshake_timeout;
        dialing.deadline = self.desk.now.instant + dialing.wait;
        let min = self.desk.options.tls_version_server_min;
        let session = self.upstream_tls.as_ref().map(|tls| match securing.is_proxy {
            true => tls.proxy_session(server_name, min),
            false => tls.session(server_name, min),
        });
        let started = match (session, self.sockets.get_mut(socket)) {
            (Some(Ok(session)), Some(entry)) => {
                let outcome = entry.socket.start_tls(session, input, &mut securing.early);
                outcome.tls_error.map_or(Ok(()), |error| Err(tls_failed(&name, &error)))
            }
            (Some(Err(error)), _) => Err(tls_failed(&name, &error)),
            (Some(Ok(_)), None) => Ok(()),
            (None, _) => {
                let reason = format!("{name}: there is no trust store to verify servers with");
                Err(DialError { status: 502, reason })
            }
        };
        dialing.stage = Stage::Securing(securing);
        match started {
            Ok(()) => self.secure(key),
            Err(error) => self.fail_dial(key, error),
        }
    }

    /// Begins TLS on a connection that is there already.
    pub(in crate::net) fn secure_upstream(
        &mut self,
        conn: ConnKey,
        socket: SocketKey,
        name: Arc<str>,
    ) -> Dialled {
        let now = self.desk.now;
        let Some(entry) = self.sockets.get_mut(socket) else {
            let reason = "the connection to the server is gone".to_owned();
            return Dialled::Failed(DialError { status: 502, reason });
        };
        let Some(facts) = &entry.facts else { return self.gone(socket) };
        let address = facts.address;
        let dialing = Dialing {
            conn,
            authority: facts.key.authority().clone(),
            tls: Some(name),
            via: facts.key.via().clone(),
            looked_up: None,
            _asker: None,
            stage: Stage::Resolving,
            began: now,
            connect_began: now,
            // Both were over before there was a request.
            dns_us: 0,
            connect_us: 0,
            wait: self.desk.options.handshake_timeout,
            deadline: now.instant,
        };
        let key = self.dials.insert(dialing);
        entry.owner = Owner::Dial(key);
        self.begin_securing(key, socket, address, Vec::new(), None)
    }

    fn gone(&mut self, socket: SocketKey) -> Dialled {
        self.sockets.remove(socket);
        let reason = "the connection to the server is gone".to_owned();
        Dialled::Failed(DialError { status: 502, reason })
    }

    pub(super) fn secure(&mut self, key: DialKey) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let Stage::Securing(securing) = &mut dialing.stage else { return Dialled::Pending(key) };
        let name = securing.name.clone();
        let socket = securing.socket;
        let Some(entry) = self.sockets.get_mut(socket) else { return self.gone(socket) };
        let mut nothing = Buffer::default();
        loop {
            let outcome = if entry.socket.readable {
                entry.socket.read(&mut self.scratch, &mut securing.early)
            } else {
                Default::default()
            };
            // What was read may have an answer, which TLS 1.2 servers wait for.
            let written = entry.socket.write(&mut self.scratch, &mut nothing);
            if let Some(error) = &outcome.tls_error {
                return self.fail_dial(key, tls_failed(&name, error));
            }
            if outcome.secured {
                let address = securing.address;
                let early = std::mem::take(&mut securing.early);
                if securing.is_proxy {
                    return self.begin_asking(key, socket, address, early, outcome.end);
                }
                return self.finish_dial(key, socket, address, early, outcome.end);
            }
            let ended = match (outcome.end, written) {
                (Some(End::Cut(reason)), _) | (_, Err(reason)) => Some(reason),
                (Some(End::Clean | End::Unannounced), _) => Some("the server ended it".to_owned()),
                (None, Ok(_)) => None,
            };
            if let Some(reason) = ended {
                let reason = format!("the TLS handshake with {name} failed: {reason}");
                return self.fail_at(key, reason);
            }
            if !entry.socket.readable {
                return Dialled::Pending(key);
            }
        }
    }

    fn finish_dial(
        &mut self,
        key: DialKey,
        socket: SocketKey,
        address: SocketAddr,
        early: Vec<u8>,
        end: Option<End>,
    ) -> Dialled {
        let Some(dialing) = self.dials.remove(key) else { return self.gone(socket) };
        let Some(entry) = self.sockets.get_mut(socket) else { return self.gone(socket) };
        let tls_us = match &dialing.stage {
            Stage::Securing(securing) if !securing.is_proxy => {
                micros(securing.began, self.desk.now)
            }
            _ => 0,
        };
        // TLS with the proxy alone is none with the server.
        let session = entry.socket.tls().filter(|_| dialing.tls.is_some());
        let tls = session.map(|session| Arc::new(session.facts()));
        entry.owner = Owner::Upstream(dialing.conn);
        let forwards = forwards(&dialing.via);
        let connection = self.desk.shared.new_connection();
        entry.facts = Some(Box::new(UpstreamFacts {
            key: PoolKey::new(dialing.authority, dialing.tls, dialing.via),
            address,
            connection,
            tls: tls.clone(),
        }));
        let connected = Connected {
            address,
            forwards,
            connection,
            reused: false,
            tls,
            dns_us: dialing.dns_us,
            connect_us: dialing.connect_us,
            tls_us,
        };
        Dialled::Connected { socket, connected, early, end }
    }

    fn fail_at(&mut self, key: DialKey, reason: String) -> Dialled {
        self.fail_dial(key, DialError { status: 502, reason })
    }
}

fn tls_failed(name: &str, error: &TlsError) -> DialError {
    let reason = if error.is_certificate_refused() {
        format!("the certificate of {name} is not valid: {error}")
    } else {
        format!("the TLS handshake with {name} failed: {error}")
    };
    DialError { status: 502, reason }
}
