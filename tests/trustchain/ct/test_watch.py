"""A monitor reads every entry once, believes nothing that does not lead to the checkpoint, and
tells of unexpected names."""

from __future__ import annotations

import hashlib
import ipaddress
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hypermesh.trustchain.ct import watch as watch_module
from hypermesh.trustchain.ct.checkpoint import Checkpoint, CosignatureVerifier
from hypermesh.trustchain.ct.entry import read_act
from hypermesh.trustchain.ct.errors import EntryInvalid, LogDamaged, ProofInvalid
from hypermesh.trustchain.ct.log import LogView, TransparencyLogs
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.watch import (
    Alert,
    CertificateFollower,
    Follower,
    ForkSeen,
    Names,
    Watch,
    names_in,
)
from hypermesh.trustchain.ct.witness import Cosigning, Witness
from hypermesh.trustchain.evidence import Act, FinalCertificate
from hypermesh.wire.errors import HyperMeshError

from .samples import WAIT_S, Issuer, begun, opened, plain


class Altered:
    """A source that changes what a log says."""

    def __init__(self, view: LogView, change: Callable[[str, bytes], bytes]) -> None:
        self._view = view
        self._change = change

    def resource(self, path: str) -> bytes:
        return self._change(path, self._view.resource(path))


def followed(logs: TransparencyLogs, position: Path) -> CertificateFollower:
    return CertificateFollower(logs.certificates, logs.certificates.identity, position)


def grow(logs: TransparencyLogs, count: int) -> None:
    at = logs.certificates.head.size
    CertificateRecorder(logs, WAIT_S).record([plain(n) for n in range(at, at + count)])
    logs.certificates.checkpoint(at + count)


def test_every_entry_is_given_once(
    logs: TransparencyLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "TILES_AT_ONCE", 2)
    position = tmp_path / "position"
    seen: list[int] = []
    size = 0
    assert followed(logs, position).follow(lambda *_: None).size == 0
    for count in (1, 300, 255, 700):
        grow(logs, count)
        size += count
        # Another process each time: only the file remembers.
        follower = followed(logs, position)
        assert follower.follow(lambda index, _: seen.append(index)).size == size
        assert follower.size == size
        follower.follow(lambda index, _: seen.append(index))
    assert seen == list(range(size))


def test_acts_are_followed_too(logs: TransparencyLogs, tmp_path: Path) -> None:
    ActRecorder(logs, WAIT_S).record([Act("ca.revoke", b"%d" % n) for n in range(260)])
    kinds: list[str] = []
    follower = Follower(logs.acts, logs.acts.identity, tmp_path / "position")
    follower.follow(lambda _, leaf: kinds.append(read_act(leaf).kind))
    assert kinds == ["ca.revoke"] * 260


def test_who_fails_is_given_the_same_again(logs: TransparencyLogs, tmp_path: Path) -> None:
    grow(logs, 3)
    follower = followed(logs, tmp_path / "position")

    def fail(index: int, _: bytes) -> None:
        if index == 1:
            raise OSError("no mail today")

    with pytest.raises(OSError, match="no mail"):
        follower.follow(fail)
    seen: list[int] = []
    followed(logs, tmp_path / "position").follow(lambda index, _: seen.append(index))
    assert seen == [0, 1, 2]


def test_no_altered_byte_passes(logs: TransparencyLogs, tmp_path: Path) -> None:
    """Bytes of each resource that a first look reads, in turn; `test_evidence` alters every one."""
    grow(logs, 3)
    view = logs.certificates
    read: dict[str, int] = {}

    def listen(path: str, data: bytes) -> bytes:
        read[path] = len(data)
        return data

    source = Altered(view, listen)
    CertificateFollower(source, view.identity, tmp_path / "listening").follow(lambda *_: None)
    assert set(read) == {"checkpoint", "tile/data/000.p/3"}
    # What is no part of a leaf (the chain) is bound by its fingerprints alone.
    entries = view.entries(0, 3)
    bound, at = set(), 0
    for entry in entries:
        bound |= set(range(at, at + len(entry.leaf) - 2))
        at += len(entry.stored)
    for path, length in read.items():
        step = 17 if path == "checkpoint" else 3
        for place in range(0, length, step):
            if path != "checkpoint" and place not in bound:
                continue

            def change(asked: str, data: bytes, path: str = path, place: int = place) -> bytes:
                if asked != path:
                    return data
                return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]

            follower = CertificateFollower(
                Altered(view, change), view.identity, tmp_path / "position"
            )
            with pytest.raises(HyperMeshError):
                follower.follow(unexpected)
            assert not (tmp_path / "position").exists()


def test_a_fork_is_proven(logs: TransparencyLogs, tmp_path: Path) -> None:
    """The log's keys sign another history, of which everything fits together."""
    grow(logs, 300)
    position = tmp_path / "position"
    followed(logs, position).follow(lambda *_: None)
    shown = logs.certificates.checkpoint()
    other = other_history(logs, tmp_path)
    for count in (300, 0, 70):
        if count:
            CertificateRecorder(other, WAIT_S).record(
                [plain(10_000 + other.certificates.head.size + n) for n in range(count)]
            )
        note = other.certificates.checkpoint(other.certificates.head.size)
        follower = CertificateFollower(other.certificates, logs.certificates.identity, position)
        with pytest.raises(ForkSeen) as fork:
            follower.follow(unexpected)
        assert fork.value.notes == (shown, note)
    other.close()
    assert followed(logs, position).follow(unexpected).size == 300


