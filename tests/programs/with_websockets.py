"""Usage: with_websockets.py PROXY CA URL"""

import ssl
import sys

from websockets.sync.client import connect

proxy, ca, url = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
with connect(url, ssl=tls, proxy=proxy, subprotocols=["chat"], open_timeout=30) as socket:
    extensions = [extension.name for extension in socket.protocol.extensions]
    assert extensions == ["permessage-deflate"], extensions
    for message in ["a text " * 1_000, "a text " * 1_000, bytes(range(256)), ""]:
        socket.send(message)
        assert socket.recv(timeout=30) == message
    # An iterable is sent in fragments.
    socket.send(["in ", "three ", "fragments"])
    assert socket.recv(timeout=30) == "in three fragments"
    assert socket.ping(b"are you there").wait(timeout=30)
assert socket.protocol.close_rcvd is not None, "the server's close frame was lost"
