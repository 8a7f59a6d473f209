"""A server of this machine that speaks as much of S3 as readers need: list, head and ranges of objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_LISTED = 1_000  # in one answer, as S3 has it
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class _Bucket(BaseHTTPRequestHandler):
    """Serves the folders of ``root`` as buckets, whose objects are their files."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: Path
    requests: list[str]

    def do_HEAD(self) -> None:
        path = self._path()
        if path.is_dir() and path.parent == self.root:  # a bucket
            self._answer(200, {"Content-Length": "0"})
        elif path.is_file():
            self._answer(200, {**self._about(path), "Content-Length": str(path.stat().st_size)})
        else:
            self._answer(404, {"Content-Length": "0"})

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._list(query)
            return
        path = self._path()
        if not path.is_file():
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
            return
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        size = path.stat().st_size
        end = min(int(last), size - 1) + 1
        with path.open("rb") as file:
            file.seek(int(first))
            data = file.read(end - int(first))
        span = f"bytes {first}-{end - 1}/{size}"
        self._send(206, data, {**self._about(path), "Content-Range": span})

    def _list(self, query: dict[str, list[str]]) -> None:
        bucket, prefix = self._path(), query.get("prefix", [""])[0]
        keys = sorted(path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())
        keys = [key for key in keys if key.startswith(prefix)]
        keys = [key for key in keys if key > query.get("continuation-token", [""])[0]]
        most = min(int(query.get("max-keys", [str(_LISTED)])[0]), _LISTED)
        listed, is_cut = keys[:most], len(keys) > most
        entries = "".join(self._entry(bucket, key) for key in listed)
        more = f"<NextContinuationToken>{escape(listed[-1])}</NextContinuationToken>" if is_cut else ""
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{_NAMESPACE}">'
            f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(listed)}</KeyCount>{more}"
            f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>{entries}</ListBucketResult>"
        )
        self._send(200, text.encode(), {"Content-Type": "application/xml"})

    def _entry(self, bucket: Path, key: str) -> str:
        status = (bucket / key).stat()
        changed = datetime.fromtimestamp(status.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        size = f"<Size>{status.st_size}</Size><LastModified>{changed}</LastModified>"
        return f"<Contents><Key>{escape(key)}</Key>{size}</Contents>"

    def _path(self) -> Path:
        return self.root / unquote(urlsplit(self.path).path).strip("/")

    def _about(self, path: Path) -> dict[str, str]:
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return {"Last-Modified": format_datetime(changed, usegmt=True), "ETag": '"1"'}

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._answer(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.requests.append(f"{self.command} {self.path}")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def bucket_server(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the folders of ``root`` as buckets; yield the end of an address, and the requests so far."""
    requests: list[str] = []
    handler = type("Bucket", (_Bucket,), {"root": root, "requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"?scheme=http&endpoint_override=127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()
