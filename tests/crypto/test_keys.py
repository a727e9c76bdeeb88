from __future__ import annotations

import copy
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import KeyInvalid, QuantumKeys, key_id
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.keys import HYBRID_V1, PublicKeys


def test_each_pair_is_new(keys, other_keys):
    assert keys.id != other_keys.id
    assert keys.public.falcon != other_keys.public.falcon
    assert keys.public.ed25519 != other_keys.public.ed25519


def test_public_keys_travel(keys):
    assert decode(PublicKeys, encode(keys.public)) == keys.public
    assert keys.id == key_id(keys.public) == digest_of("keys", keys.public)


def test_the_id_depends_on_both_keys(keys, other_keys):
    swapped = [
        PublicKeys(HYBRID_V1, keys.public.falcon, other_keys.public.ed25519),
        PublicKeys(HYBRID_V1, other_keys.public.falcon, keys.public.ed25519),
    ]
    assert len({keys.id, other_keys.id, *map(key_id, swapped)}) == 4


def test_secrets_restore(keys):
    again = QuantumKeys.from_secret_bytes(keys.secret_bytes())
    assert again == keys
    assert hash(again) == hash(keys)
    assert again.public == keys.public
    assert again.ed25519_pkcs8() == keys.ed25519_pkcs8()


def test_no_accident_shows_a_secret(keys):
    for secret_holder in (keys, FalconKey.generate()):
        secret = secret_holder.secret_bytes()
        for shown in (repr(secret_holder), str(secret_holder), f"{secret_holder!r:>5}"):
            assert secret[-16:].hex() not in shown
            assert secret[1:17].hex() not in shown
        with pytest.raises(TypeError, match="KeyStore"):
            pickle.dumps(secret_holder)
        with pytest.raises(TypeError, match="KeyStore"):
            copy.deepcopy(secret_holder)


def test_keys_do_not_change(keys):
    for name in ("public", "id", "native"):
        with pytest.raises(AttributeError):
            setattr(keys, name, None)
    with pytest.raises(AttributeError):
        keys.public.falcon = b""


@pytest.mark.parametrize("cut", [0, 1, 33, 2337])
def test_torn_secrets_are_refused(keys, cut):
    with pytest.raises(KeyInvalid):
        QuantumKeys.from_secret_bytes(keys.secret_bytes()[:cut])


@pytest.mark.parametrize("at", [0, 1])
def test_another_algorithm_or_degree_is_refused(keys, at):
    secret = bytearray(keys.secret_bytes())
    secret[at] ^= 1
    with pytest.raises(KeyInvalid):
        QuantumKeys.from_secret_bytes(bytes(secret))


@given(st.binary(max_size=3000))
def test_noise_is_no_key(noise):
    with pytest.raises(KeyInvalid):
        QuantumKeys.from_secret_bytes(noise)
    with pytest.raises(KeyInvalid):
        FalconKey.from_secret_bytes(noise)


def test_an_id_needs_whole_keys(keys):
    for torn in (
        msgspec.structs.replace(keys.public, falcon=keys.public.falcon[:-1]),
        msgspec.structs.replace(keys.public, ed25519=keys.public.ed25519 + b"x"),
    ):
        with pytest.raises(KeyInvalid):
            key_id(torn)
