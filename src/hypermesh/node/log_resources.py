"""The present logs of the authority as other software reads them, over HTTP; on nodes that do not
keep them, by asking the one that does. Whoever reads checks what comes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hypermesh.crypto.keys import key_id
from hypermesh.node.admitting import Admitting
from hypermesh.node.authority_logs import AuthorityLogs
from hypermesh.node.membership import Membership
from hypermesh.node.service import Peer
from hypermesh.trustchain.ct.errors import NotInLog
from hypermesh.trustchain.ct.log import LogView
from hypermesh.trustchain.ct.recorder import CertificateRecorder
from hypermesh.trustchain.ct.rfc6962 import Rfc6962
from hypermesh.wire.errors import InvalidInput, Overloaded
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import LOG_RESOURCE_BYTES_MAX, LogReadRequest, LogReadResponse

RFC6962 = "ct/v1/"
AUTHORITY = "authority"
PATH_CHARACTERS_MAX = 200
NUMBER_DIGITS_MAX = 15
Query = Mapping[str, str]
Call = Callable[[NodeId, str, object, type[Any]], Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """What is served, as which media type, and whether it never changes."""

    content: bytes
    media: str
    is_forever: bool = False


class LogResources:
    """Reads, by any thread."""

    def __init__(self, membership: Membership, admitting: Admitting, call: Call) -> None:
        self._admitting = admitting
        self._root = membership.genesis.root_certificate
        self._authority = key_id(membership.genesis.sequencer)
        self._call = call

    def get(self, log: str, path: str, query: Query) -> Resource:
        """The resource under `path` of the log of `certificates` or of `acts`; `authority` and
        then these, wherever it is kept. Raises `NotInLog`, `EntryInvalid`, `InvalidInput`, or what
        a call to another node raises."""
        logs = self._admitting.logs
        if log == AUTHORITY:
            log, _, path = path.partition("/")
            if logs is None:
                return self._asked(log, path)
        if logs is None:
            raise NotInLog(
                "This node keeps no transparency log",
                why="the network's are at the node that founded it",
            )
        if log == "certificates" and path.startswith(RFC6962):
            answer = _ANSWERS.get(path.removeprefix(RFC6962))
            if answer is None:
                raise NotInLog(f"There is no {path[:80]!r} that reads a log")
            view = logs.present.certificates
            endpoints = Rfc6962(view, CertificateRecorder(logs.present), [self._root])
            content = msgspec.json.encode(answer(endpoints, query))
            return Resource(content, "application/json")
        if log not in ("certificates", "acts"):
            raise NotInLog(f"There is no log {log[:80]!r}", fix="certificates, acts")
        return _resource(path, _view(logs, log).resource(path))

    def read(self, peer: Peer, request: LogReadRequest) -> LogReadResponse:
        """`log.read`: a resource of a log that is kept here."""
        del peer
        logs = self._admitting.logs
        if logs is None:
            raise NotInLog("This node keeps no transparency log")
        content = _view(logs, request.log).resource(request.path)
        if len(content) > LOG_RESOURCE_BYTES_MAX:
            raise Overloaded(f"{request.path[:80]} has {len(content)} bytes, too many for one call")
        return LogReadResponse(content)

    def _asked(self, log: str, path: str) -> Resource:
        if log not in ("certificates", "acts") or not 1 <= len(path) <= PATH_CHARACTERS_MAX:
            raise NotInLog(f"There is no {path[:80]!r} of a log {log[:80]!r}")
        request = LogReadRequest("certificates" if log == "certificates" else "acts", path)
        answer: LogReadResponse = self._call(self._authority, "log.read", request, LogReadResponse)
        return _resource(path, answer.content)


def _view(logs: AuthorityLogs, log: str) -> LogView:
    return logs.present.certificates if log == "certificates" else logs.present.acts


def _resource(path: str, content: bytes) -> Resource:
    if path == "checkpoint":
        return Resource(content, "text/plain; charset=utf-8")
    return Resource(content, "application/octet-stream", is_forever=".p/" not in path)


def _number(query: Query, name: str) -> int:
    text = query.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS_MAX:
        raise InvalidInput(f"{name} is a number", why=f"given: {text[:80]!r}")
    return int(text)


def _hash(query: Query) -> bytes:
    try:
        return base64.b64decode(query.get("hash", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("hash is base64", why=str(error)) from error


_ANSWERS: dict[str, Callable[[Rfc6962, Query], msgspec.Struct]] = {
    "get-sth": lambda log, _: log.get_sth(),
    "get-sth-consistency": lambda log, query: log.get_sth_consistency(
        _number(query, "first"), _number(query, "second")
    ),
    "get-proof-by-hash": lambda log, query: log.get_proof_by_hash(
        _hash(query), _number(query, "tree_size")
    ),
    "get-entries": lambda log, query: log.get_entries(
        _number(query, "start"), _number(query, "end")
    ),
    "get-entry-and-proof": lambda log, query: log.get_entry_and_proof(
        _number(query, "leaf_index"), _number(query, "tree_size")
    ),
    "get-roots": lambda log, _: log.get_roots(),
}
