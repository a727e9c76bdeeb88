"""Witnesses, on both sides (C2SP tlog-witness): who cosigns the logs of this server, and this
server as a witness of others' logs.

A backup leaves the witness's directory out, its key with it. A witness that went back would cosign
a log's second history as willingly as its first; one with another key is another witness.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hypermesh.crypto.files import make_directory
from hypermesh.crypto.keystore import KeyStore
from hypermesh.standalone.trust.errors import SettingsInvalid, WitnessFailed, WitnessLate
from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.metrics import CosigningFigures, Metrics
from hypermesh.standalone.trust.settings import Settings
from hypermesh.trustchain.bundle import LogKeys
from hypermesh.trustchain.ct.checkpoint import (
    CosignatureVerifier,
    LogIdentity,
    read_checkpoint,
    read_witness_key,
)
from hypermesh.trustchain.ct.errors import WitnessConflict
from hypermesh.trustchain.ct.log import LogView
from hypermesh.trustchain.ct.note import NOTE_BYTES_MAX, Verifier, read_note
from hypermesh.trustchain.ct.witness import AddCheckpoint, Cosigning, Witness
from hypermesh.wire.errors import HyperMeshError

TIMEOUT_S = 10.0
"""For one answer as a whole."""
REST_S = 10.0
"""For which a witness that did not answer is not asked again: bundles would wait for it."""
FILE_BYTES_MAX = 64 * 1024
SIZE_MEDIA = "text/x.tlog.size"
KEY = "cosigning"

log = logging.getLogger(__name__)


class HttpWitness:
    """A `CosigningWitness` over HTTP."""

    def __init__(self, url: str, verifier: CosignatureVerifier, closed: threading.Event) -> None:
        """Nothing is asked for once `closed` is set."""
        self.verifier = verifier
        self.verifiers: tuple[Verifier, ...] = (verifier,)
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._closed = closed
        self._rests_until_s = 0.0

    def add_checkpoint(self, request: AddCheckpoint) -> bytes:
        """As `Witness.add_checkpoint`. Raises `WitnessLate` where it does not answer, and
        `WitnessFailed` where it refuses."""
        begun_s = time.monotonic()
        if self._closed.is_set() or begun_s < self._rests_until_s:
            raise WitnessLate(f"{self.verifier.name} did not answer a moment ago")
        try:
            with httpx.stream(
                "POST", self._url, content=request.encoded(), timeout=TIMEOUT_S
            ) as answer:
                body = _read(answer, begun_s + TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._rests_until_s = time.monotonic() + REST_S
            why = f"{type(error).__name__}: {error}"
            raise WitnessLate(f"{self.verifier.name} does not answer", why=why) from error
        if answer.status_code == httpx.codes.OK:
            return body
        if answer.status_code == httpx.codes.CONFLICT:
            size = body.strip()
            if size.isdigit() and len(size) <= 13:
                conflict = WitnessConflict(why=f"{self.verifier.name} stands at {int(size)}")
                conflict.size = int(size)
                raise conflict
        raise WitnessFailed(
            f"{self.verifier.name} refused", why=f"{answer.status_code} {body[:200]!r}"
        )


def _read(answer: httpx.Response, until_s: float) -> bytes:
    body = b""
    for piece in answer.iter_raw():
        body += piece
        if len(body) > NOTE_BYTES_MAX:
            raise httpx.DecodingError("the answer is too long")
        if time.monotonic() > until_s:
            raise httpx.ReadTimeout("the answer takes too long")
    return body


class Cosigned:
    """One log's checkpoint with the cosignatures of its witnesses."""

    def __init__(
        self, view: LogView, witnesses: Sequence[HttpWitness], figures: CosigningFigures
    ) -> None:
        self._view = view
        self._figures = figures
        self._cosigning = Cosigning(view, witnesses)
        self._turn = threading.Lock()
        self._last: tuple[int, bytes] = (-1, b"")
        self._is_whole = True
        """Whether all cosigned the last one."""

    def note(self, at_least: int) -> bytes:
        """A checkpoint of `at_least` entries, with what cosignatures its witnesses give: one that
        does not answer keeps no proof from anybody. Raises as `LogView.checkpoint`."""
        with self._turn:
            size, note = self._last
            return note if size >= at_least else self._gathered(at_least)

    def follow(self) -> None:
        """Have what was added since the last time cosigned. Raises as `LogView.checkpoint`."""
        with self._turn:
            if self._last[0] != self._view.head.size or not self._is_whole:
                self._gathered(0)

    def _gathered(self, at_least: int) -> bytes:
        found = self._cosigning.gather(at_least)
        for name, error in found.refused.items():
            log.warning("%s does not cosign %s: %s", name, self._view.identity.origin, error)
        for name in found.ahead:
            log.error(
                "%s has seen more of %s than it has: the log may have gone back",
                name,
                self._view.identity.origin,
            )
        size = read_checkpoint(read_note(found.note).text).size
        late = sum(isinstance(each, WitnessLate) for each in found.refused.values())
        self._figures.count(size, len(found.names), late, len(found.refused) - late)
        self._last = (size, found.note)
        self._is_whole = not found.refused
        return found.note


