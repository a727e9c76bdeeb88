"""Routes of certificates: issue, look up, revoke.

POST /v1/certificates?kind=service&lifetime_s=N     a PKCS#10 request, PEM or DER: its certificate,
                                                    or the next one where that is to be renewed
POST /v1/certificates?reference=TEXT                the same answer for ever
GET  /v1/certificates?name=dns:HOST                 the newest first
GET  /v1/certificates?after=INDEX | from=&to=       in the order of the log
GET  /v1/certificates/{serial}, .../chain, .../bundle
POST /v1/certificates/{serial}/revoke               {"reason": 1}
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta

from hypermesh.standalone.trust.call import Answer, Call, as_json
from hypermesh.standalone.trust.parts import Parts, now_s
from hypermesh.trustchain.ca.issuing import CertificateUnknown, IssuedCertificate, Order
from hypermesh.trustchain.ca.names import Name
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.request import REQUEST_BYTES_MAX
from hypermesh.trustchain.ca.store import Kept, Reason
from hypermesh.trustchain.ct.entry import Entry
from hypermesh.wire.errors import HyperMeshError, InvalidInput

REFERENCE_CHARACTERS_MAX = 64
PEM_MEDIA = "application/pem-certificate-chain"


class CertificateView(msgspec.Struct, frozen=True):
    """A certificate. Times are seconds since 1970, `chain` is PEM, leaf first, without the root."""

    serial: str
    kind: str
    requester: str
    names: tuple[str, ...]
    issued_s: int
    not_before_s: int
    not_after_s: int
    log_index: int
    log_timestamp_ms: int
    sct: bytes
    revoked_s: int | None
    reason: int | None
    chain: tuple[str, ...]


class CertificatePage(msgspec.Struct, frozen=True):
    items: list[CertificateView]
    next_cursor: str | None


class Revocation(msgspec.Struct, forbid_unknown_fields=True):
    """`reason` is a CRLReason (RFC 5280 section 5.3.1)."""

    reason: Annotated[int, Meta(ge=0, le=10)] = 0


class RevocationView(msgspec.Struct, frozen=True):
    serial: str
    state: str
    revoked_s: int | None
    reason: int | None


def issue(parts: Parts, call: Call) -> Answer:
    order = _order(call)
    issued = parts.authority.issue(order, now_s())
    return _issued(parts, call, _present(parts, order, issued))


def issue_all(parts: Parts, calls: Sequence[Call]) -> list[Answer | Exception]:
    """What `issue` answers or raises to each of `calls`; they share the log's and the disk's
    work."""
    answers: list[Answer | Exception | None] = [None] * len(calls)
    orders: dict[int, Order] = {}
    for place, call in enumerate(calls):
        try:
            orders[place] = _order(call)
        except HyperMeshError as error:
            answers[place] = error
    try:
        issued = parts.authority.issue_all([*orders.values()], now_s())
        for (place, order), each in zip(orders.items(), issued, strict=True):
            if isinstance(each, HyperMeshError):
                answers[place] = each
                continue
            try:
                answers[place] = _issued(parts, calls[place], _present(parts, order, each))
            except HyperMeshError as error:
                answers[place] = error
    except Exception as error:  # noqa: BLE001 (as below)
        if len(calls) == 1:
            return [error]
        # It is a fault of this program that one of them met. Nobody's order fails by another's:
        # each is asked again alone, and what was issued is found.
        return [_answered(parts, call) for call in calls]
    return [each for each in answers if each is not None]


def _answered(parts: Parts, call: Call) -> Answer | Exception:
    try:
        return issue(parts, call)
    except Exception as error:  # noqa: BLE001 (told to who asked)
        return error


def _order(call: Call) -> Order:
    call.require_size(2 * REQUEST_BYTES_MAX)
    return Order(
        _request(call.body),
        _kind(call.query.get("kind", str(Kind.SERVICE))),
        call.principal.id,
        reference=call.query.get("reference", "").encode()[:REFERENCE_CHARACTERS_MAX],
        lifetime_s=call.number("lifetime_s", 0) or None,
    )


def _present(parts: Parts, order: Order, issued: IssuedCertificate) -> IssuedCertificate:
    """What answers `order`: a reference names one certificate; without one the newest is meant, and
    renewed when it is due."""
    return issued if order.reference else parts.authority.renewed(order, issued, now_s())


def _issued(parts: Parts, call: Call, issued: IssuedCertificate) -> Answer:
    if "pem" in call.accept:
        headers = {"x-log-index": str(issued.log_index), "x-serial": f"{issued.serial:x}"}
        return Answer("".join(_pems(issued.chain[:-1])).encode(), PEM_MEDIA, 201, headers)
    return as_json(view(parts, _kept(parts, issued.serial)), 201)


def found(parts: Parts, call: Call) -> Answer:
    return as_json(view(parts, _kept(parts, call.serial())))


def chain(parts: Parts, call: Call) -> Answer:
    kept = _kept(parts, call.serial())
    return Answer("".join(view(parts, kept).chain).encode(), PEM_MEDIA)


def listed(parts: Parts, call: Call) -> Answer:
    if (name := call.query.get("name")) is not None:
        text = name if ":" in name else f"dns:{name}"
        kept = parts.authority.store.by_name(str(Name.parse(text)), call.limit())
        items = [view(parts, each) for each in kept if each.recording is not None]
        return as_json(CertificatePage(items, None))
    return as_json(_in_order(parts, call))


def revoke(parts: Parts, call: Call) -> Answer:
    asked = call.json(Revocation) if call.body else Revocation()
    try:
        reason = Reason(asked.reason)
    except ValueError as error:
        raise InvalidInput(f"{asked.reason} is no reason that is taken here") from error
    serial = call.serial()
    _kept(parts, serial)
    status = parts.authority.revoke(serial, reason, now_s(), call.principal.id)
    reason_told = None if status.reason is None else int(status.reason)
    return as_json(RevocationView(f"{serial:x}", str(status.state), status.revoked_s, reason_told))


def view(parts: Parts, kept: Kept) -> CertificateView:
    """`kept`, whose recording is there, as the API shows it."""
    recording = kept.recording
    if recording is None:
        raise CertificateUnknown
    issuer = next(
        (
            each.certificate
            for each in parts.authority.store.authorities()
            if each.key_id == kept.issuer
        ),
        parts.authority.issuer.certificate,
    )
    return CertificateView(
        f"{kept.serial:x}",
        kept.kind,
        kept.requester,
        kept.names,
        kept.issued_s,
        kept.not_before_s,
        kept.not_after_s,
        recording.index,
        recording.timestamp_ms,
        recording.sct,
        kept.revoked_s,
        None if kept.reason is None else int(kept.reason),
        tuple(_pems((recording.certificate, issuer))),
    )


def _in_order(parts: Parts, call: Call) -> CertificatePage:
    """By the log, whose order is that of time and never changes, so a cursor is an index."""
    log, limit = parts.logs.certificates, call.limit()
    size = log.head.size
    begin = 0
    if "after" in call.query:
        begin = call.number("after") + 1
    elif "from" in call.query:
        begin = _first_at(parts, call.number("from") * 1000, size)
    until_ms = call.number("to", 1 << 40) * 1000
    items: list[CertificateView] = []
    index, is_more = begin, False
    while index < size and not is_more:
        for entry in log.entries(index, min(limit, size - index)):
            if entry.timestamp_ms >= until_ms:
                return CertificatePage(items, None)
            if len(items) == limit:
                is_more = True
                break
            index = entry.index + 1
            kept = parts.authority.store.by_serial(_serial(entry))
            # Others may log certificates of this authority's again; those are not the stored ones.
            recording = None if kept is None else kept.recording
            if kept is not None and recording is not None and recording.index == entry.index:
                items.append(view(parts, kept))
    return CertificatePage(items, str(index - 1) if is_more or index < size else None)


def _first_at(parts: Parts, from_ms: int, size: int) -> int:
    """The first entry that is not before `from_ms`: timestamps of a log never go back."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if parts.logs.certificates.entry(middle).timestamp_ms < from_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _serial(entry: Entry) -> int:
    return x509.load_der_x509_certificate(entry.submitted).serial_number


def _kept(parts: Parts, serial: int) -> Kept:
    kept = parts.authority.store.by_serial(serial)
    if kept is None or kept.recording is None:
        raise CertificateUnknown
    return kept


def _kind(text: str) -> Kind:
    if text not in set(Kind) - {Kind.RESPONDER}:
        raise InvalidInput(
            f"{text[:40]!r} is no kind of certificate", why="the kinds are service, user, node"
        )
    return Kind(text)


def _request(body: bytes) -> bytes:
    """The PKCS#10 request in PEM or DER, as DER. Raises `InvalidInput`."""
    if not body.lstrip().startswith(b"-----BEGIN"):
        return body
    try:
        return x509.load_pem_x509_csr(body).public_bytes(Encoding.DER)
    except ValueError as error:
        raise InvalidInput("The body is no certification request", why=str(error)) from error


def _pems(chain: tuple[bytes, ...]) -> list[str]:
    return [ssl.DER_cert_to_PEM_cert(each) for each in chain]
