"""Witnesses cosign what grows, refuse what does not, and remember."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain.ct.checkpoint import Checkpoint, CosignatureVerifier, cosigned_at
from hypermesh.trustchain.ct.errors import (
    EntryInvalid,
    LogDamaged,
    LogInUse,
    NotInLog,
    ProofInvalid,
    SubmissionRefused,
    WitnessConflict,
)
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.note import Note, Verifier, read_lines, read_note
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.witness import (
    AddCheckpoint,
    Cosigning,
    Witness,
    read_add_checkpoint,
)
from hypermesh.trustchain.evidence import Act

from .samples import WAIT_S, opened, plain

NAME = "witness.example/w1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW_S = 1_790_000_000


@pytest.fixture
def witness(tmp_path: Path, logs: TransparencyLogs) -> Iterator[Witness]:
    witness = made(tmp_path / "witness", logs)
    yield witness
    witness.close()


def made(directory: Path, logs: TransparencyLogs, name: str = NAME) -> Witness:
    known = (logs.certificates.identity, logs.acts.identity)
    return Witness(directory, KEY, name, known, lambda: NOW_S)


def grow(logs: TransparencyLogs, count: int) -> bytes:
    """`count` more certificates, and the checkpoint after them."""
    at = logs.certificates.head.size
    CertificateRecorder(logs, WAIT_S).record([plain(n) for n in range(at, at + count)])
    return logs.certificates.checkpoint(at + count)


def test_it_follows_a_log_and_remembers(
    witness: Witness, logs: TransparencyLogs, tmp_path: Path
) -> None:
    view = logs.certificates
    first = grow(logs, 3)
    answer = witness.add_checkpoint(AddCheckpoint(0, (), first))
    (line,) = read_lines(answer.decode())
    note = Note(read_note(first).text, (line,))
    assert note.signed_by(witness.verifier) == line
    assert cosigned_at(line) == NOW_S
    second = grow(logs, 4)
    proof = tuple(view.consistency(3, 7))
    witness.add_checkpoint(AddCheckpoint(3, proof, second))
    with pytest.raises(WitnessConflict) as conflict:
        witness.add_checkpoint(AddCheckpoint(3, proof, second))
    assert conflict.value.size == 7
    witness.close()
    again = made(tmp_path / "witness", logs)
    latest = again.latest(view.identity.origin)
    assert latest == Checkpoint(view.identity.origin, 7, view.root(7))
    # The same once more is cosigned anew.
    again.add_checkpoint(AddCheckpoint(7, (), second))
    with pytest.raises(WitnessConflict):
        again.add_checkpoint(AddCheckpoint(0, (), first))
    assert again.latest(logs.acts.identity.origin) is None
    again.close()


def test_it_refuses_a_fork(witness: Witness, logs: TransparencyLogs) -> None:
    """Two histories signed by the log's own keys."""
    view = logs.certificates
    note = grow(logs, 5)
    witness.add_checkpoint(AddCheckpoint(0, (), note))
    signer = view._signer
    origin = view.identity.origin
    same = signer.sign(Checkpoint(origin, 5, bytes(32)), 0).encoded()
    with pytest.raises(WitnessConflict):
        witness.add_checkpoint(AddCheckpoint(5, (), same))
    grow(logs, 4)
    proof = tuple(view.consistency(5, 9))
    other = signer.sign(Checkpoint(origin, 9, bytes(32)), 0).encoded()
    with pytest.raises(ProofInvalid):
        witness.add_checkpoint(AddCheckpoint(5, proof, other))
    smaller = signer.sign(Checkpoint(origin, 4, view.root(4)), 0).encoded()
    with pytest.raises(WitnessConflict):
        witness.add_checkpoint(AddCheckpoint(4, (), smaller))
    real = view.checkpoint(9)
    for at in range(len(proof)):
        altered = (*proof[:at], bytes(32), *proof[at + 1 :])
        with pytest.raises(ProofInvalid):
            witness.add_checkpoint(AddCheckpoint(5, altered, real))
    assert witness.latest(origin) == Checkpoint(origin, 5, view.root(5))
    witness.add_checkpoint(AddCheckpoint(5, proof, real))


def test_a_witness_of_two_keys_signs_by_both(logs: TransparencyLogs, tmp_path: Path) -> None:
    falcon = FalconKey.generate()
    identity = logs.certificates.identity
    witness = Witness(tmp_path / "w", KEY, NAME, [identity], lambda: NOW_S, falcon=falcon)
    note = grow(logs, 3)
    lines = read_lines(witness.add_checkpoint(AddCheckpoint(0, (), note)).decode())
    cosigned = Note(read_note(note).text, lines)
    assert [cosigned.signed_by(each) for each in witness.verifiers] == list(lines)
    assert [cosigned_at(line) for line in lines] == [NOW_S, NOW_S]
    second = lines[1]
    for altered in (
        second.signature[:-1] + bytes([second.signature[-1] ^ 1]),
        bytes([second.signature[0] ^ 1]) + second.signature[1:],
        b"\xff" * 8 + second.signature[8:],
        second.signature[:8],
    ):
        other = Note(cosigned.text, (lines[0], replace(second, signature=altered)))
        with pytest.raises(ProofInvalid):
            other.signed_by(witness.verifiers[1])

    class Half:
        """Leaves its second line out."""

        verifiers = witness.verifiers

        def add_checkpoint(self, request: AddCheckpoint) -> bytes:
            return witness.add_checkpoint(request).splitlines(keepends=True)[0]

    cosigning = Cosigning(logs.certificates)
    assert isinstance(cosigning.gather(0, [Half()]).refused[NAME], ProofInvalid)
    whole = cosigning.gather(0, [witness])
    assert whole.names == (NAME,)
    identity.opened(whole.note, witness.verifiers, 2)
    witness.close()


