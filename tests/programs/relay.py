"""An upstream proxy that takes every address for one port of 127.0.0.1.

Usage: relay.py PORT

A tunnel is opened by CONNECT; every other request goes on as it is. Prints `port N` when it listens
on 127.0.0.1. Ends when its standard input ends.
"""

import socket
import sys
import threading


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client, port):
    with client, socket.create_connection(("127.0.0.1", port), timeout=60) as server:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return
            head += data
        if head.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            server.sendall(head)
        back = threading.Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        back.join()


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"port {listener.getsockname()[1]}", flush=True)

    def accept():
        while True:
            client, _ = listener.accept()
            client.settimeout(60)
            arguments = (client, int(sys.argv[1]))
            threading.Thread(target=serve, args=arguments, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


main()
