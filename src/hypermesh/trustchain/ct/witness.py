"""Witnesses: who checks that a log only grows, and says so (C2SP tlog-witness, tlog-cosignature).

`Witness` is one: it keeps the last checkpoint that it cosigned of each log it knows, and cosigns
another only with a proof that the one begins the other. `Cosigning` is the log's side.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.files import make_directory, replace, settle
from hypermesh.trustchain.ct.checkpoint import (
    Checkpoint,
    CosignatureVerifier,
    FalconCosignatureVerifier,
    LogIdentity,
    cosign,
    cosign_falcon,
    read_checkpoint,
)
from hypermesh.trustchain.ct.claim import claim
from hypermesh.trustchain.ct.errors import (
    EntryInvalid,
    LogDamaged,
    NotInLog,
    ProofInvalid,
    SubmissionRefused,
    WitnessConflict,
)
from hypermesh.trustchain.ct.log import LogView
from hypermesh.trustchain.ct.note import (
    NOTE_BYTES_MAX,
    Line,
    Note,
    Verifier,
    read_lines,
    read_note,
    require_name,
    with_lines,
)
from hypermesh.trustchain.ct.tree import EMPTY_ROOT, HASH_BYTES, consistent
from hypermesh.wire.errors import HyperMeshError

LOCK = "witness.lock"
PROOF_MAX = 63
REQUEST_BYTES_MAX = NOTE_BYTES_MAX + PROOF_MAX * 64
_OLD = re.compile(r"old (0|[1-9][0-9]{0,12})")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The body of an add-checkpoint request: the size that the witness has cosigned last, the proof
    from there, and the checkpoint as a note."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def encoded(self) -> bytes:
        rows = [f"old {self.old}", *(base64.b64encode(each).decode() for each in self.proof)]
        return "".join(f"{row}\n" for row in rows).encode() + b"\n" + self.note


def read_add_checkpoint(data: bytes) -> AddCheckpoint:
    """The request in `data`; raises `EntryInvalid`."""
    if len(data) > REQUEST_BYTES_MAX:
        raise EntryInvalid(f"A request of {len(data)} bytes is too large")
    head, separator, note = data.partition(b"\n\n")
    try:
        old, *rows = head.decode("ascii").split("\n")
        proof = tuple(base64.b64decode(row, validate=True) for row in rows)
    except (UnicodeDecodeError, binascii.Error, ValueError):
        raise EntryInvalid("The request's head is malformed") from None
    size = _OLD.fullmatch(old)
    if not separator or size is None or len(proof) > PROOF_MAX:
        raise EntryInvalid("The request's head is malformed")
    if any(len(each) != HASH_BYTES for each in proof):
        raise EntryInvalid("A hash of the proof has not 32 bytes")
    return AddCheckpoint(int(size[1]), proof, note)


class CosigningWitness(Protocol):
    """A witness as a log reaches it."""

    @property
    def verifiers(self) -> tuple[Verifier, ...]:
        """Its keys, of which all must sign; they have one name."""
        ...

    def add_checkpoint(self, request: AddCheckpoint) -> bytes:
        """Signature lines under the request's checkpoint. Raises `WitnessConflict` with the size
        that the witness stands at, where that is not `request.old`."""
        ...


class Witness:
    """Cosigns for `logs` with `key`, and with `falcon` where it has one, under `name`, keeping its
    state in `directory`.

    One process has the directory open; any thread may ask. What it knows of a log that it has not
    cosigned yet, `floor` says: the first checkpoint that it cosigns must continue that.
    """

    def __init__(
        self,
        directory: Path,
        key: Ed25519PrivateKey,
        name: str,
        logs: Iterable[LogIdentity],
        clock_s: Callable[[], float] = time.time,
        *,
        falcon: FalconKey | None = None,
        floor: Callable[[str], Checkpoint | None] = lambda _: None,
    ) -> None:
        make_directory(directory, 0o700)
        self._directory = directory
        self._key = key
        self._falcon = falcon
        self._clock_s = clock_s
        self._floor = floor
        self._logs = {log.origin: log for log in logs}
        self._turn = threading.Lock()
        """Held from reading what was cosigned last until what follows it is durable."""
        self.verifier = CosignatureVerifier(require_name(name), key.public_key().public_bytes_raw())
        self.verifiers: tuple[Verifier, ...] = (self.verifier,)
        if falcon is not None:
            self.verifiers += (FalconCosignatureVerifier(name, falcon.public),)
        self._claim: int | None = claim(directory / LOCK, "Another process runs this witness")
        settle(directory)

    def know(self, logs: Iterable[LogIdentity]) -> None:
        """Cosign for `logs` from the next request on; what it cosigned of others stays."""
        self._logs = {log.origin: log for log in logs}

    def close(self) -> None:
        """Give the directory up; a second call does nothing."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def add_checkpoint(self, request: AddCheckpoint) -> bytes:
        """The witness's lines under the checkpoint, once it is durable that it cosigned it.

        Raises `NotInLog` for a log that it does not know, `SubmissionRefused` where the log did not
        sign, `WitnessConflict` where `request.old` is not what it cosigned last or the same size
        has another root, `ProofInvalid` where the proof does not hold, `EntryInvalid`.
        """
        note = read_note(request.note)
        checkpoint = read_checkpoint(note.text)
        log = self._logs.get(checkpoint.origin)
        if log is None:
            raise NotInLog(f"This witness does not know the log {checkpoint.origin[:80]}")
        try:
            log.opened(request.note)
        except ProofInvalid as error:
            raise SubmissionRefused(error.what, why=error.why) from error
        if request.old > checkpoint.size:
            raise EntryInvalid("The old size is larger than the checkpoint's")
        with self._turn:
            self._require_growth(request, checkpoint)
            own = Note(note.text, _lines_of(note, log))
            replace(self._file(checkpoint.origin), own.encoded())
            time_s, name = int(self._clock_s()), self.verifier.name
            lines = [cosign(self._key, name, note.text, time_s)]
            if self._falcon is not None:
                lines.append(cosign_falcon(self._falcon, name, note.text, time_s))
            return "".join(map(str, lines)).encode()

    def latest(self, origin: str) -> Checkpoint | None:
        """The checkpoint that was cosigned last; raises `LogDamaged` where it cannot be read, and
        `NotInLog` for a log that it does not know."""
        log = self._logs.get(origin)
        if log is None:
            raise NotInLog(f"This witness does not know the log {origin[:80]}")
        try:
            data = self._file(origin).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return log.opened(data)
        except (EntryInvalid, ProofInvalid) as error:
            raise LogDamaged(
                f"What this witness cosigned of {origin} is damaged",
                why=str(error),
                fix="Restore the witness's directory; without it this log is not cosigned",
            ) from error

    def standing(self, origin: str) -> Checkpoint:
        """What the next checkpoint of a log must continue. Raises as `latest`."""
        found = self.latest(origin) or self._floor(origin)
        return found or Checkpoint(origin, 0, EMPTY_ROOT)

    def _require_growth(self, request: AddCheckpoint, checkpoint: Checkpoint) -> None:
        latest = self.standing(checkpoint.origin)
        same = latest.size == checkpoint.size
        if request.old != latest.size or (same and latest.root != checkpoint.root):
            conflict = WitnessConflict(
                why=f"it cosigned {latest.size} entries last, with the root {latest.root.hex()}"
            )
            conflict.size = latest.size
            raise conflict
        if not consistent(
            latest.size, latest.root, checkpoint.size, checkpoint.root, request.proof
        ):
            raise ProofInvalid("The proof does not lead from what was cosigned last to this")

    def _file(self, origin: str) -> Path:
        return self._directory / hashlib.sha256(origin.encode()).hexdigest()


