//! Fields that flowtap writes itself. Where an agent gives one, it is refused unless it would go
//! out as it is given: no edit is told of as done that has no effect.

use crate::flow::head::Field;
use crate::flow::record::Side;
use crate::http::field::FieldKind;
use crate::mcp::tools::edit::FieldEdits;
use crate::mcp::tools::reply::Failure;

/// A message that a tool changes or makes, as far as that decides which fields flowtap writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnFields<'a> {
    /// Which message.
    pub(super) side: Side,
    /// The fields that it has already.
    pub(super) recorded: &'a [Field],
    /// The length of the body that goes out, where it is known.
    pub(super) length: Option<u64>,
    /// Whether that is another body than the recorded one.
    pub(super) is_new: bool,
    /// Whether the method is HEAD, whose answers have no body.
    pub(super) to_head: bool,
    /// A response's status.
    pub(super) status: u16,
}

/// What becomes of a field that is given.
enum Fate {
    Passes,
    /// It is there anyway.
    Stands,
    /// Flowtap writes another, or none.
    Yields,
}

impl OwnFields<'_> {
    /// Checks changes, and leaves out of them what is so without them; tells in `done` which
    /// fields stay that were to be removed.
    ///
    /// # Errors
    /// When a field would not go out as it is given.
    pub(super) fn settle(
        &self,
        edits: &mut FieldEdits<'_>,
        done: &mut Vec<String>,
    ) -> Result<(), Failure> {
        edits.set = self.check(std::mem::take(&mut edits.set))?;
        edits.remove.retain(|name| {
            let stays = is_framing(FieldKind::of(name.as_bytes())) && !self.describes();
            if stays {
                done.push(format!("header {name} not removed: flowtap sets it itself"));
            }
            !stays
        });
        Ok(())
    }

    /// The fields of these that an agent has to give so that they go out.
    ///
    /// # Errors
    /// When one would not go out as it is given.
    pub(super) fn check(&self, mut given: Vec<Field>) -> Result<Vec<Field>, Failure> {
        let yields = |field: &&Field| matches!(self.fate(field), Fate::Yields);
        if let Some(Field { name, .. }) = given.iter().find(yields) {
            let why = match is_framing(FieldKind::of(name.as_bytes())) {
                true => "flowtap sets it itself, by the body",
                false => "it ends at this proxy, and flowtap sets it itself where it is needed",
            };
            return Err(Failure::new(format!(
                "the header {name} cannot be given: {why}; leave it out"
            )));
        }
        given.retain(|field| matches!(self.fate(field), Fate::Passes));
        Ok(given)
    }

    fn fate(&self, Field { name, value }: &Field) -> Fate {
        let kind = FieldKind::of(name.as_bytes());
        let length = || value.parse::<u64>().ok();
        let passes = match (kind, self.side) {
            (FieldKind::ContentLength, _) => self.describes() && length().is_some(),
            (FieldKind::TransferEncoding, _) => self.describes(),
            (FieldKind::Connection | FieldKind::KeepAlive | FieldKind::HopByHop, _) => false,
            (FieldKind::Expect | FieldKind::ProxyRequest, Side::Request) => false,
            (FieldKind::Te, Side::Request) => value.eq_ignore_ascii_case("trailers"),
            (FieldKind::Te | FieldKind::ProxyResponse, Side::Response) => false,
            (FieldKind::Upgrade, Side::Request) => false,
            (FieldKind::Upgrade, Side::Response) => self.status == 426,
            _ => true,
        };
        let is_recorded = || {
            let is_same = |it: &Field| it.name.eq_ignore_ascii_case(name) && it.value == *value;
            self.recorded.iter().any(is_same)
        };
        let stands = match kind {
            FieldKind::ContentLength if length().is_some() && length() == self.length => true,
            _ if is_framing(kind) && self.is_new => false,
            _ => is_recorded(),
        };
        match (passes, stands) {
            (true, _) => Fate::Passes,
            (false, true) => Fate::Stands,
            (false, false) => Fate::Yields,
        }
    }

    /// Whether framing fields tell of another response, and pass (RFC 9110 section 8.6).
    fn describes(&self) -> bool {
        self.side == Side::Response && (self.to_head || self.status == 304)
    }
}

fn is_framing(kind: FieldKind) -> bool {
    matches!(kind, FieldKind::ContentLength | FieldKind::TransferEncoding)
}
