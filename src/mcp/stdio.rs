//! MCP on standard input and output: one message a line, and nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::error::{Error, Result};
use crate::limits::{MCP_BODY_BYTES, MCP_REPLY_BYTES, STOP_GRACE};
use crate::mcp::dispatch::Dispatcher;
use crate::mcp::engine::{Caller, Effect, Engine, Peer, Route};
use crate::mcp::rpc::{self, PARSE_ERROR, RpcError};
use crate::mcp::toolbox::Toolbox;
use crate::mcp::version::Version;
use crate::mcp::workers::{CallEvent, Workers};

/// The only client, and its only session.
const CLIENT: Peer = 0;
const SCOPE: u64 = 0;

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without its end.
    Bytes(Vec<u8>),
    /// It is longer than [`MCP_BODY_BYTES`].
    TooLong,
}

impl Line {
    /// Its bytes; a line that is too long is no message.
    ///
    /// # Errors
    /// When it is too long.
    pub fn bytes(self) -> std::result::Result<Vec<u8>, RpcError> {
        match self {
            Line::Bytes(bytes) => Ok(bytes),
            Line::TooLong => {
                let reason = format!("a message has at most {MCP_BODY_BYTES} bytes");
                Err(RpcError::new(PARSE_ERROR, reason))
            }
        }
    }
}

/// Serves tools until the input ends or `stop` tells something. Calls under way then have a
/// moment to end.
///
/// # Errors
/// When no thread can be started. An output that nobody reads any more is no error.
pub fn serve(
    toolbox: Arc<dyn Toolbox>,
    input: impl Read + Send + 'static,
    output: &mut impl Write,
    stop: &Receiver<()>,
) -> Result<()> {
    let lines = read_lines(input)?;
    let dispatcher = Dispatcher::new(toolbox);
    let (workers, calls) = Workers::new(dispatcher.clone(), Arc::new(|| {}));
    let mut server = Server {
        engine: Engine::new(dispatcher, workers),
        version: Version::NEWEST_WITH_SESSIONS,
        output,
    };
    // Only a client that has gone makes writing fail.
    let _ = server.attend(&lines, &calls, stop);
    Ok(())
}

struct Server<'a, W> {
    engine: Engine,
    version: Version,
    output: &'a mut W,
}

impl<W: Write> Server<'_, W> {
    fn attend(
        &mut self,
        lines: &Receiver<Line>,
        calls: &Receiver<CallEvent>,
        stop: &Receiver<()>,
    ) -> std::io::Result<()> {
        loop {
            select! {
                recv(lines) -> line => match line {
                    Ok(line) => self.take(line),
                    Err(_) => break,
                },
                recv(calls) -> event => {
                    if let Ok(event) = event {
                        self.engine.call_event(event);
                    }
                }
                recv(stop) -> _ => break,
            }
            self.write()?;
        }
        let end = Instant::now() + STOP_GRACE;
        while self.engine.has_calls() {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(event) = calls.recv_timeout(left) else { break };
            self.engine.call_event(event);
            self.write()?;
        }
        self.engine.stop();
        self.write()
    }

    fn take(&mut self, line: Line) {
        let read = |bytes: Vec<u8>| Ok((rpc::read(&bytes)?, bytes.len()));
        let (incoming, message_bytes) = match line.bytes().and_then(read) {
            Ok(read) => read,
            Err(error) => {
                let json = rpc::error(None, &error);
                self.engine.push(Effect::Message { peer: CLIENT, json });
                return;
            }
        };
        let caller = Caller {
            route: Route::Channel(CLIENT),
            scope: Some(SCOPE),
            version: self.version,
            reply_bytes: MCP_REPLY_BYTES,
            message_bytes,
        };
        if let Some(version) = self.engine.take(incoming, &caller).agreed {
            self.version = version;
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        for effect in self.engine.effects() {
            if let Effect::Message { json, .. } = effect {
                self.output.write_all(json.as_bytes())?;
                self.output.write_all(b"\n")?;
            }
        }
        self.output.flush()
    }
}

/// Reads lines on a thread of its own, which ends with the input. Empty ones are passed over.
pub(super) fn read_lines(input: impl Read + Send + 'static) -> Result<Receiver<Line>> {
    let (sender, lines) = bounded(1);
    let thread = thread::Builder::new().name("mcp-input".to_owned());
    let spawned = thread.spawn(move || send_lines(BufReader::new(input), &sender));
    spawned.map_err(|error| Error::new(format!("MCP cannot read its input: {error}")))?;
    Ok(lines)
}

fn send_lines(mut input: impl BufRead, sender: &Sender<Line>) {
    while let Ok(Some(line)) = next_line(&mut input) {
        let is_empty = matches!(&line, Line::Bytes(bytes) if bytes.trim_ascii().is_empty());
        if !is_empty && sender.send(line).is_err() {
            return;
        }
    }
}

/// The next line, however long it is; `None` at the end of the input.
///
/// # Errors
/// When the input cannot be read.
pub fn next_line(input: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let most = MCP_BODY_BYTES as u64 + 1;
    let mut length = input.by_ref().take(most).read_until(b'\n', &mut line)?;
    if length == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(Line::Bytes(line)));
    }
    if line.len() <= MCP_BODY_BYTES {
        // The last line may lack its end.
        return Ok(Some(Line::Bytes(line)));
    }
    while length > 0 && line.last() != Some(&b'\n') {
        line.clear();
        length = input.by_ref().take(most).read_until(b'\n', &mut line)?;
    }
    Ok(Some(Line::TooLong))
}

#[cfg(test)]
mod tests;
