"""Routes of the transparency logs.

/ct/v1/*                                  RFC 6962 section 4, over the log of certificates
/checkpoint /tile/* /issuer/*             static-ct-api, the log of certificates
/acts/checkpoint /acts/tile/*             tlog-tiles, the log of acts
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from hypermesh.standalone.trust.call import Answer, Call, as_json
from hypermesh.standalone.trust.parts import Parts
from hypermesh.trustchain.ct.log import LogView
from hypermesh.wire.errors import InvalidInput

CHAIN_BYTES_MAX = 1024 * 1024
FOREVER = "public, max-age=31536000, immutable"
"""Full tiles and issuers never change (static-ct-api)."""
BRIEFLY = "no-cache"


class Chain(msgspec.Struct):
    """The body of add-chain and add-pre-chain (RFC 6962 sections 4.1, 4.2)."""

    chain: list[str]


def add_chain(parts: Parts, call: Call) -> Answer:
    return as_json(parts.rfc6962.add_chain(call.json(Chain, CHAIN_BYTES_MAX).chain))


def add_pre_chain(parts: Parts, call: Call) -> Answer:
    return as_json(parts.rfc6962.add_pre_chain(call.json(Chain, CHAIN_BYTES_MAX).chain))


def get_sth(parts: Parts, call: Call) -> Answer:
    del call
    return as_json(parts.rfc6962.get_sth(), cache_control=BRIEFLY)


def get_sth_consistency(parts: Parts, call: Call) -> Answer:
    first, second = call.number("first"), call.number("second")
    return as_json(parts.rfc6962.get_sth_consistency(first, second))


def get_proof_by_hash(parts: Parts, call: Call) -> Answer:
    text = call.query.get("hash", "")
    try:
        leaf = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("hash is base64", why=f"given: {text[:80]!r}") from error
    return as_json(parts.rfc6962.get_proof_by_hash(leaf, call.number("tree_size")))


def get_entries(parts: Parts, call: Call) -> Answer:
    return as_json(parts.rfc6962.get_entries(call.number("start"), call.number("end")))


def get_entry_and_proof(parts: Parts, call: Call) -> Answer:
    index, size = call.number("leaf_index"), call.number("tree_size")
    return as_json(parts.rfc6962.get_entry_and_proof(index, size))


def get_roots(parts: Parts, call: Call) -> Answer:
    del call
    return as_json(parts.rfc6962.get_roots())


def checkpoint(parts: Parts, call: Call) -> Answer:
    del call
    return _note(parts.logs.certificates)


def tile(parts: Parts, call: Call) -> Answer:
    return _tile(parts.logs.certificates, call)


def issuer(parts: Parts, call: Call) -> Answer:
    data = parts.logs.certificates.resource(f"issuer/{call.path['fingerprint']}")
    return Answer(data, "application/pkix-cert", headers={"cache-control": FOREVER})


def acts_checkpoint(parts: Parts, call: Call) -> Answer:
    del call
    return _note(parts.logs.acts)


def acts_tile(parts: Parts, call: Call) -> Answer:
    return _tile(parts.logs.acts, call)


def identities(parts: Parts, call: Call) -> Answer:
    """The public keys of both logs, for those who check them."""
    del call
    return as_json(
        {
            "certificates": _identity(parts.logs.certificates),
            "acts": _identity(parts.logs.acts),
        }
    )


def _identity(view: LogView) -> dict[str, Any]:
    from hypermesh.trustchain.bundle import LogKeys

    return msgspec.to_builtins(LogKeys.of(view.identity))  # type: ignore[no-any-return]


def _note(view: LogView) -> Answer:
    return Answer(
        view.checkpoint(), "text/plain; charset=utf-8", headers={"cache-control": BRIEFLY}
    )


def _tile(view: LogView, call: Call) -> Answer:
    path = call.path["path"].lstrip("/")
    partial = ".p/" in path
    data = view.resource(f"tile/{path}")
    caching = BRIEFLY if partial else FOREVER
    return Answer(data, "application/octet-stream", headers={"cache-control": caching})
