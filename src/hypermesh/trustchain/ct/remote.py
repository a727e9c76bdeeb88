"""A log read over HTTP (C2SP static-ct-api, tlog-tiles): a `watch.LogSource`."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import httpx

from hypermesh.trustchain.ct.errors import EntryInvalid, LogUnreachable, NotInLog
from hypermesh.trustchain.ct.note import NOTE_BYTES_MAX

TIMEOUT_S = 60.0
"""For one resource as a whole."""
RESOURCE_BYTES_MAX = 48 << 20
"""A tile of entries has 256, each of at most 128 KiB and its chain's fingerprints."""
CHECKPOINT = "checkpoint"


class RemoteLog:
    """The log whose monitoring prefix is `url`. Nothing that it answers is believed here."""

    def __init__(
        self, url: str, trust: ssl.SSLContext | None = None, socket: Path | None = None
    ) -> None:
        """`trust` says whose certificates are believed over HTTPS; the system's roots, without.
        What answers at the UNIX socket `socket` is asked over that."""
        self._prefix = url.rstrip("/")
        believed = trust or ssl.create_default_context()
        over = None if socket is None else httpx.HTTPTransport(uds=str(socket))
        self._client = httpx.Client(
            timeout=TIMEOUT_S, verify=believed, transport=over, follow_redirects=False
        )

    def resource(self, path: str) -> bytes:
        """What the log serves under `path`. Raises `NotInLog`, `LogUnreachable`, `EntryInvalid`
        where it is longer than anything of a log."""
        limit = NOTE_BYTES_MAX if path == CHECKPOINT else RESOURCE_BYTES_MAX
        until_s = time.monotonic() + TIMEOUT_S
        url = f"{self._prefix}/{path}"
        try:
            with self._client.stream("GET", url) as answer:
                if answer.status_code == httpx.codes.NOT_FOUND:
                    raise NotInLog(f"{url} is not there")
                if answer.status_code != httpx.codes.OK:
                    raise LogUnreachable(f"{url} answers {answer.status_code}")
                return _read(answer, url, limit, until_s)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise LogUnreachable(f"{url} cannot be read", why=why) from error

    def close(self) -> None:
        self._client.close()


def _read(answer: httpx.Response, url: str, limit: int, until_s: float) -> bytes:
    found = bytearray()
    for piece in answer.iter_bytes():
        found += piece
        if len(found) > limit:
            raise EntryInvalid(f"{url} has more than {limit} bytes")
        if time.monotonic() > until_s:
            raise LogUnreachable(f"{url} takes too long")
    return bytes(found)
