"""An origin for the programs: HTTP/1.1, with TLS when it is given a certificate and its key.

Usage: origin.py [CERTIFICATE KEY]

Prints `port N` when it listens on 127.0.0.1, and `done TEXT` when a client asks for /done?TEXT.
Ends when its standard input ends.
"""

import gzip
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import websocket_server

PAGE = b"""<!doctype html>
<title>page</title>
<script>
async function run() {
  const answer = await fetch('/echo', { method: 'POST', body: 'from the page' });
  if (await answer.text() !== 'from the page') throw new Error('wrong answer to fetch');
  await new Promise((resolve, reject) => {
    const source = new EventSource('/events');
    let seen = '';
    source.onmessage = event => {
      seen += event.data;
      if (seen === 'onetwothree') { source.close(); resolve(); }
    };
    source.onerror = () => reject(new Error('the event stream failed'));
  });
  await new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/ws`);
    socket.onopen = () => socket.send('message from the page');
    socket.onmessage = event => {
      if (event.data !== 'message from the page') reject(new Error('wrong message'));
      socket.close(1000, 'bye');
    };
    socket.onclose = event => event.wasClean ? resolve() : reject(new Error('unclean close'));
  });
}
run().then(() => fetch('/done?ok'), error => fetch('/done?' + encodeURIComponent(error)));
</script>
"""


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # How long a silent client is waited for, in seconds.
    timeout = 60
    # Set when a client has asked for /done: open event streams end then.
    done = threading.Event()

    def do_GET(self):
        path = urlsplit(self.path).path
        if self.headers.get("Upgrade", "").lower() == "websocket":
            websocket_server.serve(self)
        elif path == "/text":
            self.answer(b"a text\n", "text/plain")
        elif path == "/gzip":
            body = gzip.compress(b"a compressed text\n" * 100)
            self.answer(body, "text/plain", {"Content-Encoding": "gzip"})
        elif path == "/page":
            self.answer(PAGE, "text/html")
        elif path == "/events":
            self.events()
        elif path == "/done":
            print("done", unquote(urlsplit(self.path).query), flush=True)
            self.answer(b"", "text/plain")
            self.done.set()
        else:
            self.answer(b"no such page\n", "text/plain", status=404)

    def do_POST(self):
        self.answer(self.request_body(), "application/octet-stream")

    def do_PUT(self):
        """Answers with what was sent, chunked when that was chunked."""
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        body = self.request_body()
        if not chunked:
            self.answer(body, "application/octet-stream")
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(body), 10_000):
            self.chunk(body[start : start + 10_000])
        self.chunk(b"")

    def answer(self, body, media_type, headers=None, status=200):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "first=1")
        self.send_header("Set-Cookie", "second=2")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def events(self):
        """Three events on a stream that stays open until the client is done."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in ("one", "two", "three"):
            self.chunk(f"data: {word}\n\n".encode())
        self.done.wait(timeout=30)
        self.close_connection = True

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def request_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        return body

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def run(handler, tls_files):
    """Serves until standard input ends."""
    server = Server(("127.0.0.1", 0), handler)
    if tls_files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls_files)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("port", server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    run(Origin, sys.argv[1:])
