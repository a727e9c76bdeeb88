"""Hybrid signatures: FALCON-1024 and Ed25519 over one prehash, and both must verify.

The prehash is the digest named `sign/<domain>` of `genesis || message` (`genesis`: 32 bytes). So a
signature means one kind of thing on one network; `crates/hm-crypto/src/hybrid.rs` defines it.
"""

from __future__ import annotations

from hypermesh import _native
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import GenesisId
from hypermesh.wire.keys import HYBRID_V1, PublicKeys, QuantumSignature


class SignatureInvalid(HyperMeshError):
    """A signature does not hold for this key, domain, network and message.

    `halves` names what failed: `FALCON-1024`, `Ed25519`, or both.
    """

    code = "HM-CRYPTO-0002"
    status = 403
    exit_code = 9
    title = "The signature does not verify"

    halves: tuple[str, ...] = ()


def sign(keys: QuantumKeys, domain: str, genesis: GenesisId, message: bytes) -> QuantumSignature:
    """Both signatures of `keys` over `message`, as a `domain` thing on the network `genesis`.

    Signing twice gives two signatures: FALCON is randomised. Raises `InvalidInput` unless `domain`
    is 1 to 32 of `a-z 0-9 -` and `genesis` has 32 bytes.
    """
    try:
        falcon, ed25519 = keys.native.sign(domain, genesis, message)
    except ValueError as error:
        raise InvalidInput("This cannot be signed", why=str(error)) from error
    return QuantumSignature(HYBRID_V1, falcon, ed25519)


def verify(
    public: PublicKeys,
    domain: str,
    genesis: GenesisId,
    message: bytes,
    signature: QuantumSignature,
) -> None:
    """Return only where both halves of `signature` hold.

    Raises `SignatureInvalid`, naming each half that failed, also for keys and signatures of a wrong
    length or algorithm; `InvalidInput` where `domain` or `genesis` is malformed.
    """
    if (public.algorithm, signature.algorithm) != (HYBRID_V1, HYBRID_V1):
        raise SignatureInvalid(
            why=f"algorithms {public.algorithm} (key) and {signature.algorithm} (signature) "
            f"are not the one known here, {HYBRID_V1}"
        )
    try:
        _native.hybrid_verify(
            falcon=public.falcon,
            ed25519=public.ed25519,
            domain=domain,
            genesis=genesis,
            message=message,
            falcon_signature=signature.falcon,
            ed25519_signature=signature.ed25519,
        )
    except _native.SignatureMismatch as mismatch:
        error = SignatureInvalid(why=f"failed: {' and '.join(mismatch.args)} ({domain})")
        error.halves = mismatch.args
        raise error from None
    except ValueError as error:
        raise InvalidInput("This cannot be verified", why=str(error)) from error
