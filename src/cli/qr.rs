//! A QR code of the address of the page for devices, for a terminal.

use std::io::IsTerminal;
use std::net::SocketAddr;

use qrcodegen::{QrCode, QrCodeEcc};

use crate::cli::colour;
use crate::config::Colour;

/// Light modules around a code (ISO/IEC 18004 section 5.3.8); readers want them.
const QUIET_ZONE: i32 = 4;
/// White on black whatever the terminal's own colours are: entries 231 and 16 of its palette of
/// 256, which no theme changes.
const COLOURS: &str = "\x1b[38;5;231;48;5;16m";
const RESET: &str = "\x1b[0m";

/// Whether a code to this stream has colours of its own. Without them it is right on a dark
/// terminal, and with its colours turned round on a light one, which most readers take too.
pub(super) fn is_coloured(stream: &impl IsTerminal) -> bool {
    colour::is_coloured(Colour::Auto, stream)
}

/// The code of the page for devices at this address, with a line that names it; or why there is
/// none, and what to do.
pub(super) fn page(address: Option<SocketAddr>, coloured: bool) -> String {
    let Some(address) = address else {
        return "No QR code: this machine has no address in a network that a phone could reach.\n"
            .to_owned();
    };
    if address.ip().to_canonical().is_loopback() {
        return format!(
            "No QR code: phones cannot reach {}. Start with --listen 0.0.0.0 for that; then \
             whoever is in your network can use the proxy, too (--set proxyauth=USER:PASSWORD \
             asks for credentials, and there is no QR code then).\n",
            address.ip()
        );
    }
    let url = format!("http://{address}/");
    match render(&url, coloured) {
        Some(code) => format!(
            "{code}{url}\nScan it with a phone in the same network: the page has the steps and the \
             certificate.\n"
        ),
        None => format!("{url}\n"),
    }
}

/// A code in half blocks, two rows of modules to a line.
fn render(text: &str, coloured: bool) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let edge = code.size() + QUIET_ZONE;
    let is_light = |x, y| !code.get_module(x, y);
    let (begin, end) = if coloured { (COLOURS, RESET) } else { ("", "") };
    let mut out = String::new();
    for y in (-QUIET_ZONE..edge).step_by(2) {
        out.push_str(begin);
        for x in -QUIET_ZONE..edge {
            // Past the last row nothing is printed light: the zone has its four rows.
            out.push(match (is_light(x, y), y + 1 < edge && is_light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push_str(end);
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader makes of printed half blocks, of the colours that a terminal shows them in.
    fn decoded(printed: &str, light_is_white: bool) -> String {
        const SCALE: usize = 4;
        let rows: Vec<Vec<char>> = printed.lines().map(|line| line.chars().collect()).collect();
        let (width, height) = (rows[0].len() * SCALE, rows.len() * 2 * SCALE);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            let upper = (y / SCALE).is_multiple_of(2);
            let light = match rows[y / SCALE / 2][x / SCALE] {
                '█' => true,
                '▀' => upper,
                '▄' => !upper,
                _ => false,
            };
            if light == light_is_white { 255 } else { 0 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "{printed}");
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_printed_code_reads_back() {
        for url in ["http://192.168.1.20:8080/", "http://[2001:db8::1234:5678]:65535/"] {
            let plain = render(url, false).unwrap();
            assert_eq!(decoded(&plain, true), url);
            let coloured = render(url, true).unwrap();
            let bare = coloured.replace(COLOURS, "").replace(RESET, "");
            assert_eq!(bare, plain);
            assert!(coloured.lines().all(|it| it.starts_with(COLOURS) && it.ends_with(RESET)));
        }
    }

    #[test]
    fn a_code_is_set_off_on_all_sides() {
        let plain = render("http://10.0.0.1:8080/", false).unwrap();
        let lines: Vec<_> = plain.lines().collect();
        let width = lines[0].chars().count();
        let is_light = |line: &str| line.chars().all(|c| c == '█');
        assert!(is_light(lines[0]) && is_light(lines[1]));
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert!(lines[2..lines.len() - 2].iter().all(|line| {
            line.starts_with("████") && line.ends_with("████") && !is_light(line)
        }));
    }

    #[test]
    fn what_no_phone_reaches_has_no_code() {
        let loopback = page(Some("127.0.0.1:8080".parse().unwrap()), false);
        assert!(loopback.contains("--listen 0.0.0.0") && !loopback.contains('█'), "{loopback}");
        assert!(page(None, false).contains("no address"));
        let code = page(Some("10.1.2.3:8081".parse().unwrap()), false);
        assert!(code.contains("\nhttp://10.1.2.3:8081/\n"), "{code}");
    }
}