@dataclass(frozen=True)
class Cosigned:
    """What asking the witnesses came to: the checkpoint as it is shown now, who cosigned it, and
    why others did not. `ahead` are those that say they saw more of the log than it has, which
    after a restore means that it has forgotten entries."""

    note: bytes
    names: tuple[str, ...]
    refused: dict[str, HyperMeshError]
    ahead: tuple[str, ...]


class Cosigning:
    """Collects cosignatures of a log's checkpoints."""

    def __init__(self, view: LogView, witnesses: Sequence[CosigningWitness] = ()) -> None:
        self._view = view
        self._witnesses = witnesses
        self._sizes: dict[str, int] = {}

    def gather(
        self, at_least: int = 0, witnesses: Sequence[CosigningWitness] | None = None
    ) -> Cosigned:
        """Have the log's checkpoint (of `at_least` entries) cosigned by all witnesses, or by those
        given. One that does not, or answers something else, keeps none of the others from it."""
        view = self._view
        shown = view.checkpoint(at_least)
        note = read_note(shown)
        checkpoint = read_checkpoint(note.text)
        lines: list[Line] = []
        refused: dict[str, HyperMeshError] = {}
        ahead: list[str] = []
        names: list[str] = []
        for witness in self._witnesses if witnesses is None else witnesses:
            name = witness.verifiers[0].name
            try:
                answer = self._ask(witness, checkpoint, shown)
                own = _own_lines(Note(note.text, read_lines(answer.decode())), witness)
            except UnicodeDecodeError as error:
                refused[name] = EntryInvalid(f"{name} answered no lines", why=str(error))
            except HyperMeshError as error:
                refused[name] = error
                if isinstance(error, WitnessConflict) and error.size > view.head.size:
                    ahead.append(name)
            else:
                lines += own
                names.append(name)
                self._sizes[name] = checkpoint.size
        view.add_lines(checkpoint.size, lines)
        return Cosigned(with_lines(note, lines).encoded(), tuple(names), refused, tuple(ahead))

    def _ask(self, witness: CosigningWitness, checkpoint: Checkpoint, shown: bytes) -> bytes:
        old = self._sizes.get(witness.verifiers[0].name, 0)
        try:
            return witness.add_checkpoint(self._request(old, checkpoint, shown))
        except WitnessConflict as conflict:
            if conflict.size > checkpoint.size or conflict.size == old:
                raise
            return witness.add_checkpoint(self._request(conflict.size, checkpoint, shown))

    def _request(self, old: int, checkpoint: Checkpoint, shown: bytes) -> AddCheckpoint:
        proof = self._view.consistency(old, checkpoint.size)
        return AddCheckpoint(old, tuple(proof), shown)


def _own_lines(note: Note, witness: CosigningWitness) -> list[Line]:
    found = [note.signed_by(verifier) for verifier in witness.verifiers]
    lines = [line for line in found if line is not None]
    if len(lines) < len(found):
        name = witness.verifiers[0].name
        raise ProofInvalid(f"{name} answered without its own signature")
    return lines


def _lines_of(note: Note, log: LogIdentity) -> tuple[Line, ...]:
    found = (note.signed_by(verifier) for verifier in log.verifiers)
    return tuple(line for line in found if line is not None)
