"""A hub on this machine: the routes that downloads use, and the faults of a real connection."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """`repos` holds repository → file name → bytes. A file larger than 1,000 bytes counts as a large one (LFS)."""

    repos: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    licences: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Bytes after which a connection breaks, one for each of the next answers; None: it does not.
    breaks: list[int | None] = field(default_factory=list)
    #: The server sends whole files whatever range is asked for.
    ignores_ranges: bool = False
    #: Sent instead of what was announced.
    swapped: dict[str, bytes] = field(default_factory=dict)
    #: Set it to let the bytes of files through.
    flowing: threading.Event = field(default_factory=threading.Event)
    #: (file, first byte) of every answer with a file.
    served: list[tuple[str, int]] = field(default_factory=list)
    token: str = ""
    endpoint: str = ""

    def __post_init__(self) -> None:
        self.flowing.set()


def description(hub: FakeHub, repo: str) -> dict[str, object]:
    siblings: list[dict[str, object]] = []
    for name, data in hub.repos[repo].items():
        sibling: dict[str, object] = {"rfilename": name, "size": len(data)}
        if len(data) > 1000:
            sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        siblings.append(sibling)
    return {
        "id": repo,
        "modelId": repo,
        "sha": COMMIT,
        "private": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "gated": "auto" if repo in hub.gated else False,
        "siblings": siblings,
        "cardData": hub.licences.get(repo, {}),
    }


def handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+)|(/auth-check))?", path):
                return self.about(match[1], match[2] or "main", bool(match[3]))
            if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                return self.file(match[1], match[3])
            return self.fail(404, "EntryNotFound")

        def may(self, repo: str) -> bool:
            return repo not in hub.gated or self.headers.get("Authorization") == f"Bearer {hub.token}" != "Bearer "

        def about(self, repo: str, revision: str, check: bool) -> None:
            if repo not in hub.repos:
                return self.fail(404, "RepoNotFound")
            if revision not in ("main", COMMIT):
                return self.fail(404, "RevisionNotFound")
            if check and not self.may(repo):
                return self.fail(403, "GatedRepo")
            body = json.dumps({} if check else description(hub, repo)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        def file(self, repo: str, name: str) -> None:
            data = hub.repos.get(repo, {}).get(name)
            if data is None:
                return self.fail(404, "EntryNotFound")
            if not self.may(repo):
                return self.fail(403, "GatedRepo")
            data = hub.swapped.get(name, data)
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            begin = int(asked[1]) if asked and not hub.ignores_ranges else 0
            hub.served.append((name, begin))
            ends = hub.breaks.pop(0) if hub.breaks else None
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            hub.flowing.wait(10)
            with suppress(ConnectionError):  # whoever asked has gone
                self.wfile.write(data[begin:] if ends is None else data[begin : begin + ends])
            self.close_connection = ends is not None
            return None

        def fail(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", "no")
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Answer


@contextmanager
def running(**repos: Mapping[str, bytes]) -> Iterator[FakeHub]:
    """Repositories by name, `__` for the slash."""
    hub = FakeHub({name.replace("__", "/"): files for name, files in repos.items()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with patch.object(constants, "HF_HUB_OFFLINE", False):  # the tests as a whole stay off the real one
            yield hub
    finally:
        hub.flowing.set()
        server.shutdown()
        thread.join()
        server.server_close()
