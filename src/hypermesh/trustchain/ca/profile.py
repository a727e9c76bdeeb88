"""What kinds of certificates there are, and which algorithms make them: pure tables.

A `Profile` says with which keys a chain is made, a `Kind` what a certificate is for. Every chain
is root, issuing CA, end entity; a federation CA stands below the root, beside the issuing CA.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.names import NameKind
from hypermesh.wire.errors import InvalidInput

HOUR_S = 60 * 60
DAY_S = 24 * HOUR_S
YEAR_S = 365 * DAY_S

ROOT_LIFETIME_S = 20 * YEAR_S
ISSUING_LIFETIME_S = 5 * YEAR_S
FEDERATION_LIFETIME_S = YEAR_S
LIFETIME_MIN_S = 10 * 60
"""A shorter one could not be renewed before it ends."""


class ProfileUnknown(InvalidInput):
    """No profile or kind of certificate has this name."""

    code = "HM-TRUST-0108"
    title = "There is no such profile of certificates"


class Kind(enum.StrEnum):
    """What an end entity's certificate is for."""

    NODE = "node"
    SERVICE = "service"
    USER = "user"
    RESPONDER = "responder"
    """Answers OCSP for the authority (RFC 6960 section 4.2.2.2)."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """The rules of a `Kind`: its lifetime and the longest one may ask for, in seconds; the
    extended key usages; the kinds of names it carries."""

    lifetime_s: int
    lifetime_max_s: int
    usages: tuple[ObjectIdentifier, ...]
    names: frozenset[NameKind]


PURPOSES: dict[Kind, Purpose] = {
    Kind.NODE: Purpose(
        DAY_S,
        DAY_S,
        (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        frozenset({NameKind.DNS, NameKind.IP, NameKind.URI}),
    ),
    Kind.SERVICE: Purpose(
        7 * DAY_S,
        90 * DAY_S,
        (ExtendedKeyUsageOID.SERVER_AUTH,),
        frozenset({NameKind.DNS, NameKind.IP}),
    ),
    Kind.USER: Purpose(
        7 * DAY_S,
        90 * DAY_S,
        (ExtendedKeyUsageOID.CLIENT_AUTH,),
        frozenset({NameKind.EMAIL, NameKind.URI}),
    ),
    Kind.RESPONDER: Purpose(
        7 * DAY_S,
        30 * DAY_S,
        (ExtendedKeyUsageOID.OCSP_SIGNING,),
        frozenset({NameKind.DNS}),
    ),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """Which keys make a chain. `is_hybrid` ones have FALCON-1024 as alternative signature on every
    certificate, and embed no SCT, for the two would sign each other."""

    name: str
    root: KeyKind
    issuing: KeyKind
    leaves: frozenset[KeyKind]
    is_hybrid: bool = False


_CLASSIC_LEAVES = frozenset({KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA})

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("classic", KeyKind.P384, KeyKind.P256, _CLASSIC_LEAVES),
        Profile(
            "pq",
            KeyKind.ML_DSA_87,
            KeyKind.ML_DSA_65,
            frozenset({KeyKind.ML_DSA_44, KeyKind.ML_DSA_65}),
        ),
        Profile(
            "hybrid",
            KeyKind.P256,
            KeyKind.P256,
            frozenset({KeyKind.P256, KeyKind.P384, KeyKind.ED25519}),
            is_hybrid=True,
        ),
    )
}


def profile_of(name: str) -> Profile:
    """The profile called `name`; raises `ProfileUnknown`."""
    if name not in PROFILES:
        raise ProfileUnknown(why=f"the profiles are {', '.join(PROFILES)}")
    return PROFILES[name]
