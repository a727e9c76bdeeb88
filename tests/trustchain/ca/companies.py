"""Authorities of a company to test against, one for each profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keystore import KeyStore
from hypermesh.postgresql.place import Place
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.ceremony import Root, found_root, install, request_issuing
from hypermesh.trustchain.ca.content import Places
from hypermesh.trustchain.ca.issuing import IssuedCertificate, IssuingAuthority, Order, open_issuing
from hypermesh.trustchain.ca.names import Name, Permission
from hypermesh.trustchain.ca.policy import Grant, Grants
from hypermesh.trustchain.ca.profile import PROFILES, Kind, Profile
from hypermesh.trustchain.ca.request import write_request
from hypermesh.trustchain.ca.signer import KeySigner, Signer, stored_signer
from hypermesh.trustchain.ca.sqlite_store import SqliteStore
from hypermesh.trustchain.ca.store import CertificateStore

from .memory_log import MemoryActs, MemoryLog

NOW = 1_900_000_000
PLACES = Places("http://pki.example.internal")
EVERYTHING = Grants(
    {
        "tester": Grant(
            frozenset(Kind),
            Permission(
                (
                    "dns:.example.internal",
                    "ip:2001:db8::/32",
                    "ip:192.0.2.0/24",
                    "email:@example.internal",
                    "uri:spiffe://example.internal/",
                ),
                wildcards=True,
            ),
        )
    }
)

NAMES: dict[Kind, tuple[str, ...]] = {
    Kind.NODE: ("dns:node.example.internal", "uri:spiffe://example.internal/node"),
    Kind.SERVICE: ("dns:www.example.internal", "ip:2001:db8::1"),
    Kind.USER: ("email:who@example.internal",),
    Kind.RESPONDER: ("dns:ocsp.example.internal",),
}

LEAVES: dict[str, tuple[KeyKind, ...]] = {
    "classic": (KeyKind.P256, KeyKind.P384, KeyKind.ED25519),
    "pq": (KeyKind.ML_DSA_44, KeyKind.ML_DSA_65),
    "hybrid": (KeyKind.P256, KeyKind.ED25519),
}


@dataclass(frozen=True)
class Company:
    """A root and what its issuing CA is opened with."""

    offline: Path
    online: Path
    profile: Profile
    root: Root
    signer: Signer
    second: FalconKey | None
    log: MemoryLog
    acts: MemoryActs
    place: Place | None = None
    """The database of the issuing CA; None: a file."""

    def store(self) -> CertificateStore:
        return store_in(self.online, self.place)

    def open(self) -> IssuingAuthority:
        return open_issuing(
            self.online,
            self.root.certificate,
            self.signer,
            self.second,
            self.log,
            EVERYTHING,
            self.acts,
            self.store(),
        )


def store_in(online: Path, place: Place | None) -> CertificateStore:
    if place is None:
        return SqliteStore(online)
    from hypermesh.trustchain.ca.postgresql_store import PostgresqlStore

    return PostgresqlStore(place)


def company(
    directory: Path, profile: str, *, shards: int = 4, place: Place | None = None
) -> Company:
    """The whole ceremony in `directory`."""
    chosen = PROFILES[profile]
    offline, online = directory / "offline", directory / "online"
    root = found_root(offline, KeyStore(offline / "keys"), "Example", chosen, PLACES, NOW)
    signer, second = stored_signer(
        KeyStore(online / "keys"), "issuing", chosen.issuing, is_hybrid=chosen.is_hybrid
    )
    request = request_issuing(online, signer, second, "Example")
    certificate = root.certify_issuing(request, NOW)
    store = store_in(online, place)
    install(online, certificate, root.certificate, chosen, PLACES, NOW, shards, store=store)
    store.close()
    log, acts = MemoryLog(NOW * 1000), MemoryActs()
    return Company(offline, online, chosen, root, signer, second, log, acts, place)


def named(*texts: str) -> tuple[Name, ...]:
    return tuple(map(Name.parse, texts))


def request(
    key: Signer, names: Sequence[str], second: FalconKey | None = None, common: str = ""
) -> bytes:
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common)] if common else []
    return write_request(key, x509.Name(attributes), named(*names), second)


def order(
    authority: IssuingAuthority,
    kind: Kind = Kind.SERVICE,
    key: KeySigner | None = None,
    reference: bytes = b"",
    names: Sequence[str] | None = None,
) -> Order:
    """An order that the authority takes, by a new key unless one is given."""
    profile = authority.profile
    key = key or KeySigner.generate(LEAVES[profile.name][0])
    second = FalconKey.generate() if profile.is_hybrid and kind is Kind.NODE else None
    der = request(key, NAMES[kind] if names is None else names, second)
    return Order(der, kind, "tester", reference=reference)


def parsed(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def pem(der: bytes) -> bytes:
    return parsed(der).public_bytes(Encoding.PEM)


def issued(authority: IssuingAuthority, kind: Kind = Kind.SERVICE) -> IssuedCertificate:
    return authority.issue(order(authority, kind), NOW)
