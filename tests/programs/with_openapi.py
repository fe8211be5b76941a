"""Usage: with_openapi.py FILE JSONL

Validates an OpenAPI document, and that the bodies and parameters of the flows that it was made of,
which stand in JSONL, keep to its schemas.
"""

import json
import re
import sys

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator, validate


def operation(document, flow):
    """The operation that a flow is a call of; of two paths the one with fewer parameters."""
    found = []
    for template, item in document["paths"].items():
        pieces = re.split(r"\{[^}]*\}", template)
        pattern = "[^/]+".join(re.escape(piece) for piece in pieces)
        called = item.get(flow["method"].lower())
        if called and re.fullmatch(pattern, flow["path"] or "/"):
            found.append((template.count("{"), template, called))
    return min(found, key=lambda it: it[0])[2] if found else None


def content_type(message):
    values = [value for name, value in message["headers"] if name.lower() == "content-type"]
    return values[0].split(";")[0].strip().lower() if values else "application/json"


def check_body(content, message):
    media = content[content_type(message)]
    if "json" in content_type(message):
        check(media["schema"], json.loads(message["body"]["text"]))
        return 1
    return 0


def check(schema, value):
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)


def main(file, lines):
    with open(file, encoding="utf-8") as text:
        document = json.load(text)
    validate(document, cls=OpenAPIV31SpecValidator)
    bodies = 0
    with open(lines, encoding="utf-8") as text:
        for flow in map(json.loads, text):
            called = operation(document, flow)
            if called is None:
                continue
            response = flow["response"]
            answer = called["responses"][str(flow["status"])]
            if response["body"]:
                bodies += check_body(answer["content"], response)
            if flow["request"]["body"]:
                bodies += check_body(called["requestBody"]["content"], flow["request"])
            given = {name for name, _ in flow["query"]}
            for parameter in called.get("parameters", []):
                if parameter["in"] == "query" and parameter["required"]:
                    assert parameter["name"] in given, (flow["url"], parameter)
    print(bodies, "bodies")


main(*sys.argv[1:])
