"""Routes of this server as a witness of others' logs (C2SP tlog-witness)."""

from __future__ import annotations

from hypermesh.standalone.trust.call import Answer, Call, as_json
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.witnesses import SIZE_MEDIA
from hypermesh.trustchain.ct.errors import WitnessConflict
from hypermesh.trustchain.ct.witness import REQUEST_BYTES_MAX, Witness, read_add_checkpoint
from hypermesh.wire.errors import NotFound


def add_checkpoint(parts: Parts, call: Call) -> Answer:
    call.require_size(REQUEST_BYTES_MAX)
    try:
        lines = _witness(parts).add_checkpoint(read_add_checkpoint(call.body))
    except WitnessConflict as conflict:
        return Answer(f"{conflict.size}\n".encode(), SIZE_MEDIA, conflict.status)
    return Answer(lines, "text/plain; charset=utf-8")


def witness(parts: Parts, call: Call) -> Answer:
    """Who cosigns here: what others put into their settings."""
    del call
    return as_json({"key": _witness(parts).verifier.vkey})


def _witness(parts: Parts) -> Witness:
    if parts.witness is None:
        raise NotFound("This server is no witness", fix="Set name in [cosigning]")
    return parts.witness
