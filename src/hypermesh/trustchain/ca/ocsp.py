"""The OCSP responder (RFC 6960): a request's bytes in, a response's bytes out.

Answers are signed ahead and kept for a short while, each with the state of the certificate that it
tells; the state is read from the store for every request, so an answer made before a revocation is
never given after it. A request with a nonce has an answer of its own.
"""

from __future__ import annotations

import enum
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import OCSPExtensionOID

from hypermesh.trustchain import der
from hypermesh.trustchain.ca.content import Issuer, extension, sct_list, signed
from hypermesh.trustchain.ca.signer import Signer
from hypermesh.trustchain.ca.store import Kept, Reason

REQUEST_BYTES_MAX = 4096
CERTIFICATES_MAX = 16
"""Certificates that one request may ask for."""

NONCE_BYTES_MAX = 128
"""RFC 9654 section 2.1."""

VALIDITY_S = 10 * 60
"""How long a reader may use an answer."""

REUSE_S = VALIDITY_S // 2
ANSWERS_MAX = 16_384
"""Signed answers that are kept."""

_BASIC = der.oid(ObjectIdentifier("1.3.6.1.5.5.7.48.1.1"))
_NONCE = der.oid(OCSPExtensionOID.NONCE)
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.5")
"""RFC 6962 section 3.3: SCTs in the extensions of a SingleResponse."""

_CRL_ID = ObjectIdentifier("1.3.6.1.5.5.7.48.1.3")
"""RFC 6960 section 4.4.2: the number of the list on which a certificate is found."""

_DIGESTS = {
    der.oid(ObjectIdentifier(identifier)): name
    for identifier, name in (
        ("1.3.14.3.2.26", "sha1"),
        ("2.16.840.1.101.3.4.2.1", "sha256"),
        ("2.16.840.1.101.3.4.2.2", "sha384"),
        ("2.16.840.1.101.3.4.2.3", "sha512"),
    )
}


