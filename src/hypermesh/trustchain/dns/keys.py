"""The key of a zone, one for all it signs (a CSK): made once, kept in the key store, shown by the
DNSKEY, CDS and CDNSKEY records of the zone and by the DS record that goes into the zone above."""

from __future__ import annotations

import enum
import hashlib

import dns.dnssec
import dns.rdata
import dns.rdataclass
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dns.rdatatype import RdataType

from hypermesh import _native
from hypermesh._native import DnsKey
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.dns.records import RecordSet, decoded
from hypermesh.wire.codec import decode, encode

SIGNATURE_S = 14 * 24 * 60 * 60
"""Seconds; how long a signature is good. It is made anew when three quarters of that are over."""

KEY_TTL_S = 3600

_SHA_256 = "SHA256"


class Algorithm(enum.IntEnum):
    """DNSSEC algorithms (IANA) that zones are signed by."""

    ECDSA_P256_SHA256 = 13
    ED25519 = 15
    FALCON_512 = 253
    """An experiment: PRIVATEDNS, told from others by the name `falcon-512.hm.internal` before the
    key and before each signature (RFC 4034 appendix A.1.1). No validator but one of ours knows it,
    to the others the zone is as one that is not signed."""


class StoredKey(msgspec.Struct, frozen=True, array_like=True):
    """A zone's key in the key store; `secret` is PKCS #8, of FALCON-512 its own encoding."""

    algorithm: int
    secret: bytes


def key_name(apex: bytes) -> str:
    """The name in the key store of the key of the zone `apex`, unless another is asked for."""
    return f"dns-{hashlib.sha256(apex).hexdigest()[:32]}"


def stored_or_new(keys: KeyStore, name: str, algorithm: Algorithm) -> DnsKey:
    """The key called `name`, made where there is none. One that is there keeps its algorithm."""
    if name not in keys:
        keys.put(name, encode(StoredKey(algorithm, _generated(algorithm))))
    stored = decode(StoredKey, keys.get(name))
    return DnsKey(stored.algorithm, stored.secret, SIGNATURE_S)


def _generated(algorithm: Algorithm) -> bytes:
    if algorithm is Algorithm.FALCON_512:
        return _native.falcon512_generate()
    secret = (
        Ed25519PrivateKey.generate()
        if algorithm is Algorithm.ED25519
        else ec.generate_private_key(ec.SECP256R1())
    )
    return secret.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def key_sets(apex: bytes, key: DnsKey) -> list[RecordSet]:
    """What the zone `apex` shows of its key: DNSKEY, and CDS and CDNSKEY (RFC 7344), from which the
    zone above may take its DS record."""
    dnskey = key.dnskey()
    return [
        RecordSet(apex, RdataType.DNSKEY, KEY_TTL_S, (dnskey,)),
        RecordSet(apex, RdataType.CDS, KEY_TTL_S, (ds(apex, dnskey),)),
        RecordSet(apex, RdataType.CDNSKEY, KEY_TTL_S, (dnskey,)),
    ]


def ds(apex: bytes, dnskey: bytes) -> bytes:
    """The data of the DS record, by SHA-256 (RFC 4509), for the DNSKEY data of the zone `apex`."""
    key = dns.rdata.from_wire(dns.rdataclass.IN, RdataType.DNSKEY, dnskey, 0, len(dnskey))
    return dns.dnssec.make_ds(decoded(apex), key, _SHA_256).to_digestable()