def test_an_older_checkpoint_may_come_from_a_cache(logs: TransparencyLogs, tmp_path: Path) -> None:
    view = logs.certificates
    grow(logs, 100)
    old = view.checkpoint()
    grow(logs, 200)
    followed(logs, tmp_path / "position").follow(lambda *_: None)

    def cached(path: str, data: bytes) -> bytes:
        return old if path == "checkpoint" else data

    follower = CertificateFollower(Altered(view, cached), view.identity, tmp_path / "position")
    assert follower.follow(unexpected).size == 100
    assert follower.size == 300
    false = view._signer.sign(Checkpoint(view.identity.origin, 100, bytes(32)), 0).encoded()

    def forked(path: str, data: bytes) -> bytes:
        return false if path == "checkpoint" else data

    follower = CertificateFollower(Altered(view, forked), view.identity, tmp_path / "position")
    with pytest.raises(ForkSeen):
        follower.follow(unexpected)


def test_false_tiles_prove_no_fork(logs: TransparencyLogs, tmp_path: Path) -> None:
    """A source that lies does not make the log a liar."""
    grow(logs, 300)
    followed(logs, tmp_path / "position").follow(lambda *_: None)
    grow(logs, 300)

    def lying(path: str, data: bytes) -> bytes:
        return data if path == "checkpoint" else bytes(len(data))

    def lying_hashes(path: str, data: bytes) -> bytes:
        return bytes(len(data)) if path.startswith("tile/0") else data

    for change, error in ((lying, EntryInvalid), (lying_hashes, ProofInvalid)):
        view = logs.certificates
        watch_first = CertificateFollower(
            Altered(view, change), view.identity, tmp_path / "position"
        )
        if change is lying_hashes:
            # With more than one step to go the proof needs hashes from tiles.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(watch_module, "TILES_AT_ONCE", 1)
                with pytest.raises(error) as raised:
                    watch_first.follow(lambda *_: None)
        else:
            with pytest.raises(error) as raised:
                watch_first.follow(lambda *_: None)
        assert not isinstance(raised.value, ForkSeen)


def test_a_quorum_of_witnesses_may_be_asked_for(logs: TransparencyLogs, tmp_path: Path) -> None:
    view = logs.certificates
    witness = Witness(
        tmp_path / "witness", Ed25519PrivateKey.generate(), "w.example", [view.identity]
    )
    verifiers: list[CosignatureVerifier] = [witness.verifier]
    grow(logs, 2)
    follower = CertificateFollower(view, view.identity, tmp_path / "position", verifiers, 1)
    with pytest.raises(ProofInvalid):
        follower.follow(unexpected)
    Cosigning(view, [witness]).gather()
    assert follower.follow(lambda *_: None).size == 2
    witness.close()


def test_a_position_of_another_log_or_none(logs: TransparencyLogs, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"none")
    with pytest.raises(LogDamaged):
        followed(logs, tmp_path / "damaged")
    grow(logs, 1)
    followed(logs, tmp_path / "position").follow(lambda *_: None)
    with pytest.raises(LogDamaged):
        Follower(logs.acts, logs.acts.identity, tmp_path / "position")


def test_unexpected_names_raise_alerts(
    logs: TransparencyLogs, issuer: Issuer, tmp_path: Path
) -> None:
    mine = issuer.final("www.corp.example")
    pre = issuer.sign(
        issuer.builder("evil.test").add_extension(x509.PrecertPoison(), critical=True)
    )
    submissions = [
        issuer.final("a.corp.example", "deep.below.corp.example"),
        issuer.final("a.corp.example", "Evil.Example"),
        mine,
        plain(1),
        issuer.final("corp.example.evil"),
        FinalCertificate(pre, ()),
    ]
    CertificateRecorder(logs, WAIT_S).record(submissions)
    logs.certificates.checkpoint(len(submissions))

    def alerts(name: str, names: Names) -> list[Alert]:
        found: list[Alert] = []
        Watch(followed(logs, tmp_path / name), names, found.append).follow()
        return found

    found = alerts("outside", Names(expected=("*.corp.example",)))
    assert [(each.index, each.names) for each in found] == [
        (1, ("evil.example",)),
        (3, ()),
        (4, ("corp.example.evil",)),
        (5, ("evil.test",)),
    ]
    assert found[0].issuer == "CN=Root"
    assert "cannot be read" in found[1].why
    known = frozenset({hashlib.sha256(mine.certificate).digest()})
    found = alerts("mine", Names(watched=("*.CORP.example",), known=known))
    assert [each.index for each in found] == [0, 1, 3]


def test_every_kind_of_name_is_seen(issuer: Issuer) -> None:
    key = issuer.key.public_key()
    builder = begun("Common Name", "Root", key).add_extension(
        x509.SubjectAlternativeName(
            [
                x509.DNSName("A.example"),
                x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
                x509.UniformResourceIdentifier("spiffe://corp/a"),
                x509.RFC822Name("a@corp.example"),
                x509.DirectoryName(x509.Name([])),
                x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
                x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
            ]
        ),
        critical=False,
    )
    found = names_in(x509.load_der_x509_certificate(issuer.sign(builder)))
    assert found[:6] == (
        "common name",
        "a.example",
        "2001:db8::1",
        "spiffe://corp/a",
        "a@corp.example",
        "",
    )
    assert len(found) == 8


def other_history(logs: TransparencyLogs, tmp_path: Path) -> TransparencyLogs:
    """Another log under the same keys, as only the log's own operator could make it."""
    shutil.copytree(tmp_path / "keys", tmp_path / "forked" / "keys")
    return opened(tmp_path / "forked")


def unexpected(index: int, data: bytes) -> None:
    raise AssertionError(f"entry {index} was given out")
