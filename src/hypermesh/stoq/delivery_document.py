"""Proofs of delivery as JSON documents: made, and checked offline. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hypermesh.crypto.keys import key_id
from hypermesh.crypto.signature import SignatureInvalid
from hypermesh.stoq.delivery import DeliveryInvalid, verify_signature
from hypermesh.wire.api.transfer import PROOF_BYTES_MAX, DeliveryDocument
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.decoding import json_decoder
from hypermesh.wire.delivery import DeliveryProof
from hypermesh.wire.ids import GenesisId, Hash

KIND = "hypermesh.delivery"


class _Kind(msgspec.Struct, frozen=True):
    """What any document of ours says of itself."""

    kind: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and why it failed."""

    what: str
    rule: str
    why: str = ""

    @property
    def ok(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was checked of a document of a delivery."""

    network: str
    checks: list[Check]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def document(proof: DeliveryProof) -> DeliveryDocument:
    """`proof` with what it says repeated for people."""
    said = proof.delivery
    return DeliveryDocument(
        schema_version=1,
        kind="hypermesh.delivery",
        network=said.genesis.hex(),
        transfer=said.transfer.hex(),
        sender=said.sender.hex(),
        receiver=said.receiver.hex(),
        name=said.name,
        size=said.size,
        root=said.root.hex(),
        time_ms=said.time_ms,
        proof=encode(proof).hex(),
    )


def is_document(text: bytes) -> bool:
    """Whether `text` says that it is one."""
    try:
        said: _Kind = json_decoder(_Kind).decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return said.kind == KIND


def read(text: bytes) -> DeliveryDocument:
    """Raises `DeliveryInvalid` where `text` is no such document."""
    if len(text) > PROOF_BYTES_MAX:
        raise DeliveryInvalid("This is no proof of delivery", why="it is too long")
    try:
        found: DeliveryDocument = json_decoder(DeliveryDocument).decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DeliveryInvalid("This is no proof of delivery", why=str(error)) from error
    return found


def verify_document(
    found: DeliveryDocument, genesis: GenesisId | None, root: Hash | None
) -> Verdict:
    """Every check of a document. `genesis` is the network that it must be of, `root` BLAKE3 of the
    file that it must be about; None leaves either to the document. Raises `DeliveryInvalid` where
    there is nothing to check."""
    try:
        proof = decode(DeliveryProof, bytes.fromhex(found.proof))
    except (Undecodable, ValueError) as error:
        raise DeliveryInvalid("There is no proof in this document", why=str(error)) from error
    said = proof.delivery
    checks = [_repeated(found, proof)]
    for end, node, keys, signature in (
        ("sender", said.sender, proof.sender, proof.sender_signature),
        ("receiver", said.receiver, proof.receiver, proof.receiver_signature),
    ):
        own = "" if key_id(keys) == node else "they are another node's"
        checks.append(Check(f"{end}'s keys", "are those of the node that is named", own))
        why = ""
        try:
            verify_signature(keys, said, signature)
        except (DeliveryInvalid, SignatureInvalid) as error:
            why = error.why or error.what
        checks.append(Check(f"{end}'s signature", "FALCON-1024 and Ed25519, over all of it", why))
    if genesis is not None:
        why = "" if said.genesis == genesis else f"it is of network {said.genesis.hex()}"
        checks.append(Check("network", "is the one that was asked for", why))
    if root is not None:
        why = "" if said.root == root else f"the file's is {root.hex()}"
        checks.append(Check("file", "has the digest that was signed", why))
    return Verdict(said.genesis.hex(), checks)


def _repeated(found: DeliveryDocument, proof: DeliveryProof) -> Check:
    expected = msgspec.structs.asdict(document(proof))
    differing = [
        name for name, value in msgspec.structs.asdict(found).items() if value != expected[name]
    ]
    why = f"not so: {', '.join(differing)}" if differing else ""
    return Check("document", "says what the signed bytes say", why)
