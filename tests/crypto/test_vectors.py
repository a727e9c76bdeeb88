"""Frozen bytes, each made by something other than the code that is checked here."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key

from hypermesh.crypto import falcon, merkle
from hypermesh.crypto.digest import digest, digest_many, digest_of
from hypermesh.crypto.encryption import ENVELOPE_V1, Envelope, QuantumEncryption
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.crypto.signature import sign, verify
from hypermesh.wire.keys import HYBRID_V1, PublicKeys, QuantumSignature


def test_the_second_blake3_gives_the_published_values(blake3_plain, blake3_derive):
    assert blake3_plain(b"").hex() == (
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    )
    context = "BLAKE3 2019-12-27 16:29:52 test vectors context"
    assert blake3_derive(context, b"").hex() == (
        "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d"
    )


def test_digests(vector, blake3_derive):
    data = bytes(index % 251 for index in range(4000))
    for entry in vector("digest"):
        name, part = entry["name"], data[: entry["length"]]
        assert digest(name, part) == entry["digest"]
        assert digest_many(name, [b"", part]) == [digest(name, b""), entry["digest"]]
        assert blake3_derive(f"hypermesh/v1/{name}", part) == entry["digest"]


def test_ed25519(vector):
    falcon_secret = FalconKey.generate().secret_bytes()
    for entry in vector("ed25519"):
        keys = QuantumKeys.from_secret_bytes(b"\x01" + falcon_secret + entry["secret"])
        assert keys.public.ed25519 == entry["public"]
        loaded = load_der_private_key(keys.ed25519_pkcs8(), password=None)
        assert isinstance(loaded, Ed25519PrivateKey)
        assert loaded.sign(entry["message"]) == entry["signature"]


def test_falcon(vector):
    entries = vector("falcon")
    assert {entry["made_by"].split()[0].rstrip(",") for entry in entries} == {"PQClean", "fn-dsa"}
    for entry in entries:
        assert falcon.holds(entry["public"], entry["message"], entry["signature"])
        assert not falcon.holds(entry["public"], entry["message"] + b"x", entry["signature"])
        key = FalconKey.from_secret_bytes(entry["secret"])
        assert key.public == entry["public"]
        assert falcon.holds(entry["public"], b"again", key.sign(b"again"))


def test_hybrid_signature(vector):
    frozen = vector("hybrid")
    keys = QuantumKeys.from_secret_bytes(frozen["secret"])
    public = PublicKeys(HYBRID_V1, frozen["falcon"], frozen["ed25519"])
    assert keys.public == public
    assert keys.id == key_id(public) == digest_of("keys", public) == frozen["id"]

    domain, genesis, message = frozen["domain"], frozen["genesis"], frozen["message"]
    signature = QuantumSignature(HYBRID_V1, frozen["signature_falcon"], frozen["signature_ed25519"])
    verify(public, domain, genesis, message, signature)
    assert sign(keys, domain, genesis, message).ed25519 == signature.ed25519

    prehash = frozen["prehash"]
    assert digest(f"sign/{domain}", genesis + message) == prehash
    assert falcon.holds(public.falcon, prehash, signature.falcon)
    Ed25519PublicKey.from_public_bytes(public.ed25519).verify(signature.ed25519, prehash)


def test_envelope(vector, blake3_derive):
    frozen = vector("envelope")
    pair = QuantumEncryption.from_secret_bytes(frozen["secret"])
    independent = MLKEM1024PrivateKey.from_seed_bytes(frozen["seed"])
    assert pair.public == independent.public_key().public_bytes_raw() == frozen["public"]
    assert independent.decapsulate(frozen["kem"]) == frozen["shared"]

    material = blake3_derive("hypermesh/v1/envelope", frozen["shared"] + frozen["kem"], 44)
    assert material == frozen["key"] + frozen["nonce"]
    envelope = Envelope(ENVELOPE_V1, frozen["kem"], frozen["ciphertext"])
    assert pair.open(envelope, frozen["associated"]) == frozen["plaintext"]


def test_what_we_seal_another_implementation_opens(vector, blake3_derive):
    frozen = vector("envelope")
    envelope = QuantumEncryption.seal(frozen["public"], b"fresh", b"bound")
    shared = MLKEM1024PrivateKey.from_seed_bytes(frozen["seed"]).decapsulate(envelope.kem)
    material = blake3_derive("hypermesh/v1/envelope", shared + envelope.kem, 44)
    plaintext = AESGCM(material[:32]).decrypt(material[32:], envelope.ciphertext, b"bound")
    assert plaintext == b"fresh"


def test_merkle_roots(vector):
    for entry in vector("merkle"):
        leaves = [number.to_bytes(4, "big") for number in range(entry["count"])]
        assert merkle.root(leaves) == entry["root"]


ML_DSA = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}
ML_KEM = {"ML-KEM-768": MLKEM768PrivateKey, "ML-KEM-1024": MLKEM1024PrivateKey}


def test_ml_dsa(vector):
    """Keys from their seeds, signatures as the standard makes them without random bytes."""
    entries = vector("mldsa")
    assert [entry["name"] for entry in entries] == [name for name in ML_DSA for _ in range(5)]
    for entry in entries:
        key = ML_DSA[entry["name"]].from_seed_bytes(entry["seed"])
        public = key.public_key()
        assert hashlib.sha256(public.public_bytes_raw()).digest() == entry["public_sha256"]
        message, context = entry["message"], entry["context"]
        public.verify(entry["signature"], message, context)
        public.verify(key.sign(message, context), message, context)
        for wrong in ((message + b"x", context), (message, context[1:]), (message, b"")):
            with pytest.raises(InvalidSignature):
                public.verify(entry["signature"], *wrong)


@pytest.mark.parametrize("name", ML_DSA)
def test_no_byte_of_an_ml_dsa_signature_can_be_changed(vector, name):
    entry = next(entry for entry in vector("mldsa") if entry["name"] == name)
    public = ML_DSA[name].from_seed_bytes(entry["seed"]).public_key()
    signature = bytearray(entry["signature"])
    passed = []
    for position in range(len(signature)):
        signature[position] ^= 1 << position % 8
        try:
            public.verify(bytes(signature), entry["message"], entry["context"])
        except InvalidSignature:
            pass
        else:
            passed.append(position)
        signature[position] ^= 1 << position % 8
    public.verify(bytes(signature), entry["message"], entry["context"])
    assert passed == []


def test_ml_kem(vector):
    """Keys from their seeds, what a ciphertext holds, and what an altered one gives instead (FIPS
    203 section 6.3: a secret that nobody else has). aws-lc answers the same in `hm-crypto`."""
    entries = vector("mlkem")
    assert [entry["name"] for entry in entries] == [name for name in ML_KEM for _ in range(3)]
    for entry in entries:
        key = ML_KEM[entry["name"]].from_seed_bytes(entry["seed"])
        public = key.public_key().public_bytes_raw()
        assert hashlib.sha256(public).digest() == entry["public_sha256"]
        assert key.decapsulate(entry["ciphertext"]) == entry["shared"]
        assert key.decapsulate(entry["altered"]) == entry["altered_shared"]
        shared, ciphertext = key.public_key().encapsulate()
        assert key.decapsulate(ciphertext) == shared