def test_it_continues_what_it_was_told_of_a_log(logs: TransparencyLogs, tmp_path: Path) -> None:
    """A witness that has cosigned nothing yet, and knows the log by another's word."""
    view = logs.certificates
    grow(logs, 3)
    origin, known = view.identity.origin, Checkpoint(view.identity.origin, 3, view.root(3))
    note, proof = grow(logs, 4), tuple(view.consistency(3, 7))
    for told, is_taken in ((known, True), (Checkpoint(origin, 3, bytes(32)), False)):
        witness = Witness(
            tmp_path / told.root.hex(), KEY, NAME, [view.identity], floor={origin: told}.get
        )
        with pytest.raises(WitnessConflict) as conflict:
            witness.add_checkpoint(AddCheckpoint(0, (), note))
        assert conflict.value.size == 3
        if is_taken:
            witness.add_checkpoint(AddCheckpoint(3, proof, note))
        else:
            with pytest.raises(ProofInvalid):
                witness.add_checkpoint(AddCheckpoint(3, proof, note))
        witness.close()


def test_it_refuses_what_it_does_not_know(
    witness: Witness, logs: TransparencyLogs, tmp_path: Path
) -> None:
    note = grow(logs, 2)
    read = read_note(note)
    with pytest.raises(SubmissionRefused):
        witness.add_checkpoint(AddCheckpoint(0, (), Note(read.text, read.lines[1:]).encoded()))
    renamed = read.text.replace("trust.example", "other.example")
    with pytest.raises(NotInLog):
        witness.add_checkpoint(AddCheckpoint(0, (), Note(renamed, read.lines).encoded()))
    with pytest.raises(EntryInvalid):
        witness.add_checkpoint(AddCheckpoint(3, (), note))
    with pytest.raises(ProofInvalid):
        witness.add_checkpoint(AddCheckpoint(0, (bytes(32),), note))
    with pytest.raises(LogInUse):
        made(tmp_path / "witness", logs)


def test_a_witness_that_lost_its_memory_does_not_guess(
    witness: Witness, logs: TransparencyLogs, tmp_path: Path
) -> None:
    note = grow(logs, 2)
    witness.add_checkpoint(AddCheckpoint(0, (), note))
    (kept,) = [file for file in (tmp_path / "witness").iterdir() if file.suffix != ".lock"]
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(LogDamaged):
        witness.add_checkpoint(AddCheckpoint(0, (), note))


def test_requests_as_bytes(logs: TransparencyLogs) -> None:
    grow(logs, 9)
    view = logs.certificates
    request = AddCheckpoint(5, tuple(view.consistency(5, 9)), view.checkpoint())
    data = request.encoded()
    assert data.startswith(b"old 5\n")
    assert read_add_checkpoint(data) == request
    for malformed in (
        b"",
        b"old 5\n",
        b"old 05\n\nnote",
        b"old -1\n\nnote",
        b"new 5\n\nnote",
        b"old 5\nAAAA\n\nnote",
        b"old 5\n!\n\nnote",
        b"old \xff\n\nnote",
        b"old 5\n" + b"A" * 44 * 4 + b"\n\nnote",
        b"x" * (1 << 20),
    ):
        with pytest.raises(EntryInvalid):
            read_add_checkpoint(malformed)


def test_a_log_collects_cosignatures(
    witness: Witness, logs: TransparencyLogs, tmp_path: Path
) -> None:
    view = logs.certificates
    second = made(tmp_path / "second", logs, "witness.example/w2")
    cosigning = Cosigning(view, [witness, second, Silent(), Lying()])
    grow(logs, 3)
    # The second is ahead of what the log remembers of it.
    second.add_checkpoint(AddCheckpoint(0, (), view.checkpoint()))
    for count in (3, 9):
        cosigned = cosigning.gather(count)
        assert cosigned.names == (NAME, "witness.example/w2")
        assert set(cosigned.refused) == {Silent.name, Lying.name}
        assert cosigned.ahead == ()
        verifiers = [witness.verifier, second.verifier]
        assert view.identity.opened(cosigned.note, verifiers, 2).size == count
        # It is what everybody gets from now on, and after a start too.
        assert view.checkpoint() == cosigned.note
        grow(logs, 6)
    acts = Cosigning(logs.acts, [witness])
    ActRecorder(logs, WAIT_S).record([Act("any", b"")])
    assert acts.gather(1).names == (NAME,)
    second.close()


def test_a_log_that_forgot_hears_of_it(
    witness: Witness, logs: TransparencyLogs, tmp_path: Path
) -> None:
    grow(logs, 4)
    Cosigning(logs.certificates, [witness]).gather()
    # A copy with the same keys that has less.
    (tmp_path / "copy").mkdir()
    (tmp_path / "keys").rename(tmp_path / "copy" / "keys")
    forgetful = opened(tmp_path / "copy")
    grow(forgetful, 2)
    cosigned = Cosigning(forgetful.certificates, [witness]).gather()
    assert cosigned.names == ()
    assert cosigned.ahead == (NAME,)
    forgetful.close()


class Silent:
    """Does not answer."""

    name = "witness.example/silent"
    verifiers: tuple[Verifier, ...] = (CosignatureVerifier(name, bytes(32)),)

    def add_checkpoint(self, request: AddCheckpoint) -> bytes:  # noqa: ARG002
        raise NotInLog("unreachable")


class Lying(Silent):
    """Answers with another's line."""

    name = "witness.example/lying"
    verifiers: tuple[Verifier, ...] = (CosignatureVerifier(name, bytes(32)),)

    def add_checkpoint(self, request: AddCheckpoint) -> bytes:
        return str(read_note(request.note).lines[0]).encode()
