"""The evidence beside a certificate of a mesh: what it shows, and that none can be altered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.crypto.signature import sign
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder, Issued
from hypermesh.trustchain.ct.errors import LogDamaged
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.origin import origin, read_origin
from hypermesh.trustchain.ct.recorder import CertificateRecorder
from hypermesh.trustchain.ct.succession import end, end_all, ended, generations, present
from hypermesh.trustchain.evidence import LogUnavailable, Recorded, Submission
from hypermesh.trustchain.logged import DOMAIN, NotLogged, check_logged, sign_log
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.transparency import Logged

from .samples import GENESIS, NOW


@dataclass
class Logging:
    """An authority with its log, and the node that vouches for it."""

    authority: CertificateAuthority
    logs: TransparencyLogs
    node: QuantumKeys

    def issue(self, number: int = 0) -> Issued:
        keys = QuantumKeys.generate()
        order = CertificateOrder(keys.id, GENESIS, keys.public, self.node.id)
        return self.authority.certify(order, NOW + number)

    def evidence(self, issued: Issued) -> Logged:
        recording = self.authority.recording(issued)
        assert recording is not None
        view = self.logs.certificates
        proven = view.prove(recording.recorded.index)
        signed = sign_log(view.identity, self.node, GENESIS)
        return Logged(signed, recording.recorded.sct, proven.path, proven.checkpoint)


def opened(directory: Path) -> CertificateAuthority:
    return CertificateAuthority.found(directory, KeyStore(directory / "keys"), "test", NOW)


def logs_in(directory: Path) -> TransparencyLogs:
    return TransparencyLogs(
        directory / "log", KeyStore(directory / "keys"), origin(GENESIS, 1), secrets_prefix="ct-1"
    )


@pytest.fixture
def logging(tmp_path: Path) -> Iterator[Logging]:
    authority, logs = opened(tmp_path), logs_in(tmp_path)
    authority.record_in(CertificateRecorder(logs), logs.certificates.identity.fingerprint)
    yield Logging(authority, logs, QuantumKeys.generate())
    logs.close()
    authority.close()


def test_what_it_issues_is_shown_to_be_logged(logging: Logging) -> None:
    all_issued = [logging.issue(number) for number in range(5)]
    for number, issued in enumerate(all_issued):
        logged = decode(Logged, encode(logging.evidence(issued)))
        chain = logging.authority.chain(issued)
        entry = check_logged(logged, chain, logging.node.public, GENESIS)
        assert (entry.index, entry.checkpoint.size) == (number, 5)
        assert entry.leaf == logging.logs.certificates.leaf(number)


def altered(logged: Logged) -> dict[str, Logged]:
    """`logged`, each member altered in one bit."""

    def flip(data: bytes, at: int = -1) -> bytes:
        changed = bytearray(data)
        changed[at] ^= 1
        return bytes(changed)

    def put(value: Any, /, **members: Any) -> Any:
        return msgspec.structs.replace(value, **members)

    log, signature = logged.log.log, logged.log.signature
    found = {
        "sct: version": put(logged, sct=flip(logged.sct, 0)),
        "sct: log": put(logged, sct=flip(logged.sct, 1)),
        "sct: time": put(logged, sct=flip(logged.sct, 40)),
        "sct: index": put(logged, sct=flip(logged.sct, 50)),
        "sct: signature": put(logged, sct=flip(logged.sct)),
        "sct: cut off": put(logged, sct=logged.sct[:-1]),
        "path": put(logged, path=[flip(logged.path[0]), *logged.path[1:]]),
        "path: shorter": put(logged, path=logged.path[:-1]),
        "path: longer": put(logged, path=[*logged.path, bytes(32)]),
        "vouching": put(
            logged, log=put(logged.log, signature=put(signature, falcon=flip(signature.falcon)))
        ),
    }
    for name in ("origin", "ed25519", "falcon", "p256"):
        value = getattr(log, name)
        value = value.replace("/1/", "/2/") if isinstance(value, str) else flip(value)
        found[f"log: {name}"] = put(logged, log=put(logged.log, log=put(log, **{name: value})))
    text, _, lines = logged.checkpoint.partition(b"\n\n")
    for number, line in enumerate(text.split(b"\n")):
        changed = logged.checkpoint.replace(line, flip(line, 0) if number else b"x" + line, 1)
        found[f"checkpoint: line {number}"] = put(logged, checkpoint=changed)
    for number, line in enumerate(lines.rstrip(b"\n").split(b"\n")):
        without = logged.checkpoint.replace(line + b"\n", b"")
        found[f"checkpoint: without signature {number}"] = put(logged, checkpoint=without)
    return found


def test_nothing_of_it_can_be_altered(logging: Logging) -> None:
    issued = [logging.issue(number) for number in range(3)]
    logged, chain = logging.evidence(issued[1]), logging.authority.chain(issued[1])
    believed = []
    planted = altered(logged)
    assert len(planted) >= 18
    for what, each in planted.items():
        try:
            check_logged(each, chain, logging.node.public, GENESIS)
        except NotLogged:
            continue
        believed.append(what)
    assert believed == []
    with pytest.raises(NotLogged):
        check_logged(logged, logging.authority.chain(issued[0]), logging.node.public, GENESIS)
    with pytest.raises(NotLogged, match="does not vouch"):
        check_logged(logged, chain, QuantumKeys.generate().public, GENESIS)
    with pytest.raises(NotLogged, match="none of this network"):
        check_logged(logged, chain, logging.node.public, bytes(32))


class Full:
    """A log that takes nothing."""

    def record(self, submissions: list[Submission]) -> list[Recorded]:
        raise LogUnavailable(why=f"no room for {len(submissions)}")


def test_without_its_log_the_authority_shows_nothing(tmp_path: Path) -> None:
    """What was decided before the log refused stays hidden, and is recorded once it is back."""
    authority, keys = opened(tmp_path), QuantumKeys.generate()
    authority.record_in(Full(), bytes(32))
    order = CertificateOrder(keys.id, GENESIS, keys.public, keys.id)
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            authority.certify(order, NOW)
    assert authority.latest(keys.id) is None
    assert authority.issued(None, 10) == []
    with pytest.raises(LogUnavailable):
        authority.renew(keys.public, GENESIS, NOW + 1)
    logs = logs_in(tmp_path)
    authority.record_in(CertificateRecorder(logs), logs.certificates.identity.fingerprint)
    (only,) = authority.issued(None, 10)
    assert authority.certify(order, NOW + 9) == only[1] == authority.latest(keys.id)
    assert authority.renew(keys.public, GENESIS, NOW + 1) == only[1]
    assert logs.certificates.head.size == 1
    recording = authority.recording(only[1])
    assert recording is not None
    assert logs.certificates.entry(recording.recorded.index).signed == only[1].certificate
    logs.close()
    authority.close()


def test_what_was_issued_before_there_was_a_log_is_recorded_at_once(tmp_path: Path) -> None:
    authority, node = opened(tmp_path), QuantumKeys.generate()
    for number in range(3):
        keys = QuantumKeys.generate()
        authority.certify(CertificateOrder(keys.id, GENESIS, keys.public, node.id), NOW + number)
    logs = logs_in(tmp_path)
    for _ in range(2):
        authority.record_in(CertificateRecorder(logs), logs.certificates.identity.fingerprint)
        assert logs.certificates.head.size == 3
    logs.close()
    authority.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "certificates",
        f"hm.internal/{GENESIS.hex()}/1/names",
        f"hm.internal/{GENESIS.hex()}/01/acts",
        f"hm.internal/{GENESIS.hex()}/0/acts",
        f"hm.internal/{GENESIS.hex()}/-1/acts",
        f"hm.internal/{GENESIS.hex()}/²/acts",
        f"hm.internal/{GENESIS.hex()}/{10**9}/acts",
        f"hm.internal/{bytes(32).hex()}/1/acts",
        f"hm.internal/{GENESIS.hex()}/1/acts/1/acts",
        f"hm.internal/{GENESIS.hex()}/1/acts\n",
    ],
)
def test_an_origin_is_read_in_one_form_alone(text: str) -> None:
    assert read_origin(GENESIS, text) is None


def test_an_origin_is_read_as_it_was_written() -> None:
    for purpose in ("certificates", "acts"):
        assert read_origin(GENESIS, f"{origin(GENESIS, 37)}/{purpose}") == (37, purpose)


def test_a_log_that_ended_is_followed_by_the_next(tmp_path: Path) -> None:
    assert (generations(tmp_path / "none"), present(tmp_path)) == ([], 1)
    (tmp_path / "1").mkdir()
    (tmp_path / "notes").mkdir()
    assert present(tmp_path) == 1
    end(tmp_path, 1, "it was restored")
    end(tmp_path, 1, "another reason")
    assert (present(tmp_path), ended(tmp_path, 1)) == (2, "it was restored")
    (tmp_path / "2").mkdir()
    assert (present(tmp_path), ended(tmp_path, 2)) == (2, None)
    end_all(tmp_path, "again")
    assert (present(tmp_path), ended(tmp_path, 2), ended(tmp_path, 1)) == (
        3,
        "again",
        "it was restored",
    )
    end(tmp_path, 1 << 20, "the last")
    with pytest.raises(LogDamaged):
        present(tmp_path)


def test_no_key_goes_from_one_generation_to_the_next(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys")
    found = []
    for number in (1, 2):
        logs = TransparencyLogs(
            tmp_path / str(number), keys, origin(GENESIS, number), secrets_prefix=f"ct-{number}"
        )
        identity = logs.certificates.identity
        found.append({identity.ed25519, identity.falcon, identity.log_id})
        logs.close()
    assert not found[0] & found[1]


def test_a_key_that_cannot_be_read_is_said_to_be_none(logging: Logging) -> None:
    logged = logging.evidence(logging.issue())
    log = msgspec.structs.replace(logged.log.log, p256=b"no key")
    signed = sign_log(logging.logs.certificates.identity, logging.node, GENESIS)
    signature = sign(logging.node, DOMAIN, GENESIS, encode(log))
    forged = msgspec.structs.replace(signed, log=log, signature=signature)
    with pytest.raises(NotLogged, match="cannot be read"):
        check_logged(
            msgspec.structs.replace(logged, log=forged), [b"x"], logging.node.public, GENESIS
        )
