from __future__ import annotations

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.crypto.encryption import (
    PLAINTEXT_BYTES_MAX,
    SECRET_BYTES,
    TAG_BYTES,
    Envelope,
    EnvelopeUnreadable,
    QuantumEncryption,
)
from hypermesh.crypto.keys import KeyInvalid
from hypermesh.wire.codec import SIZE_MAX, Undecodable, decode, encode
from hypermesh.wire.errors import InvalidInput


@pytest.fixture(scope="module")
def pair() -> QuantumEncryption:
    return QuantumEncryption.generate()


@given(st.binary(max_size=5000), st.binary(max_size=100))
def test_opens_what_was_sealed_after_a_journey(pair, plaintext, associated):
    envelope = QuantumEncryption.seal(pair.public, plaintext, associated)
    arrived = decode(Envelope, encode(envelope))
    assert pair.open(arrived, associated) == plaintext
    assert len(envelope.ciphertext) == len(plaintext) + TAG_BYTES


def test_each_envelope_is_another(pair):
    first, second = (QuantumEncryption.seal(pair.public, b"same") for _ in range(2))
    assert first.kem != second.kem
    assert first.ciphertext != second.ciphertext


@given(st.sampled_from(["kem", "ciphertext"]), st.integers(min_value=0, max_value=2**16))
def test_any_altered_bit_is_refused(pair, part, bit):
    envelope = QuantumEncryption.seal(pair.public, b"a secret of some length", b"bound")
    data = bytearray(getattr(envelope, part))
    bit %= 8 * len(data)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnvelopeUnreadable):
        pair.open(msgspec.structs.replace(envelope, **{part: bytes(data)}), b"bound")


def test_other_keys_other_data_and_torn_bytes_are_refused(pair):
    envelope = QuantumEncryption.seal(pair.public, b"text", b"bound")
    with pytest.raises(EnvelopeUnreadable):
        QuantumEncryption.generate().open(envelope, b"bound")
    for associated in (b"", b"bounds", b"Bound"):
        with pytest.raises(EnvelopeUnreadable):
            pair.open(envelope, associated)
    for torn in (
        msgspec.structs.replace(envelope, algorithm=2),
        msgspec.structs.replace(envelope, kem=envelope.kem[:-1]),
        msgspec.structs.replace(envelope, kem=b""),
        msgspec.structs.replace(envelope, ciphertext=envelope.ciphertext[:-1]),
        msgspec.structs.replace(envelope, ciphertext=b""),
    ):
        with pytest.raises(EnvelopeUnreadable):
            pair.open(torn, b"bound")
        with pytest.raises((Undecodable, EnvelopeUnreadable)):
            pair.open(decode(Envelope, encode(torn)), b"bound")


def test_the_largest_envelope_is_still_a_message(pair):
    envelope = QuantumEncryption.seal(pair.public, bytes(PLAINTEXT_BYTES_MAX))
    encoded = encode(envelope)
    assert len(encoded) <= SIZE_MAX
    assert decode(Envelope, encoded) == envelope
    with pytest.raises(InvalidInput):
        QuantumEncryption.seal(pair.public, bytes(PLAINTEXT_BYTES_MAX + 1))


def test_secrets_restore_and_stay_hidden(pair):
    secret = pair.secret_bytes()
    assert len(secret) == SECRET_BYTES
    again = QuantumEncryption.from_secret_bytes(secret)
    assert again.public == pair.public
    assert again.open(QuantumEncryption.seal(pair.public, b"text")) == b"text"
    assert secret[:16].hex() not in repr(pair)
    with pytest.raises(TypeError, match="KeyStore"):
        pickle.dumps(pair)


def test_what_is_no_key_is_refused(pair):
    secret = bytearray(pair.secret_bytes())
    secret[2000] ^= 1
    for damaged in (b"", bytes(secret), pair.secret_bytes()[:-1]):
        with pytest.raises(KeyInvalid):
            QuantumEncryption.from_secret_bytes(damaged)
    for public in (b"", pair.public[:-1], b"\xff" * len(pair.public)):
        with pytest.raises(KeyInvalid):
            QuantumEncryption.seal(public, b"text")
