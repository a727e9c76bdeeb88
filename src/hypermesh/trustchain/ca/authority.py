"""The certificate authority: a root that signs once, an issuing CA that signs nodes.

The root key is used to found the authority, to certify another issuing CA in its place, and to
certify that of a partner network; `open` does not even load it. A certificate is on the disk before
anyone sees it, under the hash of the request that it answers, so the same request has one answer
for ever. Where it has a transparency log (`record_in`), the certificate is in the log before anyone
sees it, too: a crash between the two leaves one that was never shown, and the next start, or the
same request, records it.

An issuing CA can be replaced by another below the same root: `prepare_issuing` makes it and
`use_issuing` goes over to it, once the network knows it. Who asks again for what the one before
issued gets a certificate of the new one.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509 import load_der_x509_certificate

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import key_id
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.database import Database
from hypermesh.trustchain.ca.signer import KeySigner
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Authority,
    AuthorityKeys,
    Validity,
    issuing_certificate,
    node_certificate,
    root_certificate,
    serial_number,
    service_certificate,
)
from hypermesh.trustchain.description import authority_identifier, describe, key_identifier
from hypermesh.trustchain.evidence import CertificateLog, FinalCertificate, Recorded
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Conflict, Forbidden, NotFound
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys

DAY_S = 24 * 60 * 60

NODE_LIFETIME_S = DAY_S
"""A node's certificate is good for this long; who is stolen today is a stranger tomorrow."""

AUTHORITY_LIFETIME_S = 20 * 365 * DAY_S
"""Root and issuing certificate stand in genesis, so the network cannot outlive them."""

CLOCK_SKEW_S = 5 * 60
"""Certificates begin this long before they are issued, for readers whose clocks are behind."""

RENEWAL_S = 30 * DAY_S
"""How long after its end a certificate may still be renewed by the keys of its node."""

RENEWAL_AGE_MIN_S = 60 * 60
"""A younger certificate is given again instead of a new one. So a lost answer can be asked for
again, and a node cannot fill the store."""

NUMBER_MAX = 2**63 - 1
"""The largest number of a row in SQLite."""

_ROOT_SECRET = "ca-root"
_ISSUING_SECRET = "ca-issuing"
"""Of the first; the others have their number behind it."""

_ROOT, _ISSUING, _PRESENT = "root", "issuing", "present"
"""Roles in the store. Issuing CAs after the first have their number behind `issuing`; the one in
`present`, where there is such a row, issues."""

ISSUING_MAX = 1_000
"""Issuing CAs that one authority ever has."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS authority (
    role TEXT PRIMARY KEY,
    certificate BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS issued (
    request BLOB PRIMARY KEY,
    node BLOB NOT NULL,
    owner BLOB NOT NULL,
    issued_s INTEGER NOT NULL,
    not_after_s INTEGER NOT NULL,
    certificate BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS service (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    names TEXT NOT NULL,
    issued_s INTEGER NOT NULL,
    not_after_s INTEGER NOT NULL,
    certificate BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS issued_by_node ON issued (node, not_after_s);
CREATE TABLE IF NOT EXISTS recorded (
    request BLOB PRIMARY KEY,
    serial BLOB NOT NULL,
    log BLOB NOT NULL,
    entry INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    sct BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS recorded_by_serial ON recorded (serial);
"""

_ISSUED = "SELECT certificate, node, owner, issued_s, not_after_s, request FROM issued "
SERIAL_BYTES = 20
"""RFC 5280 section 4.1.2.2."""
_HAS_SERIAL = "WHERE request = (SELECT request FROM recorded WHERE serial = ?)"
_IS_RECORDED = "request IN (SELECT request FROM recorded) "
RECORDED_AT_ONCE = 256


class AuthorityMissing(NotFound):
    """This directory holds no founded certificate authority."""

    code = "HM-TRUST-0020"
    exit_code = 3
    title = "There is no certificate authority here"
    remedy = "Only the node that founded the network has one"


class RequestConflict(Conflict):
    """One request hash, two different certificates asked for."""

    code = "HM-TRUST-0021"
    title = "This request was answered with a certificate for another node or owner"


class NodeUnknown(NotFound):
    """The authority never issued a certificate for these keys."""

    code = "HM-TRUST-0022"
    title = "The node has no certificate to renew"
    remedy = "Join with a token from `hm invite`"


