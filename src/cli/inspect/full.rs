//! One trace, or one WebSocket connection, in full.

use std::io;

use crate::capture::har::cookies::{Cookie, received, sent};
use crate::capture::read::{Bundle, Header, Message};
use crate::cli::inspect::{Failure, Page, content};
use crate::cli::words::{duration, size, visible};
use crate::flow::head::Field;
use crate::flow::query::{parameters, query};

type Shown = Result<(), Failure>;

/// Shows a trace.
pub(super) fn trace(bundle: &mut Bundle, id: &str, page: &mut Page<'_>) -> Shown {
    let trace = bundle.trace(id)?;
    let (request, response) = (&trace.request, &trace.response);
    let version = visible(&request.http_version);
    page.heading(&format!("{} {} {version}", visible(&request.method), visible(&request.url)))?;
    show_headers(&request.headers, page)?;
    page.line("")?;
    let cookies = sent(&fields(&request.headers));
    for (title, pairs) in [
        ("query", parameters(query(&request.url)).collect::<Vec<_>>()),
        ("cookies", cookies.iter().map(|it| ((&*it.name).into(), (&*it.value).into())).collect()),
    ] {
        if !pairs.is_empty() {
            page.heading(title)?;
            content::pairs(page, pairs.into_iter())?;
            page.line("")?;
        }
    }
    show_body(bundle, request, page)?;
    if response.status == 0 {
        page.heading("(no response)")?;
    } else {
        let status = page.status(response.status, &response.status.to_string());
        let version = visible(&response.http_version);
        page.heading(&format!("{version} {status} {}", visible(&response.status_text)))?;
        show_headers(&response.headers, page)?;
        page.line("")?;
        let cookies = received(&fields(&response.headers), trace.timestamp.saturating_mul(1_000));
        if !cookies.is_empty() {
            page.heading("cookies")?;
            content::pairs(page, cookies.iter().map(|it| (it.name.clone(), cookie_words(it))))?;
            page.line("")?;
        }
        show_body(bundle, response, page)?;
    }
    if let Some(error) = &trace.error {
        page.heading("error")?;
        page.line(&format!("{}\n", page.paint(31, &visible(error))))?;
    }
    page.heading("timing")?;
    let timing = &trace.timing;
    let phases = [
        ("name look-up", timing.dns_ms),
        ("connect", timing.connect_ms),
        ("TLS", timing.tls_ms),
        ("send", timing.send_ms),
        ("wait", timing.wait_ms),
        ("receive", timing.receive_ms),
        ("total", timing.total_ms),
    ];
    for (name, time) in phases {
        page.line(&format!("{name:<12} {:>10}", duration(time)))?;
    }
    Ok(())
}

fn fields(headers: &[Header]) -> Vec<Field> {
    let field = |it: &Header| Field { name: it.name.clone(), value: it.value.clone() };
    headers.iter().map(field).collect()
}

/// The value of a cookie that is set, and what was said of it.
fn cookie_words(cookie: &Cookie) -> String {
    let named = [
        ("path", &cookie.path),
        ("domain", &cookie.domain),
        ("expires", &cookie.expires),
        ("same site", &cookie.same_site),
    ];
    let mut said: Vec<_> = named
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
        .collect();
    for (name, value) in [("secure", cookie.secure), ("HTTP only", cookie.http_only)] {
        said.extend((value == Some(true)).then(|| name.to_owned()));
    }
    if said.is_empty() {
        return cookie.value.clone();
    }
    format!("{}  ({})", cookie.value, said.join(", "))
}

/// Shows the body of a message, and what is to be said of it.
fn show_body(bundle: &mut Bundle, message: &Message, page: &mut Page<'_>) -> Shown {
    if message.body_file.is_some() {
        body(bundle, message, page)?;
        if let Some(coding) = &message.body_encoding {
            page.line(&format!("(not decoded: {})", visible(coding)))?;
        }
        page.line("")?;
    }
    if message.body_damaged {
        page.line("(damaged: what was recorded of the body could not be read back whole)\n")?;
    } else if let Some(size) = message.body_wire_size {
        page.line(&format!("(cut: the body had {size} bytes on the wire)\n"))?;
    }
    if !message.trailers.is_empty() {
        show_headers(&message.trailers, page)?;
        page.line("")?;
    }
    Ok(())
}

/// Shows what a body holds.
pub(super) fn body(bundle: &mut Bundle, message: &Message, page: &mut Page<'_>) -> Shown {
    let Some(file) = &message.body_file else { return Ok(()) };
    let is_type = |it: &&Header| it.name.eq_ignore_ascii_case("content-type");
    let content_type = message.headers.iter().find(is_type).map(|it| it.value.as_str());
    // What is not decoded is of no type that could be told.
    let content_type = content_type.filter(|_| message.body_encoding.is_none());
    let is_cut = message.body_wire_size.is_some() || message.body_damaged;
    match bundle.trace_body(file) {
        Ok(body) => content::show(page, &body, content_type.unwrap_or_default(), is_cut)?,
        Err(error) => page.line(&format!("({})", visible(&error.to_string())))?,
    }
    Ok(())
}

fn show_headers(headers: &[Header], page: &mut Page<'_>) -> io::Result<()> {
    for header in headers {
        let name = page.name(&visible(&header.name));
        page.line(&format!("{name}: {}", visible(&header.value)))?;
    }
    Ok(())
}

/// Shows a WebSocket connection with its messages.
pub(super) fn websocket(bundle: &mut Bundle, id: &str, page: &mut Page<'_>) -> Shown {
    let socket = bundle.websocket(id)?;
    page.heading(&format!("WebSocket {}", visible(&socket.url)))?;
    if !socket.protocols.is_empty() {
        page.line(&format!("protocols offered: {}", visible(&socket.protocols.join(", "))))?;
    }
    let mut number = 1;
    while let Some(message) = bundle.message(id, number)? {
        let arrow = if message.direction == "send" { "->" } else { "<-" };
        let after = message.timestamp.saturating_sub(socket.timestamp) as f64;
        page.heading(&format!(
            "{arrow} {} {}, {}, after {}",
            visible(&message.id),
            visible(&message.opcode),
            size(message.payload_size),
            duration(after)
        ))?;
        if let Some(file) = &message.payload_file {
            match bundle.message_payload(file) {
                Ok(payload) => content::show(page, &payload, "", false)?,
                Err(error) => page.line(&format!("({})", visible(&error.to_string())))?,
            }
        }
        if let Some(coding) = &message.payload_encoding {
            page.line(&format!("(not decoded: {})", visible(coding)))?;
        }
        if message.payload_damaged {
            page.line("(damaged: what was recorded of it could not be read back whole)")?;
        }
        number += 1;
    }
    if socket.messages_left_out > 0 {
        page.line(&format!("{} more messages were not kept", socket.messages_left_out))?;
    }
    if let Some(error) = &socket.error {
        page.line(&format!("ended: {}", visible(error)))?;
    }
    Ok(())
}