class ResponseStatus(enum.IntEnum):
    """RFC 6960 section 4.2.1."""

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    UNAUTHORIZED = 6


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks: the CertIDs, encoded and read, and its nonce (encoded, or empty)."""

    identifiers: tuple[Identifier, ...]
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Identifier:
    """A CertID: how it is encoded, its digest, the two hashes of the issuer, the serial number."""

    encoded: bytes
    digest: str
    name_hash: bytes
    key_hash: bytes
    serial: int


def read_request(data: bytes) -> Question:
    """What `data` asks. Raises `NotDer`."""
    if len(data) > REQUEST_BYTES_MAX:
        raise der.NotDer(why=f"it has more than {REQUEST_BYTES_MAX} bytes")
    outer = _parts(der.read(data), 1)
    fields = {field.tag: field for field in _parts(outer[0], 1)}
    asked = fields.get(der.SEQUENCE)
    if asked is None or not 1 <= len(asked.children()) <= CERTIFICATES_MAX:
        raise der.NotDer(why=f"it asks for 1 to {CERTIFICATES_MAX} certificates")
    identifiers = tuple(_identifier(_parts(entry, 1)[0]) for entry in asked.children())
    nonce = b""
    if (tail := fields.get(0xA2)) is not None:
        for entry in der.read(tail.content).children():
            parts = _parts(entry, 2)
            if parts[0].encoded == _NONCE:
                nonce = parts[-1].content
                inner = der.read(nonce)
                if inner.tag != der.OCTET_STRING or not 1 <= len(inner.content) <= NONCE_BYTES_MAX:
                    raise der.NotDer(why=f"a nonce has 1 to {NONCE_BYTES_MAX} bytes")
    return Question(identifiers, nonce)


class StatusStore(Protocol):
    """Where a responder reads the state of a certificate, for each request anew."""

    def by_serial(self, serial: int) -> Kept | None: ...


@final
class Responder:
    """Answers for the certificates of one issuer, as `store` knows them.

    `certificate` is that of a responder whom the issuer delegated (kind `responder`), with
    `signer` its key; without one the issuer answers itself.
    """

    def __init__(
        self,
        store: StatusStore,
        issuer: Issuer,
        signer: Signer,
        certificate: bytes | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._certificates = (
            () if certificate is None else (der.context(0, der.sequence(certificate)),)
        )
        # The same digest names the responder in all answers: SHA-1 of its key, by key.
        self._responder = der.context(2, der.octets(_key_hash(signer.public_key, "sha1")))
        self._issuer = issuer
        self._hashes = {
            name: (hashlib.new(name, issuer.name).digest(), _key_hash(issuer.key_info, name))
            for name in _DIGESTS.values()
        }
        self._answers: OrderedDict[bytes, tuple[_State, int, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def respond(self, request: bytes, now_s: int) -> bytes:
        """The OCSPResponse to the OCSPRequest `request`, both DER. Raises nothing that a request
        could cause; what the store or the signer raise goes through."""
        try:
            question = read_request(request)
        except der.NotDer:
            return refusal(ResponseStatus.MALFORMED_REQUEST)
        states = [self._state(identifier) for identifier in question.identifiers]
        if all(state is None for state in states):
            return refusal(ResponseStatus.UNAUTHORIZED)
        known = [state or _FOREIGN for state in states]
        if question.nonce or len(known) > 1:
            return self._signed(question, known, now_s)
        return self._kept(question, known[0], now_s)

    def _state(self, identifier: Identifier) -> _State | None:
        """What the store says; None for a certificate of another issuer."""
        if self._hashes.get(identifier.digest) != (identifier.name_hash, identifier.key_hash):
            return None
        kept = self._store.by_serial(identifier.serial)
        if kept is None or kept.issuer != self._issuer.key_id:
            return _FOREIGN
        return _State.of(kept)

    def _kept(self, question: Question, state: _State, now_s: int) -> bytes:
        key = question.identifiers[0].encoded
        with self._lock:
            found = self._answers.get(key)
            if found is not None and found[0] == state and 0 <= now_s - found[1] < REUSE_S:
                self._answers.move_to_end(key)
                return found[2]
        answer = self._signed(question, [state], now_s)
        with self._lock:
            self._answers[key] = (state, now_s, answer)
            self._answers.move_to_end(key)
            if len(self._answers) > ANSWERS_MAX:
                self._answers.popitem(last=False)
        return answer

    def _signed(self, question: Question, states: Sequence[_State], now_s: int) -> bytes:
        singles = [
            _single(identifier, state, now_s)
            for identifier, state in zip(question.identifiers, states, strict=True)
        ]
        extensions: tuple[bytes, ...] = ()
        if question.nonce:
            nonce = extension(OCSPExtensionOID.NONCE, question.nonce)
            extensions = (der.context(1, der.sequence(nonce)),)
        body = der.sequence(
            self._responder, der.generalized(now_s), der.sequence(*singles), *extensions
        )
        parts = der.read(signed(body, self._signer)).content
        basic = der.sequence(parts, *self._certificates)
        return der.sequence(
            der.enumerated(ResponseStatus.SUCCESSFUL),
            der.context(0, der.sequence(_BASIC, der.octets(basic))),
        )


def refusal(status: ResponseStatus) -> bytes:
    """An answer that says why there is none; unsigned, as RFC 6960 section 2.3 has it."""
    return der.sequence(der.enumerated(status))


@dataclass(frozen=True, slots=True)
class _State:
    """What an answer tells of a certificate: only `is_known` ones are good or revoked."""

    is_known: bool
    revoked_s: int | None = None
    reason: Reason | None = None
    sct: bytes = b""
    list_number: int | None = None

    @classmethod
    def of(cls, kept: Kept) -> _State:
        return cls(
            is_known=True,
            revoked_s=kept.revoked_s,
            reason=kept.reason,
            sct=b"" if kept.recording is None else kept.recording.sct,
            list_number=kept.list_number,
        )


_FOREIGN = _State(is_known=False)


def _single(identifier: Identifier, state: _State, now_s: int) -> bytes:
    if not state.is_known:
        status = der.context(2, is_constructed=False)
    elif state.revoked_s is None:
        status = der.context(0, is_constructed=False)
    else:
        told = state.reason is not None and state.reason is not Reason.UNSPECIFIED
        reason = (der.context(0, der.enumerated(state.reason or 0)),) if told else ()
        status = der.context(1, der.generalized(state.revoked_s), *reason)
    told_more = []
    if state.list_number is not None:
        number = der.sequence(der.context(1, der.integer(state.list_number)))
        told_more.append(extension(_CRL_ID, number))
    if state.sct:
        told_more.append(extension(_SCT_LIST, der.octets(sct_list([state.sct]))))
    extensions = (der.context(1, der.sequence(*told_more)),) if told_more else ()
    return der.sequence(
        identifier.encoded,
        status,
        der.generalized(now_s),
        der.context(0, der.generalized(now_s + VALIDITY_S)),
        *extensions,
    )


def _identifier(element: der.Element) -> Identifier:
    parts = _parts(element, 4)
    algorithm, *parameters = (part.encoded for part in _parts(parts[0], 1))
    if algorithm not in _DIGESTS or parameters not in ([], [der.tlv(der.NULL)]) or len(parts) > 4:
        raise der.NotDer(why="a CertID is not in a form that is known here")
    if [part.tag for part in parts[1:]] != [
        der.OCTET_STRING,
        der.OCTET_STRING,
        der.INTEGER,
    ]:
        raise der.NotDer(why="a CertID is not in a form that is known here")
    serial = int.from_bytes(parts[3].content, "big", signed=True)
    if serial <= 0 or parts[3].encoded != der.integer(serial):
        raise der.NotDer(why="a serial number is a positive INTEGER in its one form")
    return Identifier(
        element.encoded, _DIGESTS[algorithm], parts[1].content, parts[2].content, serial
    )


def _parts(element: der.Element, count: int) -> list[der.Element]:
    """The children of a SEQUENCE, `count` of them at least. Raises `NotDer`."""
    if element.tag != der.SEQUENCE:
        raise der.NotDer(why="a SEQUENCE is expected")
    children = element.children()
    if len(children) < count:
        raise der.NotDer(why="an element is missing")
    return children


def _key_hash(key_info: bytes, digest: str) -> bytes:
    """The digest of the subjectPublicKey without its tag, length and count of unused bits."""
    _, key = der.read(key_info).children()
    return hashlib.new(digest, key.content[1:]).digest()