class RenewalTooLate(Forbidden):
    """The certificate ended longer ago than renewal by node keys allows."""

    code = "HM-TRUST-0024"
    title = "The certificate ended too long ago to be renewed"
    remedy = "Join again with a token from `hm invite`"


class NodeOwned(Forbidden):
    """The node has an owner, and a node keeps its owner."""

    code = "HM-TRUST-0025"
    title = "The node belongs to another owner"
    remedy = "Remove its keys and join as a new node"


class IssuingUnknown(NotFound):
    """The issuing CA that is to be used was not made here."""

    code = "HM-TRUST-0340"
    exit_code = 3
    title = "The network's issuing CA was not made by this authority"
    remedy = "Restore the newest backup of the node that founded the network"


class StoredAuthority(msgspec.Struct, frozen=True, array_like=True):
    """Keys of a certificate authority in the key store: P-256 as PKCS#8, FALCON-1024 raw."""

    outer: bytes
    inner: bytes


@dataclass(frozen=True, slots=True)
class CertificateOrder:
    """What to certify: that `node` belongs to `owner` on the network `genesis`.

    `request` is a digest over all that makes a request this request and no other.
    """

    request: Hash
    genesis: GenesisId
    node: PublicKeys
    owner: OwnerId


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate (DER) with what the authority's store knows of it; times in seconds.
    `request` is that of the order which it answers."""

    certificate: bytes
    node: NodeId
    owner: OwnerId
    issued_s: int
    not_after_s: int
    request: Hash

    @property
    def serial(self) -> int:
        """The certificate's serial number."""
        return load_der_x509_certificate(self.certificate).serial_number


@dataclass(frozen=True, slots=True)
class Recording:
    """Where a certificate stands: in the log with the fingerprint `log`."""

    log: Hash
    recorded: Recorded


