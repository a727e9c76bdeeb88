"""Key pairs of nodes, owners and sessions: FALCON-1024 and Ed25519 together.

The secret stays in native memory, which is wiped when the object goes; `secret_bytes` is the one
way out, and nothing else here, `repr` and pickle included, shows it.
"""

from __future__ import annotations

from typing import NoReturn, final

from hypermesh import _native
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import Hash
from hypermesh.wire.keys import HYBRID_V1, PublicKeys


class KeyInvalid(InvalidInput):
    """The bytes are not a key of the expected kind."""

    code = "HM-CRYPTO-0001"
    title = "The key is not valid"


def key_id(public: PublicKeys) -> Hash:
    """NodeId, OwnerId or SessionId: the digest (name `keys`) of the canonical encoding of `public`.

    Raises `KeyInvalid` where a key has the wrong length.
    """
    try:
        return _native.key_id(public.falcon, public.ed25519)
    except ValueError as error:
        raise KeyInvalid("These are no public keys", why=str(error)) from error


@final
class QuantumKeys:
    """One hybrid key pair. Immutable; signing may be called from several threads."""

    __slots__ = ("_id", "_public", "_secret")

    def __init__(self, secret: _native.SecretKeys) -> None:
        self._secret = secret
        self._public = PublicKeys(HYBRID_V1, secret.falcon_public, secret.ed25519_public)
        self._id = key_id(self._public)

    @classmethod
    def generate(cls) -> QuantumKeys:
        """A new pair from the operating system's random bytes."""
        return cls(_native.SecretKeys.generate())

    @classmethod
    def from_secret_bytes(cls, secret: bytes) -> QuantumKeys:
        """The pair that `secret_bytes` gave; raises `KeyInvalid` for anything else."""
        try:
            return cls(_native.SecretKeys.from_bytes(secret))
        except ValueError as error:
            raise KeyInvalid("These are no secret keys", why=str(error)) from error

    @property
    def public(self) -> PublicKeys:
        """Both public keys."""
        return self._public

    @property
    def id(self) -> Hash:
        """`key_id(self.public)`."""
        return self._id

    @property
    def native(self) -> _native.SecretKeys:
        """The handle with which `signature.sign` and the transport sign without seeing secrets."""
        return self._secret

    def secret_bytes(self) -> bytes:
        """Both secret keys, 2338 bytes: algorithm id, FALCON-1024 key, Ed25519 seed."""
        return self._secret.secret_bytes()

    def ed25519_pkcs8(self) -> bytes:
        """The Ed25519 secret key in DER for TLS (PKCS#8, RFC 5208 and RFC 8410)."""
        return self._secret.ed25519_pkcs8()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuantumKeys) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"QuantumKeys(id={self._id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secret keys are not pickled; store them in a KeyStore")
