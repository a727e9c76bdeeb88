"""A signer whose P-256 key lives in a PKCS#11 token (OASIS PKCS #11 v3.0) and never leaves it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import ObjectIdentifier

from hypermesh.trustchain import der
from hypermesh.trustchain.ca.algorithm import SIGNATURES, KeyKind, SignatureAlgorithm, key_info
from hypermesh.trustchain.ca.signer import SignerUnusable

_P256 = der.oid(ObjectIdentifier("1.2.840.10045.3.1.7"))


@final
class TokenSigner:
    """Signs by a token; one session, one signature at a time.

    The token is used on a thread of its own. A library that shares OpenSSL with Python leaves what
    it came across in the error queue of the thread that called it, where the module `ssl` would
    take it for a failure of its own.
    """

    def __init__(
        self,
        thread: ThreadPoolExecutor,
        session: pkcs11.Session,
        private: Any,
        public_key: bytes,
    ) -> None:
        self._thread = thread
        self._session = session
        self._private = private
        self._public_key = public_key

    @classmethod
    def open(cls, module: str, token: str, pin: str, label: str) -> TokenSigner:
        """The key `label` of the token labelled `token`, made inside it where it has none.

        `module` is the path of the PKCS#11 library. Raises `SignerUnusable`.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="pkcs11")
        try:
            opened = thread.submit(_opened, module, token, pin, label).result()
        except BaseException:
            thread.shutdown()
            raise
        return cls(thread, *opened)

    @property
    def kind(self) -> KeyKind:
        return KeyKind.P256

    @property
    def public_key(self) -> bytes:
        return self._public_key

    @property
    def algorithm(self) -> SignatureAlgorithm:
        return SIGNATURES[KeyKind.P256][0]

    def sign(self, message: bytes) -> bytes:
        hashed = hashlib.sha256(message).digest()
        with _reported():
            raw: bytes = self._thread.submit(
                self._private.sign, hashed, mechanism=pkcs11.Mechanism.ECDSA
            ).result()
        half = len(raw) // 2
        return encode_dss_signature(
            int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        )

    def close(self) -> None:
        """End the session with the token, after the signatures that are asked for already."""
        with _reported():
            closed = self._thread.submit(self._session.close)
            self._thread.shutdown()
            closed.result()


def _opened(module: str, token: str, pin: str, label: str) -> tuple[pkcs11.Session, Any, bytes]:
    """A session, the private key, and the public one as SubjectPublicKeyInfo."""
    with _reported():
        session = _session(pkcs11.lib(module).get_token(token_label=token), pin)
        try:
            private, public = _pair(session, label)
            point = der.read(public[pkcs11.Attribute.EC_POINT]).content
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except BaseException:
            session.close()
            raise
    return session, private, key_info(key)


def _session(token: pkcs11.Token, pin: str) -> pkcs11.Session:
    try:
        return token.open(rw=True, user_pin=pin)
    except pkcs11.exceptions.UserAlreadyLoggedIn:
        # A login holds for all sessions of a process (PKCS #11 v3.0 section 5.6.8).
        return token.open(rw=True)


def _pair(session: pkcs11.Session, label: str) -> tuple[Any, Any]:
    """The private and the public key called `label`; their types hide what they can do."""
    try:
        return (
            session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label),
            session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label),
        )
    except pkcs11.exceptions.NoSuchKey:
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: _P256}, local=True
        )
        public, private = parameters.generate_keypair(
            store=True,
            label=label,
            private_template={
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
            },
        )
        return private, public


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (pkcs11.exceptions.PKCS11Error, RuntimeError, ValueError) as error:
        raise SignerUnusable(
            "The token cannot be used", why=f"{type(error).__name__}: {error}"
        ) from error
