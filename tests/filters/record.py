"""Records what mitmproxy's own filters say, for tests/filters.rs.

    python3 -m venv venv && venv/bin/pip install mitmproxy==12.3.1
    venv/bin/python tests/filters/record.py > tests/filters/answers.json

Needs Python 3.12 or later. The result has the flows, as bytes in Latin-1, and for each
expression one answer a flow, or null where mitmproxy refuses the expression.
"""

import json
import sys
import warnings

from mitmproxy import connection, flow, flowfilter, http, version, websocket
from mitmproxy.net import encoding
from mitmproxy.net.http.http1 import read
from mitmproxy.proxy.mode_specs import ProxyMode
from wsproto.frame_protocol import Opcode

sys.dont_write_bytecode = True

import expressions  # noqa: E402 (after the line above, so that it leaves no files)

CRLF = "\r\n"
HTML = "<html>\n<title>Caf\u00e9</title>\nHello {name}, [1, 2]\n</html>\n"


def head(start, *fields):
    return CRLF.join([start, *fields]) + CRLF + CRLF


def get(path, host="example.com", *fields, version="HTTP/1.1"):
    return head(f"GET {path} {version}", f"Host: {host}", *fields)


def response(status, *fields, body="", coding=None):
    """A head and a body: text, bytes, or None for one that was not kept."""
    data = body.encode() if isinstance(body, str) else body
    if coding:
        data = encoding.encode(data, coding)
        fields = (*fields, f"Content-Encoding: {coding}")
    return {"response": head(f"HTTP/1.1 {status}", *fields), "response_body": latin(data)}


def latin(data):
    return None if data is None else data.decode("latin-1")


def made(request, target=("example.com", 80), scheme="http", body=b"", **more):
    """A flow: what is not given is as in a plain exchange."""
    return {
        "scheme": scheme,
        "target": list(target),
        "client": ["127.0.0.1", 52044],
        "request": request.encode().decode("latin-1"),
        "request_body": latin(body),
    } | more


