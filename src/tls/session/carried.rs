//! TLS inside TLS: a session whose records are the plaintext of another one, as behind a proxy that
//! is spoken to by TLS itself.
//!
//! All that a carried session has to send is encrypted once more at once, so that what waits to be
//! sent is always the carrier's.

use crate::limits::{READ_BYTES, SEALED_OVERHEAD_BYTES};

use super::endpoint::Outgoing;
use super::{Received, Sealed, Session, TlsError};

impl Session {
    /// From now on `carrier` carries this session's records; its handshake is done.
    ///
    /// # Errors
    /// When the carrier is unusable.
    pub(crate) fn carry_by(&mut self, mut carrier: Session) -> Result<(), TlsError> {
        let handed = self.hand_down(&mut carrier);
        self.carrier = Some(Box::new(carrier));
        handed
    }

    /// Takes the carrier's ciphertext. The session is apart from its carrier meanwhile.
    pub(super) fn receive_by(
        &mut self,
        carrier: &mut Session,
        ciphertext: &mut [u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<Received, TlsError> {
        // What a record lacked comes right behind its beginning.
        let mut records = std::mem::take(&mut self.pending);
        let before = records.len();
        let carried = carrier.receive(ciphertext, &mut records)?;
        let received = if records.len() > before {
            self.receive(&mut records, plaintext)
        } else {
            self.pending = records;
            Ok(Received { peer_closed: self.peer_closed, ..Received::default() })
        };
        self.hand_down(carrier)?;
        Ok(Received { carrier_closed: carried.peer_closed, ..received? })
    }

    /// Encrypts twice. The session is apart from its carrier meanwhile.
    pub(super) fn seal_by(
        &mut self,
        carrier: &mut Session,
        plaintext: &[u8],
        sealed: &mut [u8],
    ) -> Result<Sealed, TlsError> {
        if self.is_handshaking() || carrier.has_output() {
            return Ok(Sealed::default());
        }
        let room = sealed.len().saturating_sub(2 * SEALED_OVERHEAD_BYTES);
        let now = plaintext.get(..room).unwrap_or(plaintext);
        let mut records = vec![0; now.len() + SEALED_OVERHEAD_BYTES];
        let Sealed { taken, written } = self.seal(now, &mut records)?;
        self.hand_down(carrier)?;
        let records = records.get(..written).unwrap_or_default();
        let carried = carrier.seal(records, sealed)?;
        carrier.queue_sealed(records.get(carried.taken..).unwrap_or_default())?;
        Ok(Sealed { taken, written: carried.written })
    }

    /// Ends both directions of writing. The session is apart from its carrier meanwhile.
    pub(super) fn close_by(&mut self, carrier: &mut Session) {
        self.close();
        if self.hand_down(carrier).is_ok() {
            carrier.close();
        }
    }

    /// Has the carrier encrypt what waits to be sent.
    fn hand_down(&mut self, carrier: &mut Session) -> Result<(), TlsError> {
        let output = std::mem::take(&mut self.output);
        let sent = std::mem::take(&mut self.sent);
        carrier.queue_sealed(output.get(sent..).unwrap_or_default())
    }

    /// Encrypts all of this behind what waits to be sent.
    fn queue_sealed(&mut self, plaintext: &[u8]) -> Result<(), TlsError> {
        let mut rest = plaintext;
        while !rest.is_empty() {
            if let Some(error) = &self.failed {
                return Err(TlsError::other(format!("cannot encrypt: {error}")));
            }
            let piece = rest.get(..READ_BYTES).unwrap_or(rest);
            let mut sealed = vec![0; piece.len() + SEALED_OVERHEAD_BYTES];
            let mut before = Vec::new();
            let what = Outgoing::Data(piece);
            match self.endpoint.write(&what, &mut self.pending, &mut sealed, &mut before) {
                // What has come up goes out first, and nothing was encrypted yet.
                Ok(_) if !before.is_empty() => self.queue(&before),
                Ok(written) => {
                    self.queue(sealed.get(..written).unwrap_or_default());
                    rest = rest.get(piece.len()..).unwrap_or_default();
                }
                Err(error) => {
                    let told = TlsError::other(format!("cannot encrypt: {error}"));
                    self.failed = Some(error);
                    return Err(told);
                }
            }
        }
        Ok(())
    }
}
