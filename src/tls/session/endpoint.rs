//! The records of one endpoint: which of rustls' states asks for what.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{CommonState, Error};

/// Either end of a connection.
pub(super) enum Endpoint {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

impl From<UnbufferedClientConnection> for Endpoint {
    fn from(connection: UnbufferedClientConnection) -> Self {
        Endpoint::Client(Box::new(connection))
    }
}

impl From<UnbufferedServerConnection> for Endpoint {
    fn from(connection: UnbufferedServerConnection) -> Self {
        Endpoint::Server(Box::new(connection))
    }
}

/// What came of some ciphertext.
#[derive(Debug)]
pub(super) struct Processed {
    /// Bytes at its beginning that are done with.
    pub(super) used: usize,
    /// The peer's close_notify was among them.
    pub(super) peer_closed: bool,
    /// Why the endpoint cannot go on.
    pub(super) error: Option<Error>,
}

impl Endpoint {
    /// What both kinds have in common.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Endpoint::Client(connection) => connection,
            Endpoint::Server(connection) => connection,
        }
    }

    /// Decrypts the whole records in `ciphertext`, in place, and appends their plaintext;
    /// records that the endpoint has to send go to `output`.
    ///
    /// What was not used stays as it is now, and stands in front of what comes next: it may be a
    /// part of a handshake message that is decrypted already.
    pub(super) fn process(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Processed {
        let mut processed = Processed { used: 0, peer_closed: false, error: None };
        loop {
            let rest = ciphertext.get_mut(processed.used..).unwrap_or_default();
            let taken = match self {
                Endpoint::Client(connection) => {
                    take(connection.process_tls_records(rest), plaintext, output, &mut processed)
                }
                Endpoint::Server(connection) => {
                    take(connection.process_tls_records(rest), plaintext, output, &mut processed)
                }
            };
            match taken {
                Ok(true) => {}
                Ok(false) => return processed,
                Err(error) => {
                    self.take_alert(output);
                    processed.error = Some(error);
                    return processed;
                }
            }
        }
    }

    /// After a failure: there may be an alert to send. Nothing else may be asked for any more.
    fn take_alert(&mut self, output: &mut Vec<u8>) {
        while self.common().wants_write() {
            let taken = match self {
                Endpoint::Client(connection) => {
                    settle(connection.process_tls_records(&mut []).state, output)
                }
                Endpoint::Server(connection) => {
                    settle(connection.process_tls_records(&mut []).state, output)
                }
            };
            if taken != Ok(true) {
                return;
            }
        }
    }

    /// Encrypts `what` to the beginning of `out`; the bytes it took there. Records that have to
    /// be sent before go to `output`. `pending` is what [`Endpoint::process`] has not used.
    pub(super) fn write(
        &mut self,
        what: &Outgoing<'_>,
        pending: &mut [u8],
        out: &mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        loop {
            let written = match self {
                Endpoint::Client(connection) => {
                    write(connection.process_tls_records(pending), what, out, output)
                }
                Endpoint::Server(connection) => {
                    write(connection.process_tls_records(pending), what, out, output)
                }
            };
            if let Some(written) = written? {
                return Ok(written);
            }
        }
    }
}

/// What is to be encrypted.
#[derive(Debug)]
pub(super) enum Outgoing<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

/// Encrypts, or does what the state asks for before that: then the result is `None`.
fn write<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    what: &Outgoing<'_>,
    out: &mut [u8],
    output: &mut Vec<u8>,
) -> Result<Option<usize>, Error> {
    let mut traffic = match status.state {
        Ok(ConnectionState::WriteTraffic(traffic)) => traffic,
        other => {
            return match settle(other, output)? {
                true => Ok(None),
                false => Err(Error::General("the session has ended".to_owned())),
            };
        }
    };
    let written = match what {
        Outgoing::CloseNotify => traffic.queue_close_notify(out),
        // What has just come up goes out first.
        Outgoing::Data(_) if !output.is_empty() => Ok(0),
        Outgoing::Data(data) => traffic.encrypt(data, out),
    };
    written.map(Some).map_err(|error| match error {
        EncryptError::EncryptExhausted => Error::EncryptError,
        EncryptError::InsufficientSize(_) => Error::General(error.to_string()),
    })
}

/// Does what a state asks for; whether there is more to do.
fn take<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plaintext: &mut Vec<u8>,
    output: &mut Vec<u8>,
    processed: &mut Processed,
) -> Result<bool, Error> {
    let UnbufferedStatus { mut discard, state } = status;
    let taken = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut read = Ok(true);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plaintext.extend_from_slice(record.payload);
                    }
                    Err(error) => read = Err(error),
                }
            }
            read
        }
        Ok(ConnectionState::PeerClosed) => {
            processed.peer_closed = true;
            Ok(true)
        }
        other => settle(other, output),
    };
    processed.used += discard;
    taken
}

/// Does what a state asks for that is not about data; whether there is more to do.
fn settle<Data>(
    state: Result<ConnectionState<'_, '_, Data>, Error>,
    output: &mut Vec<u8>,
) -> Result<bool, Error> {
    match state? {
        ConnectionState::EncodeTlsData(record) => encode(record, output).map(|()| true),
        // What is in the output goes out before anything else does.
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Ok(true)
        }
        // Early data is never offered nor taken.
        _ => Ok(false),
    }
}

fn encode<Data>(mut record: EncodeTlsData<'_, Data>, output: &mut Vec<u8>) -> Result<(), Error> {
    let start = output.len();
    if let Err(EncodeError::InsufficientSize(needed)) = record.encode(&mut []) {
        output.resize(start + needed.required_size, 0);
        let place = output.get_mut(start..).unwrap_or_default();
        record.encode(place).map_err(|error| Error::General(error.to_string()))?;
    }
    Ok(())
}
