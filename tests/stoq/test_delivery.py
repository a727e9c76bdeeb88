"""A proof of delivery holds as a whole or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import SignatureInvalid
from hypermesh.stoq.delivery import DeliveryInvalid, prove, verify_proof, verify_signature
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.delivery import Delivery, DeliveryProof


@pytest.fixture(scope="module")
def proof() -> DeliveryProof:
    alice, bob = QuantumKeys.generate(), QuantumKeys.generate()
    delivery = Delivery(
        genesis=bytes(32),
        transfer=bytes(16),
        sender=bob.id,
        receiver=alice.id,
        name="data.bin",
        size=3,
        root=bytes(range(32)),
        time_ms=1_000,
    )
    return DeliveryProof(
        delivery, bob.public, alice.public, prove(bob, delivery), prove(alice, delivery)
    )


def test_both_ends_have_signed(proof: DeliveryProof) -> None:
    verify_proof(proof)
    verify_proof(decode(DeliveryProof, encode(proof)))


@pytest.mark.parametrize("name", Delivery.__struct_fields__)
def test_a_delivery_with_any_member_altered_is_refused(proof: DeliveryProof, name: str) -> None:
    value: Any = getattr(proof.delivery, name)
    if isinstance(value, bytes):
        value = bytes([value[0] ^ 1]) + value[1:]
    else:
        value = value + type(value)(1)
    delivery = msgspec.structs.replace(proof.delivery, **{name: value})
    with pytest.raises((SignatureInvalid, DeliveryInvalid)):
        verify_proof(msgspec.structs.replace(proof, delivery=delivery))


@pytest.mark.parametrize("name", ["sender_signature", "receiver_signature"])
@pytest.mark.parametrize("half", ["falcon", "ed25519"])
def test_each_half_of_each_signature_counts(proof: DeliveryProof, name: str, half: str) -> None:
    signature = getattr(proof, name)
    bad = bytearray(getattr(signature, half))
    bad[50] ^= 1
    altered = msgspec.structs.replace(signature, **{half: bytes(bad)})
    with pytest.raises(SignatureInvalid):
        verify_proof(msgspec.structs.replace(proof, **{name: altered}))


def test_ends_cannot_be_swapped_nor_one_sign_for_both(proof: DeliveryProof) -> None:
    swapped = DeliveryProof(
        proof.delivery,
        proof.receiver,
        proof.sender,
        proof.receiver_signature,
        proof.sender_signature,
    )
    with pytest.raises(DeliveryInvalid):
        verify_proof(swapped)
    with pytest.raises(SignatureInvalid):
        verify_proof(msgspec.structs.replace(proof, receiver_signature=proof.sender_signature))


def test_a_stranger_signs_nothing(proof: DeliveryProof) -> None:
    eve = QuantumKeys.generate()
    with pytest.raises(DeliveryInvalid):
        verify_signature(eve.public, proof.delivery, prove(eve, proof.delivery))
