"""Routes of what relying parties fetch: OCSP, revocation lists, issuers' certificates.

POST /ocsp, GET /ocsp/BASE64              RFC 6960 appendix A.1
/crls/KEYID/PART.crl, PART-delta.crl      RFC 5280, in parts; the root's is part 0
/issuers/KEYID.cer, /issuers/root.pem     DER, and the root for people
"""

from __future__ import annotations

import base64
import binascii
import ssl
import urllib.parse

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_crl

from hypermesh.standalone.trust.call import Answer, Call
from hypermesh.standalone.trust.parts import Parts, now_s
from hypermesh.trustchain.ca.ocsp import REQUEST_BYTES_MAX
from hypermesh.wire.errors import InvalidInput, NotFound

OCSP_MEDIA = "application/ocsp-response"
CRL_MEDIA = "application/pkix-crl"
CERTIFICATE_MEDIA = "application/pkix-cert"


def ocsp_post(parts: Parts, call: Call) -> Answer:
    call.require_size(REQUEST_BYTES_MAX)
    return Answer(parts.responder.respond(call.body, now_s()), OCSP_MEDIA)


def ocsp_get(parts: Parts, call: Call) -> Answer:
    text = urllib.parse.unquote(call.path["encoded"].removeprefix("/"))
    try:
        request = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("The path is the base64 of an OCSP request", why=str(error)) from error
    return Answer(parts.responder.respond(request, now_s()), OCSP_MEDIA)


def crl(parts: Parts, call: Call) -> Answer:
    key_id, name = call.path["issuer"], call.path["part"]
    stem, dot, end = name.partition(".")
    shard = stem.removesuffix("-delta")
    if end != "crl" or not dot or not shard.isdecimal() or len(shard) > 6:
        raise NotFound(f"There is no revocation list {name[:40]!r}")
    if key_id == parts.root_issuer.key_id.hex() and name == "0.crl":
        return _list(parts.root_list(), call)
    if key_id != parts.authority.issuer.key_id.hex():
        raise NotFound("No issuer here has this key id")
    made = parts.lists.delta if stem.endswith("-delta") else parts.lists.complete
    return _list(made(int(shard), now_s()), call)


def issuer(parts: Parts, call: Call) -> Answer:
    name = call.path["name"]
    if name == "root.pem":
        return Answer(ssl.DER_cert_to_PEM_cert(parts.root).encode(), "application/x-pem-file")
    key_id = name.removesuffix(".cer")
    if key_id == parts.root_issuer.key_id.hex():
        return Answer(parts.root, CERTIFICATE_MEDIA)
    for each in parts.authority.store.authorities():
        if each.key_id.hex() == key_id:
            return Answer(each.certificate, CERTIFICATE_MEDIA)
    raise NotFound("No issuer here has this key id")


def _list(encoded: bytes, call: Call) -> Answer:
    if "pem" in call.query:
        text = load_der_x509_crl(encoded).public_bytes(Encoding.PEM)
        return Answer(text, "application/x-pem-file")
    return Answer(encoded, CRL_MEDIA)
