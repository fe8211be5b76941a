"""An index of Python packages, a registry of npm and one of cargo, each with the package `tiny`.

Usage: package_server.py CERTIFICATE KEY

Prints `port N` when it listens on 127.0.0.1. Ends when its standard input ends.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from urllib.parse import urlsplit

import origin

WHEEL = "tiny-1.0.0-py3-none-any.whl"


def wheel():
    file = io.BytesIO()
    info = "tiny-1.0.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return file.getvalue()


def tarball(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(file.getvalue())


NPM = tarball({"package/package.json": json.dumps({"name": "tiny", "version": "1.0.0"})})
CRATE = tarball(
    {
        "tiny-1.0.0/Cargo.toml": '[package]\nname = "tiny"\nversion = "1.0.0"\nedition = "2021"\n',
        "tiny-1.0.0/src/lib.rs": "",
    }
)


class Packages(origin.Origin):
    def do_GET(self):
        url = f"https://{self.headers['Host']}"
        manifest = {
            "name": "tiny",
            "version": "1.0.0",
            "dist": {
                "tarball": f"{url}/npm/tiny/-/tiny-1.0.0.tgz",
                "shasum": hashlib.sha1(NPM).hexdigest(),
            },
        }
        version = {
            "name": "tiny",
            "vers": "1.0.0",
            "deps": [],
            "cksum": hashlib.sha256(CRATE).hexdigest(),
            "features": {},
            "yanked": False,
        }
        pages = {
            "/simple/tiny/": (f'<a href="/{WHEEL}">{WHEEL}</a>', "text/html"),
            f"/{WHEEL}": (wheel(), "application/zip"),
            "/npm/tiny": (
                json.dumps(
                    {
                        "name": "tiny",
                        "dist-tags": {"latest": "1.0.0"},
                        "versions": {"1.0.0": manifest},
                    }
                ),
                "application/json",
            ),
            "/npm/tiny/-/tiny-1.0.0.tgz": (NPM, "application/octet-stream"),
            "/cargo/config.json": (json.dumps({"dl": f"{url}/crates"}), "application/json"),
            "/cargo/ti/ny/tiny": (json.dumps(version), "text/plain"),
            "/crates/tiny/1.0.0/download": (CRATE, "application/gzip"),
        }
        body, media_type = pages.get(urlsplit(self.path).path, (None, None))
        if body is None:
            self.answer(b"no such package\n", "text/plain", status=404)
        else:
            self.answer(body if isinstance(body, bytes) else body.encode(), media_type)


if __name__ == "__main__":
    origin.run(Packages, sys.argv[1:])
