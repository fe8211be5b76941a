#!/usr/bin/env python3
"""Judges a capture bundle by the letter of its format, with nothing but the standard library.

    check_bundle.py [--json] BUNDLE...

Prints every violation and exits with 1 if there is one. With --json, prints the traces and
WebSocket connections of each bundle instead of the verdict `ok`; bodies are base64.
"""
import base64
import datetime
import json
import re
import sys
import uuid
import zipfile

TIMINGS = ["dns_ms", "connect_ms", "tls_ms", "send_ms", "wait_ms", "receive_ms", "total_ms"]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OPCODES = {"text", "binary", "ping", "pong", "close"}


class Judge:
    def __init__(self, path):
        self.path = path
        self.violations = []
        self.used = set()
        self.events = []

    def expect(self, condition, what):
        if not condition:
            self.violations.append(what)
        return condition

    def is_int(self, value, what, least=0):
        good = type(value) is int and value >= least
        return self.expect(good, f"{what}: {value!r} is not an integer of at least {least}")

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
        try:
            return json.loads(self.entry(name).decode("utf-8"))
        except ValueError as error:
            self.violations.append(f"{name} is not JSON in UTF-8: {error}")
            return {}

    def stored(self, folder, owner, file, size, expected, what):
        """Judges a body or payload and its file; gives the bytes."""
        self.is_int(size, f"{what}: size")
        if file is None:
            self.expect(size == 0, f"{what}: size {size} without a file")
            return b""
        self.expect(file == expected, f"{what}: file {file!r} instead of {expected!r}")
        data = self.entry(f"{folder}/{file}")
        self.expect(len(data) == size, f"{what}: {len(data)} bytes stored, size says {size}")
        self.expect(data != b"", f"{what}: an empty body has a file")
        return data

    def headers(self, value, what):
        if self.expect(isinstance(value, list), f"{what} is no array"):
            for header in value:
                if self.expect(
                    isinstance(header, dict) and set(header) == {"name", "value"},
                    f"{what}: {header!r} is not name and value",
                ):
                    self.is_text(header["name"], f"{what}: name")
                    self.is_text(header["value"], f"{what}: value")

    def message(self, trace_id, side, value):
        what = f"{trace_id} {side}"
        fields = ["headers", "body_file", "body_size", "body_encoding"]
        fields += ["method", "url"] if side == "request" else ["status", "status_text"]
        if not self.has(value, fields, what):
            return None
        self.headers(value["headers"], f"{what} headers")
        self.expect(
            value["body_encoding"] is None or isinstance(value["body_encoding"], str),
            f"{what}: body_encoding is neither null nor a string",
        )
        expected = f"{trace_id}_{side}.bin"
        body = self.stored(
            "traces", trace_id, value["body_file"], value["body_size"], expected, what
        )
        return dict(value, body=base64.b64encode(body).decode())

    def trace(self, number):
        trace_id = f"t_{number:04}"
        value = self.json(f"traces/{trace_id}.json")
        fields = ["id", "timestamp", "type", "request", "response", "timing", "initiator"]
        fields += ["context_refs", "app_package"]
        if not self.has(value, fields, trace_id):
            return value
        self.expect(value["id"] == trace_id, f"{trace_id}: its id is {value['id']!r}")
        self.is_int(value["timestamp"], f"{trace_id} timestamp")
        self.expect(value["type"] == "http", f"{trace_id}: type {value['type']!r}")
        initiator = {"type": "proxy", "url": None, "line": None}
        self.expect(value["initiator"] == initiator, f"{trace_id}: initiator")
        self.expect(value["context_refs"] == [], f"{trace_id}: context_refs")
        self.expect(value["app_package"] is None, f"{trace_id}: app_package")
        request = self.message(trace_id, "request", value["request"])
        response = self.message(trace_id, "response", value["response"])
        if request:
            self.is_text(request["method"], f"{trace_id} method")
            self.expect(request["method"] != "OPTIONS", f"{trace_id} is an OPTIONS request")
            url = request["url"]
            if "error" not in value:
                good = re.match(r"https?://[^/?#]+", url, re.I)
                self.expect(good, f"{trace_id}: URL {url!r} is not absolute")
        if response:
            self.is_int(response["status"], f"{trace_id} status")
            self.is_text(response["status_text"], f"{trace_id} status_text")
        if self.has(value["timing"], TIMINGS, f"{trace_id} timing"):
            for name in TIMINGS:
                time = value["timing"][name]
                good = type(time) in (int, float) and time >= 0
                self.expect(good, f"{trace_id} {name}: {time!r} is no duration")
                self.expect(
                    type(time) is int or time != int(time),
                    f"{trace_id} {name}: {time!r} should be written as an integer",
                )
        if "error" in value:
            self.is_text(value["error"], f"{trace_id} error")
        self.events.append((value["timestamp"], "trace", trace_id))
        return dict(value, request=request, response=response)

    def websocket(self, number):
        ws_id = f"ws_{number:04}"
        value = self.json(f"ws/{ws_id}.json")
        fields = ["id", "timestamp", "url", "handshake_trace_ref", "protocols", "message_count"]
        if not self.has(value, fields + ["context_refs"], ws_id):
            return value
        self.expect(value["id"] == ws_id, f"{ws_id}: its id is {value['id']!r}")
        self.is_int(value["timestamp"], f"{ws_id} timestamp")
        good = re.match(r"wss?://[^/?#]+", value["url"])
        self.expect(good, f"{ws_id}: URL {value['url']!r} is not ws or wss")
        self.expect(value["handshake_trace_ref"] is None, f"{ws_id}: handshake_trace_ref")
        self.expect(value["context_refs"] == [], f"{ws_id}: context_refs")
        protocols = value["protocols"]
        good = isinstance(protocols, list) and all(isinstance(name, str) for name in protocols)
        self.expect(good, f"{ws_id}: protocols {protocols!r}")
        self.is_int(value["message_count"], f"{ws_id} message_count")
        self.events.append((value["timestamp"], "ws_open", ws_id))
        pattern = re.compile(rf"ws/{ws_id}_m\d+\.json")
        count = sum(1 for name in self.ws_names if pattern.fullmatch(name))
        self.expect(
            count == value["message_count"], f"{ws_id}: {count} messages, not message_count"
        )
        messages = [self.ws_message(ws_id, number) for number in range(1, count + 1)]
        return dict(value, messages=messages)

    def ws_message(self, ws_id, number):
        message_id = f"{ws_id}_m{number:03}"
        value = self.json(f"ws/{message_id}.json")
        fields = ["id", "connection_ref", "timestamp", "direction", "opcode", "payload_file"]
        if not self.has(value, fields + ["payload_size", "context_refs"], message_id):
            return value
        self.expect(value["id"] == message_id, f"{message_id}: its id is {value['id']!r}")
        self.expect(value["connection_ref"] == ws_id, f"{message_id}: connection_ref")
        self.is_int(value["timestamp"], f"{message_id} timestamp")
        self.expect(value["direction"] in ("send", "receive"), f"{message_id}: direction")
        self.expect(value["opcode"] in OPCODES, f"{message_id}: opcode {value['opcode']!r}")
        self.expect(value["context_refs"] == [], f"{message_id}: context_refs")
        payload = self.stored(
            "ws", message_id, value["payload_file"], value["payload_size"],
            f"{message_id}.bin", message_id,
        )
        self.events.append((value["timestamp"], "ws_message", message_id))
        return dict(value, payload=base64.b64encode(payload).decode())

    def manifest(self, traces, websockets, messages):
        value = self.json("manifest.json")
        fields = ["format_version", "capture_id", "created_at", "app", "browser"]
        fields += ["extension_version", "duration_ms", "stats", "capture_method"]
        if not self.has(value, fields, "manifest"):
            return value
        self.expect(value["format_version"] == "1.0.0", "manifest: format_version")
        try:
            parsed = uuid.UUID(value["capture_id"])
            good = parsed.version == 4 and str(parsed) == value["capture_id"]
        except (ValueError, AttributeError):
            good = False
        self.expect(good, f"manifest: capture_id {value['capture_id']!r} is no random UUID")
        try:
            created = datetime.datetime.fromisoformat(value["created_at"])
            self.expect(created.tzinfo is not None, "manifest: created_at has no offset")
        except (ValueError, TypeError):
            self.violations.append(f"manifest: created_at {value['created_at']!r}")
        if self.has(value["app"], ["name", "base_url", "title"], "manifest app"):
            app = value["app"]
            self.expect(app["title"] == app["name"], "manifest: title is not the name")
            if traces + websockets == 0:
                self.expect(app["base_url"] == "", "manifest: base_url of an empty capture")
            else:
                good = re.fullmatch(r"https://[^/]+|", app["base_url"])
                self.expect(good, f"manifest: base_url {app['base_url']!r}")
        self.expect(value["browser"] is None, "manifest: browser")
        self.expect(value["extension_version"] is None, "manifest: extension_version")
        self.is_int(value["duration_ms"], "manifest duration_ms")
        expected = {
            "trace_count": traces,
            "ws_connection_count": websockets,
            "ws_message_count": messages,
            "context_count": 0,
        }
        stats = value["stats"]
        self.expect(stats == expected, f"manifest: stats {stats} instead of {expected}")
        self.expect(value["capture_method"] == "proxy", "manifest: capture_method")
        if self.has(value, ["series_id", "part_number"], "manifest"):
            series, part = value["series_id"], value["part_number"]
            good = isinstance(series, str) and UUID.fullmatch(series)
            self.expect(good, f"manifest: series_id {series!r} is no UUID")
            self.expect(type(part) is int and part > 0, f"manifest: part_number {part!r}")
        return value

    def timeline(self):
        value = self.json("timeline.json")
        if not self.has(value, ["events"], "timeline"):
            return
        found = []
        for event in value["events"]:
            if self.has(event, ["timestamp", "type", "ref"], f"timeline event {event!r}"):
                self.is_int(event["timestamp"], f"timeline {event['ref']}")
                found.append((event["timestamp"], event["type"], event["ref"]))
        times = [event[0] for event in found]
        self.expect(times == sorted(times), "timeline: not sorted by timestamp")
        self.expect(
            sorted(found) == sorted(self.events),
            "timeline: not every trace, connection and message exactly once",
        )

    def run(self):
        with zipfile.ZipFile(self.path) as self.zip:
            names = self.zip.namelist()
            self.names = set(names)
            self.expect(len(names) == len(self.names), "two entries have the same name")
            broken = self.zip.testzip()
            self.expect(broken is None, f"{broken} is damaged")
            traces = sorted(n for n in names if re.fullmatch(r"traces/t_\d{4,}\.json", n))
            self.ws_names = [name for name in names if name.startswith("ws/")]
            sockets = [n for n in self.ws_names if re.fullmatch(r"ws/ws_\d{4,}\.json", n)]
            listing = {
                "traces": [self.trace(number + 1) for number in range(len(traces))],
                "websockets": [self.websocket(number + 1) for number in range(len(sockets))],
            }
            messages = sum(ws.get("message_count", 0) for ws in listing["websockets"])
            listing["manifest"] = self.manifest(len(traces), len(sockets), messages)
            self.timeline()
            extra = sorted(self.names - self.used)
            self.expect(not extra, f"entries that nothing refers to: {extra[:10]}")
        return listing


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    if not arguments:
        sys.exit(__doc__)
    failed = False
    for path in arguments:
        judge = Judge(path)
        try:
            listing = judge.run()
        except (OSError, zipfile.BadZipFile) as error:
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