def flows():
    html = "Content-Type: text/html; charset=utf-8"
    text = "Content-Type: text/plain"
    json_type = "Content-Type: application/json"
    secure = {"scheme": "https", "target": ("example.com", 443)}
    found = response("200 OK", html, body=HTML)
    yield made(get("/"))
    yield made(get("/"), **found)
    yield made(get("/index.html?a=1&b=%20x"), **secure, **found)
    yield made(get("/favicon.ico"), **response("404 Not Found", html, body="<h1>404</h1>"))
    yield made(get("/", "example.com:8080"), target=("example.com", 8080), **found)
    yield made(get("/", "example.com:443"), **secure, **found)
    yield made(get("/", "example.com:80"), **secure, **found)
    yield made(get("/", "EXAMPLE.com"), target=("93.184.216.34", 80), **found)
    yield made(get("/", "[::1]:8080"), target=("::1", 8080), **found)
    yield made(get("/", "odd host"), target=("odd.example", 80), **found)
    yield made(get("/", "under_score.example:81"), target=("10.0.0.1", 81), **found)
    yield made(get("/", "a!b:81"), target=("10.0.0.1", 81), **found)
    yield made(head("GET /old HTTP/1.0", "User-Agent: curl/8.0"), target=("1.2.3.4", 8000))
    yield made(get("http://proxy.example/abs?x"), target=("proxy.example", 80), **found)
    yield made(head("OPTIONS * HTTP/1.1", "Host: example.com"), **response("204 No Content"))
    yield made(
        head("CONNECT example.com:443 HTTP/1.1", "Host: example.com:443"),
        **secure,
        **response("502 Bad Gateway", text, body="no"),
        error="connection refused",
    )
    yield made(get("/down"), error="the server closed the connection")
    yield made(get("/caf\u00e9?q=\u6f22"), **found)
    yield made(get("/upper/PATH.JS"), **response("200 OK", "Content-Type: text/javascript"))
    for kind in ["application/javascript; charset=utf-8", "text/css", "image/png", "IMAGE/PNG",
                 "font/woff2", "application/font-woff", "application/x-javascript", "audio/ogg"]:
        yield made(get("/asset"), **response("200 OK", f"content-type: {kind}", body=b"\x89PNG\0"))
    post = head("POST /api/v1/users HTTP/1.1", "Host: api.example.com", json_type,
                "Authorization: Bearer abc.def", "Content-Length: 17")
    api = {"scheme": "https", "target": ("api.example.com", 443)}
    yield made(post, body=b'{"id": 1, "a": 2}', **api,
               **response("201 Created", json_type, "Location: /api/v1/users/1",
                          body='{"id": 1,\n "ok": true}'))
    yield made(post.replace("POST", "PUT"), body=b'{"id": 2}', **api,
               **response("500 Internal Server Error", text, body="Traceback\nValueError: x\n"))
    yield made(post.replace("POST", "delete"), body=b"", **api, **response("401 Unauthorized"))
    form = head("POST /login HTTP/1.1", "Host: example.com",
                "Content-Type: application/x-www-form-urlencoded", "X-Multi: one", "X-Multi: two",
                "x-empty:", "Cookie: a=1; b=2")
    yield made(form, body=b"user=ann&password=s3cret", **found)
    for coding in ["gzip", "deflate", "br", "zstd", "identity"]:
        yield made(get(f"/{coding}"), **response("200 OK", html, body=HTML, coding=coding))
    yield made(get("/broken"), **response("200 OK", "Content-Encoding: gzip", body="not gzip"))
    yield made(get("/unknown"), **response("200 OK", "Content-Encoding: aes128", body=HTML))
    packed = encoding.encode(b"name=zipped", "gzip")
    yield made(head("POST / HTTP/1.1", "Host: example.com", "Content-Encoding: GZIP"), body=packed)
    yield made(get("/binary"), **response("200 OK", "Content-Type: application/octet-stream",
                                          body=bytes(range(256))))
    yield made(get("/latin"), **response("200 OK", text, body="caf\u00e9".encode("latin-1")))
    yield made(get("/lines"), **response("200 OK", text, body="first\nsecond\r\nthird\n"))
    yield made(get("/none"), body=None, **response("200 OK", body=None))
    yield made(get("/none"), body=None, **response("200 OK", text, body=""))
    yield made(get("/types"), **response("200 OK", text, "content-type: image/gif"))
    yield made(get("/redirect"), **response("302 Found", "Location: https://example.com/"))
    yield made(get("/v6"), client=["::1", 4000], **found)
    yield made(get("/marked"), marker=":red_circle:", comment="first line\nsecond line", **found)
    yield made(get("/meta"), metadata=[["key", "value"], ["other", "thing one"]], **found)
    yield made(get("/again"), replayed=True, **found)
    handshake = head("GET /chat HTTP/1.1", "Host: ws.example.com", "Upgrade: websocket",
                     "Connection: Upgrade")
    switched = response("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    ws = {"scheme": "https", "target": ("ws.example.com", 443)}
    yield made(handshake, **ws, **switched, messages=[])
    yield made(handshake, **ws, **switched, messages=[
        [True, True, "hello server"], [False, True, "hello client\nid: 7"],
        [False, False, latin(b"\0\xff\x80")]])
    yield made(handshake, **ws, **switched, error="gone", messages=[[True, True, "last words"]])


def lines(text):
    return text.encode("latin-1").split(b"\r\n\r\n")[0].split(b"\r\n")


def data(text):
    return None if text is None else text.encode("latin-1")


def built(made):
    """The flow as mitmproxy has it."""
    client = connection.Client(
        peername=tuple(made["client"]),
        sockname=("127.0.0.1", 8080),
        proxy_mode=ProxyMode.parse("regular"),
    )
    server = connection.Server(address=tuple(made["target"]))
    result = http.HTTPFlow(client, server)
    result.request = read.read_request_head(lines(made["request"]))
    result.request.data.host, result.request.data.port = made["target"]
    result.request.data.scheme = made["scheme"].encode()
    result.request.raw_content = data(made["request_body"])
    if "response" in made:
        result.response = read.read_response_head(lines(made["response"]))
        result.response.raw_content = data(made["response_body"])
    if "error" in made:
        result.error = flow.Error(made["error"])
    if "messages" in made:
        kinds = {True: Opcode.TEXT, False: Opcode.BINARY}
        result.websocket = websocket.WebSocketData(messages=[
            websocket.WebSocketMessage(kinds[is_text], from_client, data(payload))
            for from_client, is_text, payload in made["messages"]
        ])
    result.marked = made.get("marker", "")
    result.comment = made.get("comment", "")
    result.metadata = dict(made.get("metadata", []))
    result.is_replay = "request" if made.get("replayed") else None
    return result


def answers(expression, subjects):
    try:
        matches = flowfilter.parse(expression)
    except ValueError:
        return None
    return "".join("1" if matches(subject) else "0" for subject in subjects)


def main():
    warnings.simplefilter("ignore")
    described = list(flows())
    subjects = [built(made) for made in described]
    rows = [[text, answers(text, subjects)] for text in expressions.all_of_them()]
    print("{" + f'"mitmproxy": {json.dumps(version.VERSION)},\n"flows": [')
    print(",\n".join(json.dumps(made) for made in described))
    print('],\n"answers": [')
    print(",\n".join(json.dumps(row) for row in rows))
    print("]}")


if __name__ == "__main__":
    main()
