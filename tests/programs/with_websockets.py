"""Usage: with_websockets.py PROXY CA URL"""

import asyncio
import ssl
import sys

# Its asyncio client: the threaded one can lose the close frame over TLS, without a proxy too.
from websockets.asyncio.client import connect


async def main(proxy, ca, url):
    tls = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    async with connect(url, ssl=tls, proxy=proxy, subprotocols=["chat"]) as socket:
        extensions = [extension.name for extension in socket.protocol.extensions]
        assert extensions == ["permessage-deflate"], extensions
        for message in ["a text " * 1_000, "a text " * 1_000, bytes(range(256)), ""]:
            await socket.send(message)
            assert await socket.recv() == message
        # An iterable is sent in fragments.
        await socket.send(["in ", "three ", "fragments"])
        assert await socket.recv() == "in three fragments"
        await (await socket.ping(b"are you there"))
    assert socket.protocol.close_rcvd is not None, "the server's close frame was lost"


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), timeout=30))
