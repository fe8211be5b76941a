"""Usage: with_run.py ORIGIN…

Asks as programs ask that know of no proxy and no certificate authority but by their environment.
"""

import sys
import urllib.request

import httpx
import requests

for origin in sys.argv[1:]:
    answer = requests.get(f"{origin}/text", params={"by": "requests"}, timeout=30)
    assert answer.text == "a text\n", answer
    answer = httpx.get(f"{origin}/text", params={"by": "httpx"}, timeout=30)
    assert answer.text == "a text\n", answer
    with urllib.request.urlopen(f"{origin}/text?by=urllib", timeout=30) as answer:
        assert answer.read() == b"a text\n", answer
