"""Making, checking and opening parcels. Pure but for the randomness of keys and signatures: the
time is an argument.

What is checked before a parcel is accepted, in this order: its times, its hops, that its content is
what the header names, and the source's signature over the header. So an altered byte anywhere is
refused, and nothing that is old or going round costs a signature's check.
"""

from __future__ import annotations

import msgspec

from hypermesh.crypto.digest import digest, digest_of
from hypermesh.crypto.encryption import Envelope, EnvelopeUnreadable, QuantumEncryption
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import SignatureInvalid, sign, verify
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import ZERO_HASH, GenesisId, Hash, NodeId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.parcel import (
    BODY_BYTES_MAX,
    CLOCK_TOLERANCE_MS,
    CONTENT_BYTES_MAX,
    HOPS_MAX,
    LIFETIME_MS_MAX,
    LIFETIME_MS_MIN,
    HopsSpent,
    Parcel,
    ParcelExpired,
    ParcelForged,
    ParcelHeader,
    ParcelKind,
    ParcelMisdated,
    ParcelOffer,
    ParcelOutcome,
    ParcelUnreadable,
    Report,
    SealingKey,
    SignedSealingKey,
)

DOMAIN = "parcel"
KEY_DOMAIN = "parcel-key"
REPORT_LIFETIME_MS = 7 * 24 * 60 * 60 * 1000


def parcel_id(header: ParcelHeader) -> Hash:
    """What names the parcel: the same for the same message under another signature."""
    return digest_of("parcel", header)


def seal(
    keys: QuantumKeys,
    genesis: GenesisId,
    to: SealingKey,
    service: int,
    body: bytes,
    *,
    now_ms: int,
    lifetime_ms: int,
) -> Parcel:
    """A message from the node of `keys` to `service` at the node of `to`.

    Raises `InvalidInput` for a body that is too long or a lifetime that is too short or too long.
    """
    if len(body) > BODY_BYTES_MAX:
        raise InvalidInput(
            f"A message of {len(body)} bytes does not fit a parcel",
            why=f"at most {BODY_BYTES_MAX} do",
            fix="Send the file itself when both nodes are up, and its name in a parcel",
        )
    if not LIFETIME_MS_MIN <= lifetime_ms <= LIFETIME_MS_MAX:
        raise InvalidInput(
            f"A parcel cannot live for {lifetime_ms} ms",
            why=f"it lives from {LIFETIME_MS_MIN} to {LIFETIME_MS_MAX} ms",
        )
    header = ParcelHeader(
        kind=ParcelKind.MESSAGE,
        source=keys.id,
        destination=to.node,
        service=service,
        created_ms=now_ms,
        expires_ms=now_ms + lifetime_ms,
        hops_max=HOPS_MAX,
        content=ZERO_HASH,
    )
    envelope = QuantumEncryption.seal(to.public, body, _bound(header))
    return _signed(keys, genesis, header, encode(envelope))


def report(
    keys: QuantumKeys, genesis: GenesisId, about: ParcelHeader, outcome: ParcelOutcome, now_ms: int
) -> Parcel:
    """What the node of `keys` says became of a message, for the message's source."""
    header = ParcelHeader(
        kind=ParcelKind.REPORT,
        source=keys.id,
        destination=about.source,
        service=about.service,
        created_ms=now_ms,
        expires_ms=now_ms + REPORT_LIFETIME_MS,
        hops_max=HOPS_MAX,
        content=ZERO_HASH,
    )
    return _signed(keys, genesis, header, encode(Report(parcel_id(about), outcome, now_ms)))


def is_over(header: ParcelHeader, now_ms: int) -> bool:
    """Whether a parcel has expired on every clock that is right within the tolerance."""
    return now_ms > header.expires_ms + CLOCK_TOLERANCE_MS


def check_way(offer: ParcelOffer, now_ms: int) -> None:
    """Raise `ParcelExpired`, `ParcelMisdated` or `HopsSpent` where this parcel goes no further."""
    header = offer.parcel.header
    if is_over(header, now_ms):
        raise ParcelExpired(why=f"{now_ms - header.expires_ms} ms ago, by this node's clock")
    if header.created_ms > now_ms + CLOCK_TOLERANCE_MS:
        raise ParcelMisdated(
            why=f"it was made {header.created_ms - now_ms} ms after now, by this node's clock"
        )
    lifetime_ms = header.expires_ms - header.created_ms
    if not LIFETIME_MS_MIN <= lifetime_ms <= LIFETIME_MS_MAX:
        raise ParcelMisdated(why=f"it would live for {lifetime_ms} ms")
    if offer.hops >= header.hops_max:
        raise HopsSpent(why=f"{offer.hops} of {header.hops_max}")


def check_signed(parcel: Parcel, source: PublicKeys, genesis: GenesisId) -> None:
    """Raise `ParcelForged` where `parcel` is not what the node of the keys `source` signed."""
    header = parcel.header
    if len(parcel.content) > CONTENT_BYTES_MAX or _content(parcel.content) != header.content:
        raise ParcelForged(why="its content is not the one that the header names")
    try:
        verify(source, DOMAIN, genesis, encode(header), parcel.signature)
    except SignatureInvalid as error:
        raise ParcelForged(why=error.why) from error


def opened(parcel: Parcel, encryption: QuantumEncryption) -> bytes:
    """The message. Raises `ParcelUnreadable`."""
    try:
        envelope = decode(Envelope, parcel.content, size_max=CONTENT_BYTES_MAX)
        return encryption.open(envelope, _bound(parcel.header))
    except (Undecodable, EnvelopeUnreadable) as error:
        raise ParcelUnreadable(why=error.why or error.what) from error


def reported(parcel: Parcel) -> Report:
    """What a report says. Raises `ParcelUnreadable`."""
    try:
        return decode(Report, parcel.content)
    except Undecodable as error:
        raise ParcelUnreadable("The report cannot be read", why=error.why) from error


def is_credible(said: Report, by: NodeId, about: ParcelHeader) -> bool:
    """Whether `by` can know what it reports: only a destination knows of a delivery."""
    return said.outcome is ParcelOutcome.EXPIRED or by == about.destination


def publish(keys: QuantumKeys, genesis: GenesisId, public: bytes, now_ms: int) -> SignedSealingKey:
    """The sealing key `public` under the signature of its node."""
    key = SealingKey(keys.id, public, now_ms)
    return SignedSealingKey(key, sign(keys, KEY_DOMAIN, genesis, encode(key)))


def check_key(record: SignedSealingKey, node: PublicKeys, genesis: GenesisId) -> None:
    """Raise `SignatureInvalid` where the node of the keys `node` did not sign `record`."""
    verify(node, KEY_DOMAIN, genesis, encode(record.key), record.signature)


def _signed(keys: QuantumKeys, genesis: GenesisId, header: ParcelHeader, content: bytes) -> Parcel:
    whole = msgspec.structs.replace(header, content=_content(content))
    return Parcel(whole, content, sign(keys, DOMAIN, genesis, encode(whole)))


def _content(content: bytes) -> Hash:
    return digest("parcel/content", content)


def _bound(header: ParcelHeader) -> bytes:
    """What an envelope is bound to: all of the header but the digest of the envelope. So another
    node cannot sign the same envelope as its own message."""
    return encode(msgspec.structs.replace(header, content=ZERO_HASH))
