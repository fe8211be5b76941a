#!/usr/bin/env python3
"""Judges a capture bundle by the letter of its format, with nothing but the standard library.

    check_bundle.py [--json] BUNDLE...

Prints every violation and exits with 1 if there is one. With --json, prints the traces and
WebSocket connections of each bundle instead of the verdict `ok`; bodies are base64.

Nothing in a bundle is trusted: whatever an entry holds instead of what it should is a violation.
Fields that the format does not name are left alone, but for those that flowtap documents.
"""
import base64
import collections
import datetime
import json
import math
import re
import sys
import uuid
import zipfile
import zlib

TIMINGS = ["dns_ms", "connect_ms", "tls_ms", "send_ms", "wait_ms", "receive_ms", "total_ms"]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OPCODES = ("text", "binary", "ping", "pong", "close")
# Epoch milliseconds between 2001 and 2286: neither seconds nor microseconds.
TIMESTAMPS = (10**12, 10**13)
# What a reader can keep in text order with four digits.
PART_ENTRIES = 9_999
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Blanks and control characters, which no URL has.
BLANKS = re.compile(r"[\s\x00-\x20\x7f-\x9f]")
HTTP_URL = re.compile(r"https?://[^/?#]", re.I)
WS_URL = re.compile(r"wss?://[^/?#]")
BASE_URL = re.compile(r"https://([^/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])")
DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})([.][0-9]+)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

# The limits of decoding: what is past them is stored as it came.
DECODED_BYTES = 64 * 1024 * 1024
DECODED_FREE_BYTES = 4 * 1024 * 1024
DECODED_RATIO = 200
DECODED_CODINGS = 4
KNOWN_CODINGS = ("gzip", "x-gzip", "deflate", "br", "zstd")
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Below this, stored bytes that are as many as those on the wire may be so by chance.
CHANCE_BYTES = 32


class Inflate:
    """One gzip or deflate coding, undone piece by piece; gzip may have several members."""

    def __init__(self, window):
        self.window = window
        self.state = zlib.decompressobj(window)

    def feed(self, data):
        out = []
        while data:
            if self.state.eof:
                if self.window < 16:
                    raise zlib.error("bytes behind the end")
                self.state = zlib.decompressobj(self.window)
            out.append(self.state.decompress(data))
            data = self.state.unused_data
        return b"".join(out)

    def whole(self):
        return self.state.eof


def inflated(data, windows):
    """Undoes a stack of codings, the last one applied first in `windows`. Gives the size, or
    None if the bytes are not whole and in the coding, or decode to more than is allowed."""
    layers = [Inflate(window) for window in windows]
    sizes = [0] * len(layers)
    try:
        for start in range(0, len(data), 1024):
            piece = data[start : start + 1024]
            allowed = max(DECODED_FREE_BYTES, DECODED_RATIO * (start + len(piece)))
            for at, layer in enumerate(layers):
                piece = layer.feed(piece)
                sizes[at] += len(piece)
                if sizes[at] > min(allowed, DECODED_BYTES):
                    return None
    except zlib.error:
        return None
    return sizes[-1] if all(layer.whole() for layer in layers) else None


def looks_zlib(data):
    """Whether bytes begin as RFC 1950 section 2.2 has it."""
    first, second = (data + b"\0\0")[:2]
    return first & 0x0F == 8 and first >> 4 <= 7 and (first << 8 | second) % 31 == 0


def could_be_decoded(data, codings):
    """Whether the bytes are whole in these codings, as far as the library can tell."""
    windows = []
    for coding in reversed(codings):
        if coding in ("gzip", "x-gzip"):
            windows.append(31)
        elif coding == "deflate":
            # Only the outermost coding's bytes can be looked at before the others are undone.
            windows.append(15 if windows or looks_zlib(data) else -15)
        else:
            return False
    return inflated(data, windows) is not None


def values(headers, name):
    """The values of all header fields of this name, of those that are well formed."""
    found = []
    for header in headers if isinstance(headers, list) else []:
        if isinstance(header, dict):
            field, value = header.get("name"), header.get("value")
            if isinstance(field, str) and isinstance(value, str) and field.lower() == name:
                found.append(value)
    return found


def items(texts):
    """The items of comma-separated lists, in lower case; empty ones are left out."""
    found = [item.strip().lower() for text in texts for item in text.split(",")]
    return [item for item in found if item]


