"""Whose keys a certificate names, believed or not."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hypermesh.crypto.keys import KeyInvalid, key_id
from hypermesh.trustchain import alternative
from hypermesh.trustchain.der import NotDer
from hypermesh.wire.ids import NodeId
from hypermesh.wire.keys import HYBRID_V1, PublicKeys


def subject_node(certificate: x509.Certificate) -> NodeId | None:
    """The node with both keys that `certificate` names; None where it is no node's. Nothing says
    that it is to be believed."""
    try:
        ed25519, falcon = certificate.public_key(), alternative.key_in(certificate)
        if not isinstance(ed25519, Ed25519PublicKey) or falcon is None:
            return None
        return key_id(PublicKeys(HYBRID_V1, falcon, ed25519.public_bytes_raw()))
    except (ValueError, NotDer, KeyInvalid, UnsupportedAlgorithm):
        return None
