"""Usage: with_requests.py PROXY CA HTTP_ORIGIN HTTPS_ORIGIN"""

import sys

import requests

proxy, ca, *origins = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.proxies = {"http": proxy, "https": proxy}
session.verify = ca
for origin in origins:
    answer = session.get(f"{origin}/text", params={"by": "requests"}, timeout=30)
    assert (answer.status_code, answer.text) == (200, "a text\n"), answer
    answer = session.post(f"{origin}/echo", json={"by": "requests"}, timeout=30)
    assert answer.json() == {"by": "requests"}, answer
    # A generator is sent chunked.
    answer = session.put(f"{origin}/echo", data=iter([b"two ", b"chunks"]), timeout=30)
    assert answer.content == b"two chunks", answer
    answer = session.get(f"{origin}/gzip", timeout=30)
    assert answer.text == "a compressed text\n" * 100, answer
