from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.crypto.signature import SignatureInvalid, sign, verify
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.keys import PublicKeys, QuantumSignature

GENESIS = bytes(range(32))
MESSAGE = b"what is signed"
FALCON, ED25519 = "FALCON-1024", "Ed25519"


@pytest.fixture(scope="session")
def signature(keys) -> QuantumSignature:
    return sign(keys, "tx", GENESIS, MESSAGE)


def flipped(data: bytes, bit: int) -> bytes:
    bit %= 8 * len(data)
    altered = bytearray(data)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def failing(public: PublicKeys, signature: QuantumSignature, **changed: object) -> tuple[str, ...]:
    """The halves that a refusal names, where everything but `changed` is as it was signed."""
    stated = {"domain": "tx", "genesis": GENESIS, "message": MESSAGE, **changed}
    with pytest.raises(SignatureInvalid) as caught:
        verify(public, stated["domain"], stated["genesis"], stated["message"], signature)
    assert all(half in str(caught.value) for half in caught.value.halves)
    return caught.value.halves


bits = st.integers(min_value=0, max_value=2**16)


def test_both_halves_hold(keys, signature):
    verify(keys.public, "tx", GENESIS, MESSAGE, signature)


@given(st.binary(max_size=2000), st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True))
def test_any_message_in_any_domain(keys, message, domain):
    verify(keys.public, domain, GENESIS, message, sign(keys, domain, GENESIS, message))


@given(bits)
def test_a_bit_of_the_falcon_signature(keys, signature, bit):
    altered = msgspec.structs.replace(signature, falcon=flipped(signature.falcon, bit))
    assert failing(keys.public, altered) == (FALCON,)


@given(bits)
def test_a_bit_of_the_ed25519_signature(keys, signature, bit):
    altered = msgspec.structs.replace(signature, ed25519=flipped(signature.ed25519, bit))
    assert failing(keys.public, altered) == (ED25519,)


@given(bits)
def test_a_bit_of_the_falcon_key(keys, signature, bit):
    altered = msgspec.structs.replace(keys.public, falcon=flipped(keys.public.falcon, bit))
    assert failing(altered, signature) == (FALCON,)


@given(bits)
def test_a_bit_of_the_ed25519_key(keys, signature, bit):
    altered = msgspec.structs.replace(keys.public, ed25519=flipped(keys.public.ed25519, bit))
    assert failing(altered, signature) == (ED25519,)


@given(bits)
def test_a_bit_of_the_message_or_the_genesis_id(keys, signature, bit):
    assert failing(keys.public, signature, message=flipped(MESSAGE, bit)) == (FALCON, ED25519)
    assert failing(keys.public, signature, genesis=flipped(GENESIS, bit)) == (FALCON, ED25519)


@pytest.mark.parametrize("domain", ["t", "ty", "tx-", "tx1", "offer"])
def test_another_domain(keys, signature, domain):
    assert failing(keys.public, signature, domain=domain) == (FALCON, ED25519)


def test_bytes_cannot_move_between_genesis_id_and_message(keys):
    signature = sign(keys, "tx", GENESIS, b"ab")
    moved = failing(keys.public, signature, genesis=GENESIS[1:] + b"a", message=b"b")
    assert moved == (FALCON, ED25519)


def test_halves_of_two_signers_do_not_mix(keys, other_keys, signature):
    theirs = sign(other_keys, "tx", GENESIS, MESSAGE)
    mixed = msgspec.structs.replace(signature, falcon=theirs.falcon)
    assert failing(keys.public, mixed) == (FALCON,)
    assert failing(other_keys.public, mixed) == (ED25519,)
    assert failing(other_keys.public, signature) == (FALCON, ED25519)


@pytest.mark.parametrize("length", [0, 1, 63, 1279, 1281, 5000])
def test_halves_and_keys_of_a_wrong_length_fail(keys, signature, length):
    junk = b"x" * length
    assert failing(keys.public, msgspec.structs.replace(signature, falcon=junk)) == (FALCON,)
    assert failing(keys.public, msgspec.structs.replace(signature, ed25519=junk)) == (ED25519,)
    assert failing(msgspec.structs.replace(keys.public, falcon=junk), signature) == (FALCON,)
    assert failing(msgspec.structs.replace(keys.public, ed25519=junk), signature) == (ED25519,)


def test_an_unknown_algorithm_fails_before_any_half_is_tried(keys, signature):
    for public, signed in (
        (msgspec.structs.replace(keys.public, algorithm=2), signature),
        (keys.public, msgspec.structs.replace(signature, algorithm=2)),
    ):
        assert failing(public, signed) == ()


@pytest.mark.parametrize(
    ("domain", "genesis"),
    [("", GENESIS), ("Tx", GENESIS), ("a/b", GENESIS), ("x" * 33, GENESIS), ("tx", GENESIS[:31])],
)
def test_a_malformed_statement_is_refused_by_both_sides(keys, signature, domain, genesis):
    with pytest.raises(InvalidInput):
        sign(keys, domain, genesis, MESSAGE)
    with pytest.raises(InvalidInput):
        verify(keys.public, domain, genesis, MESSAGE, signature)


def test_falcon_is_randomised_and_ed25519_is_not(keys, signature):
    again = sign(keys, "tx", GENESIS, MESSAGE)
    assert again.falcon != signature.falcon
    assert again.ed25519 == signature.ed25519


def test_one_key_signs_in_several_threads(keys):
    messages = [bytes([number]) for number in range(24)]
    with ThreadPoolExecutor(max_workers=4) as threads:
        signatures = list(threads.map(lambda text: sign(keys, "tx", GENESIS, text), messages))
    for message, signed in zip(messages, signatures, strict=True):
        verify(keys.public, "tx", GENESIS, message, signed)