def codings_of(texts):
    """Content codings in the order in which they were applied."""
    return [coding for coding in items(texts) if coding != "identity"]


def content_length(headers):
    """The length of the body on the wire, if the head says it and means it."""
    lengths = values(headers, "content-length")
    plain = len(lengths) == 1 and re.fullmatch(r"[0-9]{1,18}", lengths[0])
    return int(lengths[0]) if plain and not values(headers, "transfer-encoding") else None


def still_coded(data, coding, headers):
    """Why a body that should be decoded seems not to be, or None.

    A body that was coded twice but names it once decodes to bytes that look coded. The length on
    the wire tells the two apart, and without it the media type of an archive excuses them.
    """
    length = content_length(headers)
    if length is not None and length != len(data):
        return None
    kind = " ".join(values(headers, "content-type")).lower()
    archive = length is None and re.search(r"gzip|zstd|zlib|tgz|tar", kind)
    if coding in ("gzip", "x-gzip") and not archive and inflated(data, [31]) is not None:
        return "the stored bytes are still gzip"
    if coding == "deflate" and not archive:
        zlib_whole = looks_zlib(data) and inflated(data, [15]) is not None
        if zlib_whole or (length is not None and inflated(data, [-15]) is not None):
            return "the stored bytes are still deflate"
    if coding == "zstd" and not archive and data.startswith(ZSTD_MAGIC):
        return "the stored bytes are still zstd"
    if coding == "br" and length is not None and length >= CHANCE_BYTES:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return "the stored bytes are as many as came, so they are still br"
    return None


