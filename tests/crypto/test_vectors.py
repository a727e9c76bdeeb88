"""Frozen bytes, each made by something other than the code that is checked here."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
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
