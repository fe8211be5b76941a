"""The server's side of RFC 6455 with permessage-deflate (RFC 7692): sends back what it is sent."""

import base64
import hashlib
import zlib

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
TAIL = b"\x00\x00\xff\xff"


class Deflate:
    """permessage-deflate as the first offer of it wants it, or nothing."""

    def __init__(self, offers):
        offer = next(
            (it for it in offers.split(",") if it.split(";")[0].strip() == "permessage-deflate"),
            None,
        )
        self.on = offer is not None
        wanted = {}
        for parameter in (offer or "").split(";")[1:]:
            name, _, value = parameter.strip().partition("=")
            wanted[name] = value.strip('"')
        self.bits = int(wanted.get("server_max_window_bits") or 15)
        self.reset_ours = "server_no_context_takeover" in wanted
        self.reset_theirs = "client_no_context_takeover" in wanted
        self.answer = "permessage-deflate"
        if "server_max_window_bits" in wanted:
            self.answer += f"; server_max_window_bits={self.bits}"
        if self.reset_ours:
            self.answer += "; server_no_context_takeover"
        if self.reset_theirs:
            self.answer += "; client_no_context_takeover"
        self.begin_ours()
        self.begin_theirs()

    def begin_ours(self):
        self.ours = zlib.compressobj(wbits=-self.bits)

    def begin_theirs(self):
        self.theirs = zlib.decompressobj(wbits=-15)

    def compress(self, data):
        out = self.ours.compress(data) + self.ours.flush(zlib.Z_SYNC_FLUSH)
        if self.reset_ours:
            self.begin_ours()
        return out.removesuffix(TAIL)

    def decompress(self, data):
        out = self.theirs.decompress(data + TAIL)
        if self.reset_theirs:
            self.begin_theirs()
        return out


def read_frame(stream):
    """The fin bit, the first reserved bit, the opcode and the payload."""
    first, second = stream.read(2)
    length = second & 127
    if length == 126:
        length = int.from_bytes(stream.read(2), "big")
    elif length == 127:
        length = int.from_bytes(stream.read(8), "big")
    assert second & 128, "a client's frame is masked (RFC 6455 section 5.1)"
    mask = stream.read(4)
    payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(stream.read(length)))
    return bool(first & 128), bool(first & 64), first & 15, payload


def write_frame(stream, opcode, payload, compressed=False):
    head = bytes([128 | (64 if compressed else 0) | opcode])
    if len(payload) < 126:
        head += bytes([len(payload)])
    elif len(payload) < 65_536:
        head += b"\x7e" + len(payload).to_bytes(2, "big")
    else:
        head += b"\x7f" + len(payload).to_bytes(8, "big")
    stream.write(head + payload)


def serve(handler):
    """Answers the handshake of an `http.server` handler, then echoes until the client closes."""
    accept = hashlib.sha1(
        handler.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    )
    deflate = Deflate(handler.headers.get("Sec-WebSocket-Extensions", ""))
    handler.send_response(101)
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    handler.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
    if deflate.on:
        handler.send_header("Sec-WebSocket-Extensions", deflate.answer)
    handler.end_headers()
    handler.close_connection = True

    kind, squeezed, message = None, False, b""
    while True:
        fin, reserved, opcode, payload = read_frame(handler.rfile)
        if opcode == CLOSE:
            write_frame(handler.wfile, CLOSE, payload)
            return
        if opcode == PING:
            write_frame(handler.wfile, PONG, payload)
            continue
        if opcode == PONG:
            continue
        if opcode in (TEXT, BINARY):
            kind, squeezed, message = opcode, reserved, b""
        message += payload
        if fin:
            message = deflate.decompress(message) if squeezed else message
            out = deflate.compress(message) if deflate.on else message
            write_frame(handler.wfile, kind, out, compressed=deflate.on)
