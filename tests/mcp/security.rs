//! Who may talk to the server.

use flowtap::mcp::server::{McpOptions, Timing};

use crate::support::{Server, initialize};

const ROUTES: [&str; 7] = [
    "GET /sse",
    "POST /messages?session_id=0",
    "POST /mcp",
    "GET /mcp",
    "DELETE /mcp",
    "GET /nothing",
    "GET /.well-known/oauth-protected-resource",
];

fn status(server: &Server, route: &str, fields: &str) -> u16 {
    let mut client = server.connect();
    client.send(format!("{route} HTTP/1.1\r\n{fields}\r\n"));
    let head = client.head();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn every_route_wants_one_host_that_is_this_machine() {
    let server = Server::new();
    let port = server.address().port();
    let bad = [
        String::new(),
        "Host: evil.com\r\n".to_owned(),
        format!("Host: 127.0.0.1.evil.com:{port}\r\n"),
        format!("Host: localhost.evil.com:{port}\r\n"),
        "Host: \r\n".to_owned(),
        "Host: 127.0.0.1:x\r\n".to_owned(),
        "Host: 192.168.0.1\r\n".to_owned(),
        "Host: localhost\r\nHost: localhost\r\n".to_owned(),
        "Host: localhost\r\nHost: evil.com\r\n".to_owned(),
        "Host: user@localhost\r\n".to_owned(),
    ];
    for route in ROUTES {
        for fields in &bad {
            assert_eq!(status(&server, route, fields), 421, "{route} {fields:?}");
        }
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.2:9011", "[::1]:9011"] {
        assert_eq!(status(&server, "GET /mcp", &format!("Host: {host}\r\n")), 405, "{host}");
    }
    let absolute = format!("GET http://evil.com:{port}/mcp");
    assert_eq!(status(&server, &absolute, "Host: localhost\r\n"), 421);
    let absolute = format!("GET http://127.0.0.1:{port}/mcp");
    assert_eq!(status(&server, &absolute, "Host: localhost\r\n"), 405);
}

#[test]
fn every_route_refuses_pages_from_elsewhere() {
    let server = Server::new();
    let bad = [
        "Origin: null\r\n",
        "Origin: http://evil.com\r\n",
        "Origin: http://127.0.0.1.evil.com\r\n",
        "Origin: chrome-extension://abc\r\n",
        "Origin: http://localhost, http://evil.com\r\n",
        "Origin: http://localhost\r\nOrigin: http://evil.com\r\n",
        "Origin: \r\n",
        // What a page's images, scripts and frames are asked for with.
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
    ];
    for route in ROUTES {
        for fields in bad {
            let fields = format!("Host: localhost\r\n{fields}");
            assert_eq!(status(&server, route, &fields), 403, "{route} {fields:?}");
        }
    }
    for site in ["none", "same-origin", "same-site"] {
        let fields = format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\n");
        assert_eq!(status(&server, "GET /sse", &fields), 200, "{site}");
    }
    for origin in ["http://localhost:6274", "https://127.0.0.1", "http://[::1]:1"] {
        let site = "Sec-Fetch-Site: cross-site\r\n";
        let fields = format!("Origin: {origin}\r\n{site}Content-Type: application/json\r\n");
        let body = initialize("2025-11-25").to_string();
        let response = server.send(&format!("POST /mcp\r\n{fields}"), &body);
        assert_eq!(response.status, 200, "{origin}");
        assert_eq!(response.field("access-control-allow-origin"), None);
    }
}

#[test]
fn a_token_is_wanted_on_every_route() {
    let options = McpOptions { token: Some("s3cret-token".to_owned()), timing: Timing::default() };
    let server = Server::with(options);
    let bad = [
        "",
        "Authorization: Bearer s3cret-toke\r\n",
        "Authorization: Bearer s3cret-token1\r\n",
        "Authorization: Bearer S3cret-token\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Basic s3cret-token\r\n",
        "Authorization: Bearer s3cret-token\r\nAuthorization: Bearer s3cret-token\r\n",
    ];
    for route in ROUTES.iter().filter(|route| !route.contains(".well-known")) {
        for fields in bad {
            let fields = format!("Host: localhost\r\n{fields}");
            let mut client = server.connect();
            client.send(format!("{route} HTTP/1.1\r\n{fields}\r\n"));
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 401 "), "{route} {fields:?}: {head}");
            assert!(head.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{head}");
            assert!(!head.contains("s3cret"), "{head}");
        }
    }
    // Clients that ask where to log in must learn that they cannot.
    let route = "GET /.well-known/oauth-protected-resource";
    assert_eq!(status(&server, route, "Host: localhost\r\n"), 404);
    for scheme in ["Bearer", "bearer"] {
        let fields = format!("Authorization: {scheme} s3cret-token\r\n");
        assert_eq!(server.post(&fields, &initialize("2025-11-25")).status, 200);
    }
}