class CertificateAuthority:
    """Issues and renews node certificates. Open one with `found` or `open`."""

    def __init__(
        self,
        database: Database,
        root: bytes,
        issuing: Authority,
        keys: KeyStore,
        made: dict[bytes, bytes],
    ) -> None:
        """`made` are the certificates of all issuing CAs, by their key identifiers."""
        self._database = database
        self._root = root
        self._issuing = issuing
        self._keys = keys
        self._made = made
        self._log: CertificateLog | None = None
        self._log_name: Hash = b""

    @classmethod
    def found(
        cls, directory: Path, keys: KeyStore, network: str, now_s: int
    ) -> CertificateAuthority:
        """A new authority for the network called `network`, its files in `directory`.

        Repeating it completes what a crash left half done, and changes nothing that is complete.
        """
        root_keys = _stored_or_new(keys, _ROOT_SECRET)
        issuing_keys = _stored_or_new(keys, _ISSUING_SECRET)
        database = Database(directory / "ca.sqlite", _SCHEMA)
        with database.transaction() as connection:
            if connection.execute("SELECT count(*) FROM authority").fetchone() == (0,):
                validity = Validity(now_s - CLOCK_SKEW_S, now_s + AUTHORITY_LIFETIME_S)
                root = root_certificate(root_keys, network, validity, _serial())
                issuing = issuing_certificate(
                    issuing_keys, Authority(root, root_keys), network, validity, _serial()
                )
                connection.executemany(
                    "INSERT INTO authority VALUES (?, ?)", [(_ROOT, root), (_ISSUING, issuing)]
                )
        database.close()
        return cls.open(directory, keys)

    @classmethod
    def open(cls, directory: Path, keys: KeyStore) -> CertificateAuthority:
        """The authority founded in `directory`; raises `AuthorityMissing`."""
        path = directory / "ca.sqlite"
        if not path.exists() or _ISSUING_SECRET not in keys:
            raise AuthorityMissing(f"There is no certificate authority in {directory}")
        database = Database(path, _SCHEMA)
        with database.transaction() as connection:
            found = dict(connection.execute("SELECT role, certificate FROM authority"))
        if not found.keys() >= {_ROOT, _ISSUING}:
            database.close()
            raise AuthorityMissing(
                f"The certificate authority in {directory} is half made",
                why="it was interrupted while it was founded",
                fix="Found the network again; what is there is kept",
            )
        issuing = {role: each for role, each in found.items() if role.startswith(_ISSUING)}
        present = found.get(_PRESENT, found[_ISSUING])
        role = next(role for role, each in issuing.items() if each == present)
        return cls(
            database,
            found[_ROOT],
            Authority(present, _stored(keys, _secret(role))),
            keys,
            {key_identifier(each): each for each in issuing.values()},
        )

    @property
    def root(self) -> bytes:
        """The root certificate, DER."""
        return self._root

    @property
    def issuing(self) -> bytes:
        """The certificate of the present issuing CA, DER."""
        return self._issuing.certificate

    def chain(self, issued: Issued) -> list[bytes]:
        """Leaf, issuing certificate and root, as a TLS peer shows them."""
        issuing = self._made[authority_identifier(issued.certificate)]
        return [issued.certificate, issuing, self.root]

    def prepare_issuing(self, network: str, now_s: int) -> bytes:
        """The certificate (DER) of another issuing CA, whose keys are here; it issues nothing yet.
        Until it is used, the same one is given again. Raises `Conflict` after `ISSUING_MAX`."""
        with self._database.transaction() as connection:
            found = dict(
                connection.execute(
                    "SELECT role, certificate FROM authority WHERE role LIKE 'issuing%'"
                )
            )
        number = len(found) - 1
        last: bytes = found[_role(number)]
        if number and last != self.issuing:
            return last
        if number >= ISSUING_MAX:
            raise Conflict(f"An authority has at most {ISSUING_MAX} issuing CAs")
        role = _role(number + 1)
        root = Authority(self._root, _stored(self._keys, _ROOT_SECRET))
        keys = _stored_or_new(self._keys, _secret(role))
        validity = Validity(now_s - CLOCK_SKEW_S, describe(self._root).not_after_s)
        certificate = issuing_certificate(keys, root, network, validity, _serial())
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO authority VALUES (?, ?)", (role, certificate))
        self._made[key_identifier(certificate)] = certificate
        return certificate

    def use_issuing(self, certificate: bytes) -> None:
        """Issue by the CA with that certificate from now on; nothing changes where that is so.
        Raises `IssuingUnknown`."""
        if certificate == self.issuing:
            return
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT role FROM authority WHERE certificate = ? AND role LIKE 'issuing%'",
                (certificate,),
            ).fetchone()
            if row is None:
                raise IssuingUnknown
            keys = _stored(self._keys, _secret(row[0]))
            connection.execute(
                "INSERT OR REPLACE INTO authority VALUES (?, ?)", (_PRESENT, certificate)
            )
        self._issuing = Authority(certificate, keys)

    def record_in(self, log: CertificateLog, name: Hash) -> None:
        """From now on answer and show only what `log`, whose fingerprint is `name`, holds. What was
        issued before and is in no log is recorded first. Raises `LogUnavailable`."""
        while True:
            with self._database.transaction() as connection:
                rows = connection.execute(
                    _ISSUED + "WHERE NOT " + _IS_RECORDED + "LIMIT ?", (RECORDED_AT_ONCE,)
                ).fetchall()
            if not rows:
                break
            self._record([Issued(*row) for row in rows], log, name)
        with self._database.transaction() as connection:
            services = [
                _service(certificate)
                for (certificate,) in connection.execute("SELECT certificate FROM service")
            ]
        for begin in range(0, len(services), RECORDED_AT_ONCE):
            some = services[begin : begin + RECORDED_AT_ONCE]
            fresh = [each for each in some if self.recording(each) is None]
            if fresh:
                self._record(fresh, log, name)
        self._log, self._log_name = log, name

    def forget_recordings(self) -> None:
        """The log is gone with nobody having seen it, as in a founding that is begun again."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM recorded")

    def recording(self, issued: Issued) -> Recording | None:
        """Where `issued` stands in a log; None where it is in none."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT log, entry, timestamp_ms, sct FROM recorded WHERE request = ?",
                (issued.request,),
            ).fetchone()
        return None if row is None else Recording(row[0], Recorded(*row[1:]))

    def certify(self, order: CertificateOrder, now_s: int) -> Issued:
        """The certificate that answers `order`: a new one, or the one it was answered with before;
        recorded, where there is a log.

        Raises `NodeOwned` where the node has a certificate that names another owner,
        `RequestConflict` where the request hash was used for another node, and `LogUnavailable`.
        """
        issued = self._certified(order, now_s)
        if not self._is_present(issued):
            return self.renew(order.node, order.genesis, now_s)
        return self._shown(issued)

    def _certified(self, order: CertificateOrder, now_s: int) -> Issued:
        node, issuing = key_id(order.node), self._issuing
        with self._database.transaction() as connection:
            row = connection.execute(_ISSUED + "WHERE request = ?", (order.request,)).fetchone()
            if row is not None:
                issued = Issued(*row)
                if (issued.node, issued.owner) != (node, order.owner):
                    raise RequestConflict
                return issued
            # No two rows of a node differ in the owner, so any one of them tells.
            known = connection.execute(
                "SELECT owner FROM issued WHERE node = ? LIMIT 1", (node,)
            ).fetchone()
            if known is not None and known[0] != order.owner:
                raise NodeOwned
            validity = Validity(now_s - CLOCK_SKEW_S, now_s + NODE_LIFETIME_S)
            certificate = node_certificate(
                order.node, order.owner, order.genesis, issuing, validity, _serial()
            )
            issued = Issued(
                certificate, node, order.owner, now_s, validity.not_after_s, order.request
            )
            connection.execute(
                "INSERT INTO issued VALUES (?, ?, ?, ?, ?, ?)",
                (order.request, node, order.owner, now_s, validity.not_after_s, certificate),
            )
        return issued

    def certify_service(
        self, public: ec.EllipticCurvePublicKey, names: Sequence[str], now_s: int
    ) -> bytes:
        """A new certificate (DER) of a TLS server at `names`, which lives as long as a node's;
        recorded as theirs are. Raises `LogUnavailable`."""
        validity = Validity(now_s - CLOCK_SKEW_S, now_s + NODE_LIFETIME_S)
        certificate = service_certificate(public, names, self._issuing, validity, _serial())
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO service (names, issued_s, not_after_s, certificate)"
                " VALUES (?, ?, ?, ?)",
                (" ".join(names), now_s, validity.not_after_s, certificate),
            )
        if self._log is not None:
            self._record([_service(certificate)], self._log, self._log_name)
        return certificate

    def _is_present(self, issued: Issued) -> bool:
        """Whether the present issuing CA issued it."""
        return self._made[authority_identifier(issued.certificate)] == self.issuing

    def latest(self, node: NodeId) -> Issued | None:
        """The certificate of `node` that ends last, of those that may be shown."""
        with self._database.transaction() as connection:
            return self._latest(connection, node, self._visible)

    def same(self, node: NodeId, certificate: bytes) -> Issued | None:
        """What the store knows of `certificate` (DER) of `node`; None where it issued no such."""
        with self._database.transaction() as connection:
            row = connection.execute(
                _ISSUED + "WHERE node = ? AND certificate = ?", (node, certificate)
            ).fetchone()
        return None if row is None else Issued(*row)

    def by_serial(self, serial: int) -> Issued | None:
        """The recorded certificate with this serial number."""
        if not 0 < serial < 1 << (8 * SERIAL_BYTES):
            return None
        with self._database.transaction() as connection:
            row = connection.execute(_ISSUED + _HAS_SERIAL, (_serial_bytes(serial),)).fetchone()
        return None if row is None else Issued(*row)

    def current(self, node: NodeId, now_s: int) -> list[Issued]:
        """The certificates of `node` that have not ended, of those that may be shown."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                _ISSUED + "WHERE node = ? AND not_after_s >= ? AND " + self._visible,
                (node, now_s),
            ).fetchall()
        return [Issued(*row) for row in rows]

    @property
    def signer(self) -> KeySigner:
        """The issuing key's P-256 half, for what software of others reads."""
        return KeySigner(self._issuing.keys.outer, KeyKind.P256)

    def issued(self, before: int | None, limit: int) -> list[tuple[int, Issued]]:
        """At most `limit` certificates, the newest first, each with its number in the store; only
        those with a number below `before`, where that is given."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                _ISSUED.replace("SELECT", "SELECT rowid,")
                + f"WHERE rowid < ? AND {self._visible} ORDER BY rowid DESC LIMIT ?",
                (NUMBER_MAX if before is None else min(before, NUMBER_MAX), limit),
            ).fetchall()
        return [(number, Issued(*row)) for number, *row in rows]

    @property
    def _visible(self) -> str:
        """Which rows may be shown, as a condition."""
        return "1 " if self._log is None else _IS_RECORDED

    @staticmethod
    def _latest(connection: sqlite3.Connection, node: NodeId, condition: str) -> Issued | None:
        row = connection.execute(
            _ISSUED
            + f"WHERE node = ? AND {condition} ORDER BY not_after_s DESC, rowid DESC LIMIT 1",
            (node,),
        ).fetchone()
        return None if row is None else Issued(*row)

    def renew(self, node: PublicKeys, genesis: GenesisId, now_s: int) -> Issued:
        """A certificate like the latest of `node`, beginning now; the latest itself where that is
        younger than `RENEWAL_AGE_MIN_S` and of the present issuing CA. Whether the node may ask is
        for the caller to know.

        Raises `NodeUnknown`, later than `RENEWAL_S` after its end `RenewalTooLate`, and
        `LogUnavailable`.
        """
        with self._database.transaction() as connection:
            latest = self._latest(connection, key_id(node), "1")
        if latest is None:
            raise NodeUnknown
        if now_s > latest.not_after_s + RENEWAL_S:
            days = (now_s - latest.not_after_s) // DAY_S
            raise RenewalTooLate(why=f"it ended {days} days ago; {RENEWAL_S // DAY_S} are allowed")
        if now_s < latest.issued_s + RENEWAL_AGE_MIN_S and self._is_present(latest):
            return self._shown(latest)
        request = digest_of("certificate-renewal", fingerprint(latest.certificate))
        return self.certify(CertificateOrder(request, genesis, node, latest.owner), now_s)

    def close(self) -> None:
        """Release the files. Nothing is lost without it."""
        self._database.close()

    def _shown(self, issued: Issued) -> Issued:
        """`issued`, once it may be shown."""
        if self._log is not None and self.recording(issued) is None:
            self._record([issued], self._log, self._log_name)
        return issued

    def _record(self, all_issued: Sequence[Issued], log: CertificateLog, name: Hash) -> None:
        """The log first: what it holds already it answers in the same words."""
        recorded = log.record(
            [FinalCertificate(each.certificate, tuple(self.chain(each)[1:])) for each in all_issued]
        )
        places = [(at.index, at.timestamp_ms, at.sct) for at in recorded]
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO recorded VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (each.request, _serial_bytes(each.serial), name, *place)
                    for each, place in zip(all_issued, places, strict=True)
                ],
            )


def _service(certificate: bytes) -> Issued:
    """A certificate of a TLS server, as far as recording it asks: it is of no node."""
    return Issued(certificate, b"", b"", 0, 0, fingerprint(certificate))


def _serial_bytes(serial: int) -> bytes:
    return serial.to_bytes(SERIAL_BYTES, "big")


def _role(number: int) -> str:
    """The role of an issuing CA by its number, from 0."""
    return _ISSUING if number == 0 else f"{_ISSUING}-{number}"


def _secret(role: str) -> str:
    return f"{_ISSUING_SECRET}{role.removeprefix(_ISSUING)}"


def _serial() -> int:
    return serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES))


def _stored_or_new(keys: KeyStore, name: str) -> AuthorityKeys:
    if name not in keys:
        outer = ec.generate_private_key(ec.SECP256R1())
        pkcs8 = outer.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        inner = FalconKey.generate()
        keys.put(name, encode(StoredAuthority(pkcs8, inner.secret_bytes())))
    return _stored(keys, name)


def _stored(keys: KeyStore, name: str) -> AuthorityKeys:
    stored = decode(StoredAuthority, keys.get(name))
    outer = load_der_private_key(stored.outer, None)
    if not isinstance(outer, ec.EllipticCurvePrivateKey):
        raise AuthorityMissing(f"The secret {name!r} is not that of a certificate authority")
    return AuthorityKeys(outer, FalconKey.from_secret_bytes(stored.inner))


def root_authority(keys: KeyStore, root: bytes) -> Authority:
    """The root of the network with its keys, to certify another network's authority. `root` is its
    certificate (DER). Raises `AuthorityMissing` where its keys are elsewhere."""
    if _ROOT_SECRET not in keys:
        raise AuthorityMissing("The root's keys are not on this node")
    return Authority(root, _stored(keys, _ROOT_SECRET))
