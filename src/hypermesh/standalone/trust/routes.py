"""Every route of the server, with who may use it: what is not here answers nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypermesh.standalone.trust import (
    certificates,
    cosigning,
    names,
    oversight,
    proofs,
    revocation,
    transparency,
)
from hypermesh.standalone.trust.access import Access
from hypermesh.standalone.trust.call import Answer, Call
from hypermesh.standalone.trust.parts import Parts


@dataclass(frozen=True, slots=True)
class Route:
    """`is_plain`: served over plain HTTP as well, for what it answers is signed or public.
    `answer_all`: as `answer`, for requests that come together; what one of them cannot be answered
    stands in its place."""

    method: str
    template: str
    access: Access
    answer: Callable[[Parts, Call], Answer]
    is_plain: bool = False
    answer_all: Callable[[Parts, Sequence[Call]], Sequence[Answer | Exception]] | None = None


PUBLIC, MEMBER, REQUEST = Access.PUBLIC, Access.MEMBER, Access.REQUEST
AUDIT, OPERATE = Access.AUDIT, Access.OPERATE

ROUTES: tuple[Route, ...] = (
    Route("GET", "/livez", PUBLIC, oversight.livez, is_plain=True),
    Route("GET", "/readyz", PUBLIC, oversight.readyz, is_plain=True),
    Route("GET", "/metrics", AUDIT, oversight.metrics),
    # RFC 6962 and static-ct-api: reads for everybody, adds for those who may request.
    Route("GET", "/ct/v1/get-sth", PUBLIC, transparency.get_sth, is_plain=True),
    Route(
        "GET", "/ct/v1/get-sth-consistency", PUBLIC, transparency.get_sth_consistency, is_plain=True
    ),
    Route("GET", "/ct/v1/get-proof-by-hash", PUBLIC, transparency.get_proof_by_hash, is_plain=True),
    Route("GET", "/ct/v1/get-entries", PUBLIC, transparency.get_entries, is_plain=True),
    Route(
        "GET", "/ct/v1/get-entry-and-proof", PUBLIC, transparency.get_entry_and_proof, is_plain=True
    ),
    Route("GET", "/ct/v1/get-roots", PUBLIC, transparency.get_roots, is_plain=True),
    Route("POST", "/ct/v1/add-chain", REQUEST, transparency.add_chain),
    Route("POST", "/ct/v1/add-pre-chain", REQUEST, transparency.add_pre_chain),
    Route("GET", "/checkpoint", PUBLIC, transparency.checkpoint, is_plain=True),
    Route("GET", "/tile/{path:path}", PUBLIC, transparency.tile, is_plain=True),
    Route("GET", "/issuer/{fingerprint:str}", PUBLIC, transparency.issuer, is_plain=True),
    Route("GET", "/acts/checkpoint", PUBLIC, transparency.acts_checkpoint, is_plain=True),
    Route("GET", "/acts/tile/{path:path}", PUBLIC, transparency.acts_tile, is_plain=True),
    Route("GET", "/v1/logs", PUBLIC, transparency.identities, is_plain=True),
    Route("POST", "/add-checkpoint", PUBLIC, cosigning.add_checkpoint, is_plain=True),
    Route("GET", "/v1/witness", PUBLIC, cosigning.witness, is_plain=True),
    # What relying parties fetch.
    Route("POST", "/ocsp", PUBLIC, revocation.ocsp_post, is_plain=True),
    Route("GET", "/ocsp/{encoded:path}", PUBLIC, revocation.ocsp_get, is_plain=True),
    Route("GET", "/crls/{issuer:str}/{part:str}", PUBLIC, revocation.crl, is_plain=True),
    Route("GET", "/issuers/{name:str}", PUBLIC, revocation.issuer, is_plain=True),
    # Certificates.
    Route(
        "POST",
        "/v1/certificates",
        REQUEST,
        certificates.issue,
        answer_all=certificates.issue_all,
    ),
    Route("GET", "/v1/certificates", MEMBER, certificates.listed),
    Route("GET", "/v1/certificates/{serial:str}", MEMBER, certificates.found),
    Route("GET", "/v1/certificates/{serial:str}/chain", MEMBER, certificates.chain),
    Route("GET", "/v1/certificates/{serial:str}/bundle", MEMBER, proofs.bundle),
    Route("POST", "/v1/certificates/{serial:str}/revoke", OPERATE, certificates.revoke),
    # Names.
    Route("GET", "/v1/dns/zones", MEMBER, names.zones),
    Route("PUT", "/v1/dns/zones/{zone:str}", OPERATE, names.add),
    Route("GET", "/v1/dns/zones/{zone:str}", MEMBER, names.zone),
    Route("DELETE", "/v1/dns/zones/{zone:str}", OPERATE, names.remove),
    Route("PUT", "/v1/dns/zones/{zone:str}/{owner:str}/{kind:str}", OPERATE, names.put),
    Route("GET", "/v1/dns/zones/{zone:str}/{owner:str}/{kind:str}", MEMBER, names.found),
    Route("DELETE", "/v1/dns/zones/{zone:str}/{owner:str}/{kind:str}", OPERATE, names.drop),
    Route("GET", "/v1/dns/phases", MEMBER, names.phases),
    Route("PUT", "/v1/dns/phases/{zone:str}", OPERATE, names.switch),
    Route("GET", "/v1/dns/names/{owner:str}/{kind:str}", MEMBER, names.resolved),
    # Those who watch.
    Route("GET", "/v1/audit", AUDIT, oversight.audit),
    Route("GET", "/v1/audit/check", AUDIT, oversight.audit_check),
    Route("GET", "/v1/report", AUDIT, oversight.report),
)