class Witnesses:
    """Who cosigns both logs of a server."""

    def __init__(
        self, settings: Settings, certificates: LogView, acts: LogView, metrics: Metrics
    ) -> None:
        self._closed = threading.Event()
        known = [
            HttpWitness(each.url, read_witness_key(each.key), self._closed)
            for each in settings.witness
        ]
        self._is_asked = bool(known)
        self._certificates = Cosigned(certificates, known, metrics.cosigning("certificates"))
        self._acts = Cosigned(acts, known, metrics.cosigning("acts"))
        self._view = certificates

    def note(self, at_least: int) -> bytes:
        """A checkpoint of the log of certificates of `at_least` entries, cosigned."""
        if not self._is_asked:
            return self._view.checkpoint(at_least)
        return self._certificates.note(at_least)

    def follow(self) -> None:
        """Have the checkpoints of now cosigned."""
        if self._is_asked:
            self._certificates.follow()
            self._acts.follow()

    def close(self) -> None:
        """Ask nobody any more."""
        self._closed.set()


def opened_witness(directory: Directory, settings: Settings) -> Witness | None:
    """This server as a witness, as the settings say. Raises `SettingsInvalid`, `LogInUse`."""
    told = settings.cosigning
    if not told.name:
        return None
    logs = known_logs(settings)
    make_directory(directory.witness, 0o700)
    keys = KeyStore(directory.witness / "keys")
    if KEY not in keys:
        keys.put(KEY, Ed25519PrivateKey.generate().private_bytes_raw())
    key = Ed25519PrivateKey.from_private_bytes(keys.get(KEY))
    return Witness(directory.witness / "logs", key, told.name, logs)


def known_logs(settings: Settings) -> list[LogIdentity]:
    """The logs that this server cosigns for. Raises `SettingsInvalid`."""
    return [each for file in settings.cosigning.logs for each in read_logs(Path(file))]


class _Logs(msgspec.Struct):
    certificates: LogKeys
    acts: LogKeys


def read_logs(file: Path) -> list[LogIdentity]:
    """The logs whose keys stand in `file`: an answer of `/v1/logs`, or one of both in it. Raises
    `SettingsInvalid`."""
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX)
        if b'"certificates"' in data:
            both = msgspec.json.decode(data, type=_Logs)
            return [both.certificates.identity, both.acts.identity]
        return [msgspec.json.decode(data, type=LogKeys).identity]
    except (OSError, msgspec.DecodeError, RecursionError, HyperMeshError) as error:
        raise SettingsInvalid(f"{file} holds no keys of a log", why=str(error)) from error
