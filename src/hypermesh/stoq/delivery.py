"""Signed proof of delivery: pure functions over what both ends sign.

A relay that hands bytes on can prove its part in the same way: the signatures bind who gave which
bytes to whom, when, and under which transfer, and no connection.
"""

from __future__ import annotations

from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.crypto.signature import sign, verify
from hypermesh.wire.codec import encode
from hypermesh.wire.delivery import Delivery, DeliveryProof
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.keys import PublicKeys, QuantumSignature

DOMAIN = "delivery"


class DeliveryInvalid(HyperMeshError):
    """What is said of a delivery is not what happened, or not by those who took part."""

    code = "HM-SEND-0001"
    status = 403
    exit_code = 9
    title = "The proof of delivery does not hold"


def prove(keys: QuantumKeys, delivery: Delivery) -> QuantumSignature:
    """One end's signatures over `delivery`."""
    return sign(keys, DOMAIN, delivery.genesis, encode(delivery))


def verify_signature(public: PublicKeys, delivery: Delivery, signature: QuantumSignature) -> None:
    """Return only where `public` is that of one of the two ends and has signed `delivery`. Raises
    `DeliveryInvalid`, `SignatureInvalid`."""
    if key_id(public) not in (delivery.sender, delivery.receiver):
        raise DeliveryInvalid(why="the keys are those of neither end")
    verify(public, DOMAIN, delivery.genesis, encode(delivery), signature)


def verify_proof(proof: DeliveryProof) -> None:
    """Return only where both ends have signed. Raises `DeliveryInvalid`, `SignatureInvalid`."""
    delivery = proof.delivery
    for end, node, keys, signature in (
        ("sender", delivery.sender, proof.sender, proof.sender_signature),
        ("receiver", delivery.receiver, proof.receiver, proof.receiver_signature),
    ):
        if key_id(keys) != node:
            raise DeliveryInvalid(why=f"the {end}'s keys are not those of the node it names")
        verify_signature(keys, delivery, signature)
