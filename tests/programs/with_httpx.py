"""Usage: with_httpx.py PROXY CA HTTP_ORIGIN HTTPS_ORIGIN"""

import asyncio
import ssl
import sys

import httpx

proxy, ca, *origins = sys.argv[1:]
OPTIONS = {
    "proxy": proxy,
    "verify": ssl.create_default_context(cafile=ca),
    "trust_env": False,
    "timeout": 30,
}


def one_after_another():
    with httpx.Client(**OPTIONS) as client:
        for origin in origins:
            answer = client.get(f"{origin}/text", params={"by": "httpx"})
            assert (answer.status_code, answer.text) == (200, "a text\n"), answer
            answer = client.put(f"{origin}/echo", content=iter([b"two ", b"chunks"]))
            assert answer.content == b"two chunks", answer


async def side_by_side():
    async with httpx.AsyncClient(**OPTIONS) as client:
        for origin in origins:
            bodies = [f"body {number}" for number in range(10)]
            answers = await asyncio.gather(
                *(client.post(f"{origin}/echo", content=body) for body in bodies)
            )
            assert [answer.text for answer in answers] == bodies, answers


one_after_another()
asyncio.run(side_by_side())
