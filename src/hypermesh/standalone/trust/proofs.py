"""Route of the offline bundle: a certificate with the proof that it was logged."""

from __future__ import annotations

from hypermesh.standalone.trust.call import Answer, Call
from hypermesh.standalone.trust.parts import Parts
from hypermesh.trustchain.bundle import VERSION, Bundle, LogKeys
from hypermesh.trustchain.bundle_page import page
from hypermesh.trustchain.ca.issuing import CertificateUnknown
from hypermesh.trustchain.ct.checkpoint import read_checkpoint
from hypermesh.trustchain.ct.note import read_note

MEDIA = "application/vnd.hypermesh.bundle+json"


def bundle(parts: Parts, call: Call) -> Answer:
    made = of(parts, call.serial())
    if call.query.get("format") == "html" or "text/html" in call.accept:
        return Answer(page(made).encode(), "text/html; charset=utf-8")
    return Answer(made.encoded(), MEDIA)


def of(parts: Parts, serial: int) -> Bundle:
    """The bundle of the certificate `serial` at the present checkpoint. Raises
    `CertificateUnknown`."""
    authority, log = parts.authority, parts.logs.certificates
    kept = authority.store.by_serial(serial)
    if kept is None or kept.recording is None:
        raise CertificateUnknown
    at = kept.recording.index
    note = parts.witnesses.note(at + 1)
    size = read_checkpoint(read_note(note).text).size
    issuer = next(
        each.certificate for each in authority.store.authorities() if each.key_id == kept.issuer
    )
    return Bundle(
        VERSION,
        kept.recording.certificate,
        (issuer, parts.root),
        kept.recording.sct,
        log.leaf(at),
        at,
        tuple(log.inclusion(at, size)),
        note.decode(),
        LogKeys.of(log.identity),
    )
