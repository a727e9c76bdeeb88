"""The dashboard: the files of `hypermesh/_ui`, which `make ui` builds, and nothing from elsewhere.

They are read once. What lies in `static/` has a digest of its content in its name and never
changes; the rest is asked for again each time. Whatever the API does not know and a browser wants
as a page is the page itself, whose URL holds its state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

import hypermesh
from hypermesh.node.api.permissions import API_ROOTS

FILES = Path(hypermesh.__file__).parent / "_ui"
PAGE = "index.html"
FOREVER = b"public, max-age=31536000, immutable"
CODINGS = (("br", ".br"), ("gzip", ".gz"))
TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".ico": b"image/x-icon",
    ".json": b"application/json",
    ".webmanifest": b"application/manifest+json",
    ".woff2": b"font/woff2",
    ".txt": b"text/plain; charset=utf-8",
}
POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""No inline script or style, nothing of other sites, in no frame."""
SECURITY = [
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"x-frame-options", b"DENY"),
]
NOT_BUILT = b"""The dashboard is not in this installation.

In a checkout `make ui` builds it; wheels have it inside. Restart the node afterwards.
The API answers here all the same: /v1/network, /v1/openapi.json.
"""


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent: its bodies by content coding, the plain one under ""."""

    media_type: bytes
    caching: bytes
    bodies: dict[str, bytes]


class Dashboard:
    """An ASGI layer before the API, on the listeners that browsers use."""

    def __init__(self, app: ASGIApp, directory: Path = FILES) -> None:
        self._app = app
        self._files = dict(_files(directory))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        file = self._file(scope) if scope["method"] in ("GET", "HEAD") else None
        if file is None:
            await self._app(scope, receive, send)
            return
        headers, body = _answer(file, _header(scope, b"accept-encoding"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _file(self, scope: HTTPScope) -> File | None:
        path = scope["path"]
        found = self._files.get(path)
        if found is not None:
            return found
        root = path.split("/", 2)[1] if path.startswith("/") else ""
        if root in API_ROOTS or root == "static" or b"text/html" not in _header(scope, b"accept"):
            return None
        return self._files["/"]


def _files(directory: Path) -> Iterator[tuple[str, File]]:
    """Each file by its path in a URL; `/` always."""
    if not (directory / PAGE).is_file():
        yield "/", File(TYPES[".txt"], b"no-cache", {"": NOT_BUILT})
        return
    endings = {ending for _, ending in CODINGS}
    for place in sorted(directory.rglob("*")):
        if not place.is_file() or place.suffix in endings:
            continue
        bodies = {"": place.read_bytes()}
        for coding, ending in CODINGS:
            coded = place.with_name(place.name + ending)
            if coded.is_file():
                bodies[coding] = coded.read_bytes()
        name = place.relative_to(directory).as_posix()
        caching = FOREVER if name.startswith("static/") else b"no-cache"
        file = File(TYPES.get(place.suffix, b"application/octet-stream"), caching, bodies)
        yield "/" if name == PAGE else f"/{name}", file


def _answer(file: File, accepted: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    coding = next(
        (each for each, _ in CODINGS if each in file.bodies and accepts(accepted, each)), ""
    )
    body = file.bodies[coding]
    headers = [
        (b"content-type", file.media_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", file.caching),
        *SECURITY,
    ]
    if len(file.bodies) > 1:
        headers.append((b"vary", b"accept-encoding"))
    if coding:
        headers.append((b"content-encoding", coding.encode()))
    return headers, body


def accepts(header: bytes, coding: str) -> bool:
    """Whether Accept-Encoding (RFC 9110 section 12.5.3) names `coding`, and not with weight 0."""
    for part in header.decode("latin-1").lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == coding:
            digits = weight.strip().removeprefix("q=").strip("0.")
            return not weight.strip() or bool(digits)
    return False


def _header(scope: HTTPScope, name: bytes) -> bytes:
    return next((value for each, value in scope["headers"] if each == name), b"")
