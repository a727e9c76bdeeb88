"""Nodes as witnesses of their network's logs: by which keys, and under which name.

A node cosigns by the keys of its identity, which the ledger knows, under its name in its
certificate: one line of each kind (`ct.checkpoint`). What a line signs begins with
"cosignature/v1", as nothing else does that these keys sign.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from hypermesh.crypto.falcon import SECRET_BYTES, FalconKey
from hypermesh.crypto.keys import KeyInvalid, QuantumKeys
from hypermesh.trustchain.certificate import server_name
from hypermesh.trustchain.ct.checkpoint import CosignatureVerifier, FalconCosignatureVerifier
from hypermesh.trustchain.ct.note import Verifier
from hypermesh.wire.ids import GenesisId, NodeId
from hypermesh.wire.keys import PublicKeys

_ALGORITHM_BYTES = 1
_PREFIX_DIGITS = 16


def cosigner_verifiers(
    node: NodeId, public: PublicKeys, genesis: GenesisId
) -> tuple[Verifier, ...]:
    """By which lines `node`, whose keys are `public`, cosigns; both are demanded."""
    name = server_name(node, genesis)
    return (
        CosignatureVerifier(name, public.ed25519),
        FalconCosignatureVerifier(name, public.falcon),
    )


def cosigner_prefix(name: str, genesis: GenesisId) -> bytes | None:
    """The first 8 bytes of the id of the node that cosigns under `name`; None where it is no name
    of a node of the network."""
    digits = name[:_PREFIX_DIGITS]
    try:
        prefix = bytes.fromhex(digits)
    except ValueError:
        return None
    return prefix if server_name(prefix, genesis) == name else None


def cosigning_keys(keys: QuantumKeys) -> tuple[Ed25519PrivateKey, FalconKey]:
    """Both secret keys of a node, each by itself."""
    ed25519 = load_der_private_key(keys.ed25519_pkcs8(), None)
    if not isinstance(ed25519, Ed25519PrivateKey):
        raise KeyInvalid("A node's first key is no Ed25519 key")
    secret = keys.secret_bytes()[_ALGORITHM_BYTES:][:SECRET_BYTES]
    return ed25519, FalconKey.from_secret_bytes(secret)