class Judge:
    def __init__(self, path):
        self.path = path
        self.violations = []
        self.used = set()
        self.events = []
        self.messages = 0
        self.hosts_seen = False

    def expect(self, condition, what):
        if not condition:
            self.violations.append(what)
        return bool(condition)

    def is_int(self, value, what, least=0):
        good = type(value) is int and value >= least
        return self.expect(good, f"{what}: {value!r} is not an integer of at least {least}")

    def is_timestamp(self, value, what):
        good = type(value) is int and TIMESTAMPS[0] < value < TIMESTAMPS[1]
        return self.expect(good, f"{what}: {value!r} is no time in epoch milliseconds")

    def is_text(self, value, what):
        return self.expect(isinstance(value, str), f"{what}: {value!r} is not a string")

    def has(self, value, fields, what):
        if not self.expect(isinstance(value, dict), f"{what} is not an object"):
            return False
        missing = [name for name in fields if name not in value]
        return self.expect(not missing, f"{what} lacks {missing}")

    def entry(self, name):
        if not self.expect(name in self.names, f"{name} is missing"):
            return b""
        self.used.add(name)
        return self.zip.read(name)

    def json(self, name):
        def pairs(found):
            for key, count in collections.Counter(key for key, _ in found).items():
                self.expect(count == 1, f"{name}: the key {key!r} stands {count} times")
            return dict(found)

        def constant(text):
            raise ValueError(f"{text} is no number of JSON")

        try:
            text = self.entry(name).decode("utf-8")
            value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
            if SURROGATE.search(text):
                # Python joins the halves of a pair, so what cannot be written stands alone.
                json.dumps(value, ensure_ascii=False).encode("utf-8")
            return value
        except UnicodeEncodeError:
            self.violations.append(f"{name}: a surrogate stands alone")
            return value
        except (ValueError, RecursionError) as error:
            self.violations.append(f"{name} is not JSON in UTF-8: {error}")
            return {}

    def stored(self, folder, file, size, expected, what):
        """Judges a body or payload and its file; gives the bytes."""
        if not self.is_int(size, f"{what}: size"):
            size = None
        if file is None:
            self.expect(not size, f"{what}: size {size} without a file")
            return b""
        if not self.expect(file == expected, f"{what}: file {file!r} instead of {expected!r}"):
            return b""
        data = self.entry(f"{folder}/{file}")
        self.expect(len(data) == size, f"{what}: {len(data)} bytes stored, size says {size}")
        self.expect(data != b"", f"{what}: an empty body has a file")
        return data

    def headers(self, value, what):
        if self.expect(isinstance(value, list), f"{what} is no array"):
            for header in value:
                if self.has(header, ["name", "value"], f"{what}: {header!r}"):
                    self.is_text(header["name"], f"{what}: name")
                    self.is_text(header["value"], f"{what}: value")

    def message(self, trace_id, side, value):
        what = f"{trace_id} {side}"
        fields = ["headers", "body_file", "body_size", "body_encoding"]
        fields += ["method", "url"] if side == "request" else ["status", "status_text"]
        if not self.has(value, fields, what):
            return None
        self.headers(value["headers"], f"{what} headers")
        if "trailers" in value:
            self.headers(value["trailers"], f"{what} trailers")
        if "http_version" in value:
            self.is_text(value["http_version"], f"{what} http_version")
        expected = f"{trace_id}_{side}.bin"
        body = self.stored("traces", value["body_file"], value["body_size"], expected, what)
        self.body(value, body, what)
        return dict(value, body=base64.b64encode(body).decode())

    def body(self, value, body, what):
        """Compares the stored bytes with their coding, before and after."""
        cut = "body_wire_size" in value
        if cut:
            wire = value["body_wire_size"]
            if self.is_int(wire, f"{what}: body_wire_size"):
                good = wire > len(body)
                self.expect(good, f"{what}: body_wire_size {wire}, but {len(body)} are stored")
        encoding = value["body_encoding"]
        applied = codings_of(values(value["headers"], "content-encoding"))
        if "body_coded_size" in value:
            self.is_int(value["body_coded_size"], f"{what}: body_coded_size", 1)
            good = applied and encoding is None and not cut
            self.expect(good, f"{what}: body_coded_size of a body that was not decoded")
        if encoding is None:
            if body and applied:
                self.expect(not cut, f"{what}: a cut body cannot be decoded from {applied}")
                known = all(name in KNOWN_CODINGS for name in applied)
                self.expect(known, f"{what}: body_encoding is null, but {applied} is unknown")
                coded = None if cut else still_coded(body, applied[-1], value["headers"])
                self.expect(not coded, f"{what}: body_encoding is null, but {coded}")
            return
        if not self.is_text(encoding, f"{what}: body_encoding"):
            return
        self.expect(body, f"{what}: body_encoding {encoding!r} of no body")
        named = codings_of([encoding])
        good = named and named == applied
        self.expect(good, f"{what}: body_encoding {encoding!r}, Content-Encoding {applied}")
        if not cut and len(named) <= DECODED_CODINGS:
            whole = bool(body and named) and could_be_decoded(body, named)
            self.expect(not whole, f"{what}: the body could have been decoded from {encoding!r}")

    def request(self, trace_id, request, failed):
        method, url = request["method"], request["url"]
        if self.is_text(method, f"{trace_id} method"):
            self.expect(method != "OPTIONS", f"{trace_id} is an OPTIONS request")
            good = failed or TOKEN.fullmatch(method)
            self.expect(good, f"{trace_id}: {method!r} is no method")
        if self.is_text(url, f"{trace_id} url"):
            absolute = HTTP_URL.match(url)
            self.hosts_seen |= bool(absolute)
            if not failed:
                self.expect(absolute, f"{trace_id}: URL {url!r} is not absolute")
                self.expect(not BLANKS.search(url), f"{trace_id}: URL {url!r} has blanks")

    def response(self, trace_id, response, failed, to_head):
        status = response["status"]
        self.is_text(response["status_text"], f"{trace_id} status_text")
        good = type(status) is int and (status == 0 or 100 <= status <= 999)
        self.expect(good, f"{trace_id}: {status!r} is no status")
        if status == 0:
            self.expect(failed, f"{trace_id}: status 0 without an error")
            empty = [response.get(name) for name in ("headers", "body_file", "status_text")]
            good = not any(empty) and not response.get("trailers")
            self.expect(good, f"{trace_id}: status 0, but there is a response")
        upgrade = items(values(response["headers"], "upgrade"))
        good = status != 101 or "websocket" not in upgrade
        self.expect(good, f"{trace_id} is a WebSocket handshake")
        # Only a body that was decoded or cut may differ from what the head announces.
        length = content_length(response["headers"])
        coded = codings_of(values(response["headers"], "content-encoding"))
        as_it_came = not coded or response["body_encoding"] is not None
        bodiless = to_head or status in (204, 304) or type(status) is int and status < 200
        if not (length is None or failed or bodiless or "body_wire_size" in response):
            size = response["body_size"]
            good = not as_it_came or size == length
            self.expect(good, f"{trace_id}: Content-Length {length}, but {size} are stored")

    def timing(self, trace_id, timing):
        if not self.has(timing, TIMINGS, f"{trace_id} timing"):
            return
        good = {}
        for name in TIMINGS:
            time = timing[name]
            finite = type(time) is int or type(time) is float and math.isfinite(time)
            number = finite and time >= 0
            if self.expect(number, f"{trace_id} {name}: {time!r} is no duration"):
                good[name] = time
                whole = type(time) is float and time == int(time)
                self.expect(not whole, f"{trace_id} {name}: {time!r} is not written as an integer")
        for name, time in good.items():
            total = good.get("total_ms", time)
            self.expect(time <= total, f"{trace_id}: {name} {time} is past total_ms {total}")

    def trace(self, number):
        trace_id = f"t_{number:04}"
        value = self.json(f"traces/{trace_id}.json")
        fields = ["id", "timestamp", "type", "request", "response", "timing", "initiator"]
        fields += ["context_refs", "app_package"]
        if not self.has(value, fields, trace_id):
            return {}
        self.expect(value["id"] == trace_id, f"{trace_id}: its id is {value['id']!r}")
        self.is_timestamp(value["timestamp"], f"{trace_id} timestamp")
        self.expect(value["type"] == "http", f"{trace_id}: type {value['type']!r}")
        what = f"{trace_id} initiator"
        if self.has(value["initiator"], ["type", "url", "line"], what):
            initiator = value["initiator"]
            self.expect(initiator["type"] == "proxy", f"{what}: type {initiator['type']!r}")
            good = initiator["url"] is None and initiator["line"] is None
            self.expect(good, f"{what}: url or line is not null")
        self.expect(value["context_refs"] == [], f"{trace_id}: context_refs")
        self.expect(value["app_package"] is None, f"{trace_id}: app_package")
        failed = "error" in value
        if failed and self.is_text(value["error"], f"{trace_id} error"):
            self.expect(value["error"] != "", f"{trace_id}: an error without a reason")
        request = self.message(trace_id, "request", value["request"])
        response = self.message(trace_id, "response", value["response"])
        if request:
            self.request(trace_id, request, failed)
        if response:
            to_head = bool(request) and request["method"] == "HEAD"
            self.response(trace_id, response, failed, to_head)
        self.timing(trace_id, value["timing"])
        self.events.append((value["timestamp"], "trace", trace_id))
        return dict(value, request=request, response=response)

    def websocket(self, number):
        ws_id = f"ws_{number:04}"
        value = self.json(f"ws/{ws_id}.json")
        fields = ["id", "timestamp", "url", "handshake_trace_ref", "protocols", "message_count"]
        if not self.has(value, fields + ["context_refs"], ws_id):
            return {}
        self.expect(value["id"] == ws_id, f"{ws_id}: its id is {value['id']!r}")
        self.is_timestamp(value["timestamp"], f"{ws_id} timestamp")
        url = value["url"]
        if self.is_text(url, f"{ws_id} url"):
            self.hosts_seen |= bool(WS_URL.match(url))
            good = WS_URL.match(url) and not BLANKS.search(url)
            self.expect(good, f"{ws_id}: URL {url!r} is no ws or wss URL")
        self.expect(value["handshake_trace_ref"] is None, f"{ws_id}: handshake_trace_ref")
        self.expect(value["context_refs"] == [], f"{ws_id}: context_refs")
        protocols = value["protocols"]
        good = isinstance(protocols, list) and all(isinstance(name, str) for name in protocols)
        self.expect(good, f"{ws_id}: protocols {protocols!r}")
        self.is_int(value["message_count"], f"{ws_id} message_count")
        self.websocket_additions(ws_id, value)
        self.events.append((value["timestamp"], "ws_open", ws_id))
        count = self.message_counts[ws_id]
        self.messages += count
        good = count == value["message_count"]
        self.expect(good, f"{ws_id}: {count} messages, not {value['message_count']!r}")
        digits = self.message_digits(ws_id, count)
        messages = [self.ws_message(ws_id, number, digits) for number in range(1, count + 1)]
        return dict(value, messages=messages)

    def websocket_additions(self, ws_id, value):
        for name in ("request_headers", "response_headers"):
            if name in value:
                self.headers(value[name], f"{ws_id} {name}")
        if value.get("closed_timestamp") is not None:
            self.is_timestamp(value["closed_timestamp"], f"{ws_id} closed_timestamp")
        if "messages_left_out" in value:
            self.is_int(value["messages_left_out"], f"{ws_id} messages_left_out", 1)
        if "error" in value:
            good = isinstance(value["error"], str) and value["error"] != ""
            self.expect(good, f"{ws_id}: {value['error']!r} is no reason for an error")

    def message_digits(self, ws_id, count):
        """Digits of the numbers of messages: at least three, and of more than 999 messages all
        as many as the last has, or each no more than it needs."""
        digits = max(3, len(str(count)))
        return digits if f"ws/{ws_id}_m{1:0{digits}}.json" in self.names else 3

    def ws_message(self, ws_id, number, digits):
        message_id = f"{ws_id}_m{number:0{digits}}"
        value = self.json(f"ws/{message_id}.json")
        fields = ["id", "connection_ref", "timestamp", "direction", "opcode", "payload_file"]
        if not self.has(value, fields + ["payload_size", "context_refs"], message_id):
            return {}
        self.expect(value["id"] == message_id, f"{message_id}: its id is {value['id']!r}")
        self.expect(value["connection_ref"] == ws_id, f"{message_id}: connection_ref")
        self.is_timestamp(value["timestamp"], f"{message_id} timestamp")
        self.expect(value["direction"] in ("send", "receive"), f"{message_id}: direction")
        self.expect(value["opcode"] in OPCODES, f"{message_id}: opcode {value['opcode']!r}")
        self.expect(value["context_refs"] == [], f"{message_id}: context_refs")
        if "payload_encoding" in value:
            good = value["payload_encoding"] == "permessage-deflate"
            good = good and value["opcode"] in ("text", "binary")
            self.expect(good, f"{message_id}: payload_encoding {value['payload_encoding']!r}")
        size = value["payload_size"]
        expected = f"{message_id}.bin"
        payload = self.stored("ws", value["payload_file"], size, expected, message_id)
        self.events.append((value["timestamp"], "ws_message", message_id))
        return dict(value, payload=base64.b64encode(payload).decode())

    def manifest(self, traces, websockets):
        value = self.json("manifest.json")
        fields = ["format_version", "capture_id", "created_at", "app", "browser"]
        fields += ["extension_version", "duration_ms", "stats", "capture_method"]
        if not self.has(value, fields, "manifest"):
            return {}
        self.expect(value["format_version"] == "1.0.0", "manifest: format_version")
        self.capture_id(value["capture_id"])
        self.created_at(value["created_at"])
        self.app(value["app"], traces + websockets)
        self.expect(value["browser"] is None, "manifest: browser")
        self.expect(value["extension_version"] is None, "manifest: extension_version")
        self.is_int(value["duration_ms"], "manifest duration_ms")
        expected = {
            "trace_count": traces,
            "ws_connection_count": websockets,
            "ws_message_count": self.messages,
            "context_count": 0,
        }
        if self.has(value["stats"], list(expected), "manifest stats"):
            for name, count in expected.items():
                stated = value["stats"][name]
                good = type(stated) is int and stated == count
                self.expect(good, f"manifest: {name} is {stated!r} instead of {count}")
        self.expect(value["capture_method"] == "proxy", "manifest: capture_method")
        if self.has(value, ["series_id", "part_number"], "manifest"):
            series, part = value["series_id"], value["part_number"]
            good = isinstance(series, str) and UUID.fullmatch(series)
            self.expect(good, f"manifest: series_id {series!r} is no UUID")
            self.expect(type(part) is int and part > 0, f"manifest: part_number {part!r}")
        lost = value.get("lost")
        if lost is not None and self.has(lost, ["flow_count", "ws_message_count"], "lost"):
            counts = [lost["flow_count"], lost["ws_message_count"]]
            good = all(type(count) is int for count in counts) and any(counts)
            self.expect(good, f"manifest: lost {lost!r}")
        return value

    def capture_id(self, text):
        try:
            parsed = uuid.UUID(text if isinstance(text, str) else "")
            good = parsed.version == 4 and str(parsed) == text
        except ValueError:
            good = False
        self.expect(good, f"manifest: capture_id {text!r} is no random UUID")

    def created_at(self, text):
        match = DATE_TIME.fullmatch(text) if isinstance(text, str) else None
        try:
            # Python before 3.11 knows neither `Z` nor every number of fraction digits.
            offset = match and match[3].replace("Z", "+00:00")
            good = match and datetime.datetime.fromisoformat(match[1] + offset)
        except ValueError:
            good = False
        self.expect(good, f"manifest: created_at {text!r} is not ISO 8601 with an offset")

    def app(self, app, flows):
        if not self.has(app, ["name", "base_url", "title"], "manifest app"):
            return
        self.is_text(app["name"], "manifest: the app's name")
        self.is_text(app["title"], "manifest: the app's title")
        self.expect(app["title"] == app["name"], "manifest: title is not the name")
        base_url = app["base_url"]
        if not self.is_text(base_url, "manifest: base_url"):
            return
        if base_url == "":
            # Requests that are so malformed that they name no host leave nothing to say.
            self.expect(not self.hosts_seen, "manifest: base_url is empty, but there is traffic")
        else:
            self.expect(flows > 0, "manifest: base_url of an empty capture")
            good = BASE_URL.fullmatch(base_url) and not BLANKS.search(base_url)
            self.expect(good, f"manifest: base_url {base_url!r} is not https:// and a host")

    def timeline(self):
        value = self.json("timeline.json")
        if not self.has(value, ["events"], "timeline"):
            return
        events = value["events"]
        if not self.expect(isinstance(events, list), "timeline: events is no array"):
            return
        found, times = collections.Counter(), []
        for event in events:
            if self.has(event, ["timestamp", "type", "ref"], f"timeline event {event!r}"):
                if self.is_timestamp(event["timestamp"], f"timeline {event['ref']!r}"):
                    times.append(event["timestamp"])
                # As text, since what stands there may be anything.
                found[repr((event["timestamp"], event["type"], event["ref"]))] += 1
        self.expect(times == sorted(times), "timeline: not sorted by timestamp")
        wanted = collections.Counter(repr(event) for event in self.events)
        for event in list((found - wanted))[:10]:
            self.violations.append(f"timeline: {event} is no event, or stands there again")
        for event in list((wanted - found))[:10]:
            self.violations.append(f"timeline: {event} is missing")

    def run(self):
        with zipfile.ZipFile(self.path) as self.zip:
            names = self.zip.namelist()
            self.names = set(names)
            self.expect(len(names) == len(self.names), "two entries have the same name")
            broken = self.zip.testzip()
            self.expect(broken is None, f"{broken} is damaged")
            traces = sum(1 for n in self.names if re.fullmatch(r"traces/t_[0-9]{4,}\.json", n))
            sockets = sum(1 for n in self.names if re.fullmatch(r"ws/ws_[0-9]{4,}\.json", n))
            for count, kind in ((traces, "traces"), (sockets, "WebSocket connections")):
                self.expect(count <= PART_ENTRIES, f"{count} {kind} in one part")
            messages = [re.fullmatch(r"ws/(ws_[0-9]{4,})_m[0-9]{3,}\.json", n) for n in self.names]
            self.message_counts = collections.Counter(match[1] for match in messages if match)
            listing = {
                "traces": [self.trace(number + 1) for number in range(traces)],
                "websockets": [self.websocket(number + 1) for number in range(sockets)],
            }
            listing["manifest"] = self.manifest(traces, sockets)
            self.timeline()
            extra = sorted(self.names - self.used)
            self.expect(not extra, f"entries that nothing refers to: {extra[:10]}")
        return listing


# Encrypted entries and unknown methods are RuntimeError and its NotImplementedError.
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    if not arguments:
        sys.exit(__doc__)
    failed = False
    for path in arguments:
        judge = Judge(path)
        try:
            listing = judge.run()
        except UNREADABLE as error:
            judge.violations.append(f"not a readable ZIP: {error}")
            listing = None
        for violation in judge.violations:
            print(f"{path}: {violation}", file=sys.stderr)
        failed = failed or bool(judge.violations)
        if "--json" in sys.argv:
            print(json.dumps(listing))
        elif not judge.violations:
            print(f"{path}: ok")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
