"""Serves Git repositories over smart HTTP through `git http-backend` (CGI, RFC 3875).

Usage: git_server.py FOLDER [CERTIFICATE KEY]

Prints `port N` when it listens on 127.0.0.1. Ends when its standard input ends.
"""

import os
import subprocess
import sys
from urllib.parse import urlsplit

import origin

FOLDER = os.path.abspath(sys.argv[1])


class Git(origin.Origin):
    def do_GET(self):
        self.backend(b"")

    def do_POST(self):
        self.backend(self.request_body())

    def backend(self, body):
        url = urlsplit(self.path)
        environment = dict(
            os.environ,
            GIT_PROJECT_ROOT=FOLDER,
            GIT_HTTP_EXPORT_ALL="1",
            REQUEST_METHOD=self.command,
            PATH_INFO=url.path,
            QUERY_STRING=url.query,
            REMOTE_ADDR="127.0.0.1",
            CONTENT_TYPE=self.headers.get("Content-Type", ""),
            CONTENT_LENGTH=str(len(body)),
            HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
            GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
        )
        output = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE,
            check=True, timeout=30,
        ).stdout
        head, _, content = output.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for name, value in fields if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    origin.run(Git, sys.argv[2:])
