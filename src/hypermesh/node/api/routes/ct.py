"""`/v1/ct`, and what software that is no HyperMesh reads of the authority: logs, OCSP, lists."""

from __future__ import annotations

import time
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.trustchain.ca.ocsp import REQUEST_BYTES_MAX
from hypermesh.wire.api.ct import CtGrowth, CtKeys, CtView
from hypermesh.wire.api.report import AuthorityReport
from hypermesh.wire.errors import InvalidInput

OCSP_MEDIA = "application/ocsp-response"
CRL_MEDIA = "application/pkix-crl"
RESOURCE_MEDIA = "application/octet-stream"


@get("/v1/ct")
@prompt
def ct(here: Node) -> CtView:
    """The logs, how far the ledger has anchored each, and where this node's certificate is. On the
    node that keeps them also their sizes, checkpoints and whether they take entries."""
    return here.transparency.view()


@get("/v1/ct/growth", sync_to_thread=True)
def ct_growth(here: Node) -> CtGrowth:
    """How the logs that take entries have grown: their sizes as the ledger anchored them."""
    return here.transparency.growth()


@get("/v1/ct/keys")
@prompt
def ct_keys(here: Node) -> CtKeys:
    """Origins and public keys of the logs that take entries, by the ledger; a monitor that trusts
    this node knows by them whose checkpoints it reads."""
    return here.transparency.keys()


@get("/v1/ct/{log:str}/{resource:path}", media_type=RESOURCE_MEDIA, sync_to_thread=True)
def ct_resource(
    here: Node, log: str, resource: str, request: Request[Any, Any, Any]
) -> Response[bytes]:
    """What a monitor reads of the present log of `certificates` (C2SP static-ct-api: `checkpoint`,
    `tile/...`, `issuer/...`; RFC 6962 section 4: `ct/v1/get-*`) or of `acts` (C2SP tlog-tiles), on
    the node that keeps them. Below `authority`, as `/v1/ct/authority/acts/checkpoint`, on every
    node: it asks the one that keeps them, but for RFC 6962."""
    query = {name: str(values[-1]) for name, values in request.query_params.dict().items()}
    found = here.log_resources.get(log, resource.lstrip("/"), query)
    caching = "public, max-age=31536000, immutable" if found.is_forever else "no-cache"
    headers = {"cache-control": caching}
    return Response(found.content, media_type=found.media, headers=headers)


@get("/v1/ct/report", sync_to_thread=True)
def ct_report(
    here: Node, begin: Annotated[int, Parameter(query="from")] = 0, to: int | None = None
) -> AuthorityReport:
    """What the present logs of the authority hold of the time from `from` on and before `to`,
    seconds since 1970, as evidence for an assessor; on the node that keeps them."""
    now_s = int(time.time())
    return here.reporting.report(begin, now_s + 1 if to is None else to, now_s)


@post("/v1/ocsp", media_type=OCSP_MEDIA, status_code=200, sync_to_thread=True)
def ocsp(here: Node, body: bytes) -> bytes:
    """An OCSP request (RFC 6960 appendix A.1) on a certificate of this network, answered on the
    node with the authority, as of the newest block. The answer names the ledger's height as the
    number of the list that says the same."""
    if len(body) > REQUEST_BYTES_MAX:
        raise InvalidInput(f"An OCSP request has at most {REQUEST_BYTES_MAX} bytes")
    return here.revocation_exports.ocsp(body, int(time.time()))


@get("/v1/crl", media_type=CRL_MEDIA, sync_to_thread=True)
def crl(here: Node) -> bytes:
    """The revocation list of this network's issuing CA (RFC 5280 section 5), DER, on the node with
    the authority. Its CRL number is the ledger's height at which it stands."""
    return here.revocation_exports.crl(int(time.time()))


ROUTES: list[ControllerRouterHandler] = [ct, ct_growth, ct_keys, ct_report, ct_resource, ocsp, crl]
