"""The certificates of the network, as far as this node knows them.

The node with the certificate authority has every one that it issued. The others have their own, and
from the ledger the digest and the end of the newest of each node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from hypermesh.ledger import identity, transparency
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.trustchain.ca.authority import CertificateAuthority, Issued
from hypermesh.trustchain.ct.sct import read_sct
from hypermesh.trustchain.description import describe, pem
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.certificate import (
    AuthorityView,
    CertificateDetail,
    CertificatePage,
    CertificateView,
)
from hypermesh.wire.api.ct import LogEntry
from hypermesh.wire.errors import InvalidInput, NotFound
from hypermesh.wire.ids import Hash, NodeId, OwnerId, parse_hex

SEARCHED_MAX = 10_000
"""Certificates of the authority that are looked at, the newest first, for one by its digest."""
SEARCHED_AT_ONCE = 500
ME = "me"


class Certificates:
    """Reads, by any thread."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        authority: CertificateAuthority | None,
        name: Callable[[NodeId], str],
        log: Callable[[Hash], str | None] = lambda _: None,
    ) -> None:
        """`authority` is the network's, where it is here; `log` the origin of its log with that
        fingerprint."""
        self._membership = membership
        self._chain = chain
        self._authority = authority
        self._name = name
        self._log = log

    def page(self, cursor: str | None, limit: int) -> CertificatePage:
        """Certificates, newest first, those after `cursor`."""
        with self._chain.ledger.state() as state:
            if self._authority is not None:
                return self._issued(state, self._authority, cursor, limit)
            return self._known(state, cursor, limit)

    def get(self, named: str) -> CertificateDetail:
        """The certificate with the SHA-256 `named`, or the newest of the node `named`, or this
        node's own as `me`. Raises `NotFound`."""
        with self._chain.ledger.state() as state:
            if named == ME:
                return self._own(state)
            wanted = parse_hex(named, 32, "certificate's SHA-256 or node id")
            found = self._of_node(state, wanted) or self._with_digest(state, wanted)
        if found is None:
            raise NotFound(
                f"This node knows no certificate {named}",
                why=self._why_unknown,
                fix="See `hm cert ls`",
            )
        return found

    def authority(self) -> AuthorityView:
        """Who certifies the nodes of this network, as this copy of the ledger knows it."""
        root = self._membership.genesis.root_certificate
        with self._chain.ledger.state() as state:
            issuers = list(identity.all_issuers(state))
            until_ms = identity.issuers(state, self._chain.now_ms()).until_ms
        return AuthorityView(
            root_sha256=fingerprint(root).hex(),
            root_not_after_ms=describe(root).not_after_s * 1000,
            issuing_sha256=fingerprint(issuers[0]).hex(),
            issuing_not_after_ms=describe(issuers[0]).not_after_s * 1000,
            replaced=len(issuers) - 1,
            believed_until_ms=until_ms,
            here=self._authority is not None,
        )

    # Lists

    def _issued(
        self, state: State, authority: CertificateAuthority, cursor: str | None, limit: int
    ) -> CertificatePage:
        before = None if cursor is None else _number(cursor)
        rows = authority.issued(before, limit + 1)
        items = [self._view(state, "authority", each) for _, each in rows[:limit]]
        return CertificatePage(items, str(rows[limit - 1][0]) if len(rows) > limit else None)

    def _known(self, state: State, cursor: str | None, limit: int) -> CertificatePage:
        after = (0, b"") if cursor is None else _place(cursor)
        views = sorted(self._here(state), key=_rank)
        rest = [each for each in views if cursor is None or _rank(each) > after]
        items = rest[:limit]
        last = f"{items[-1].not_after_ms}-{items[-1].sha256}" if len(rest) > limit else None
        return CertificatePage(items, last)

    def _here(self, state: State) -> Iterator[CertificateView]:
        """This node's own, and the newest of every other node."""
        own = self._own(state).certificate
        yield own
        for node, row in identity.nodes(state):
            if row.certificate_sha256.hex() != own.sha256:
                yield self._of_ledger(node, row)

    # One

    def _own(self, state: State) -> CertificateDetail:
        membership = self._membership
        leaf = membership.chain[0]
        owner, node = membership.owner, membership.keys.id
        view = self._read(state, "self", leaf, node, owner)
        detail = self._detail(state, node, view, membership.chain)
        logged = membership.logged
        if logged is None:
            return detail
        # What was kept has been checked, so it needs no more than to be read.
        sct = read_sct(logged.sct)
        entry = _entry(state, logged.log.log.origin, sct.index, sct.timestamp_ms)
        return msgspec.structs.replace(detail, logged=entry)

    def _of_node(self, state: State, node: NodeId) -> CertificateDetail | None:
        if node == self._membership.keys.id:
            return self._own(state)
        if self._authority is not None:
            latest = self._authority.latest(node)
            return None if latest is None else self._of_authority(state, self._authority, latest)
        row = identity.node(state, node)
        if row is None:
            return None
        return self._detail(state, node, self._of_ledger(node, row), None)

    def _with_digest(self, state: State, sha256: Hash) -> CertificateDetail | None:
        if sha256 == fingerprint(self._membership.chain[0]):
            return self._own(state)
        if self._authority is not None:
            for each in _newest(self._authority):
                if fingerprint(each.certificate) == sha256:
                    return self._of_authority(state, self._authority, each)
            return None
        for node, row in identity.nodes(state):
            if row.certificate_sha256 == sha256:
                return self._detail(state, node, self._of_ledger(node, row), None)
        return None

    def _of_authority(
        self, state: State, authority: CertificateAuthority, issued: Issued
    ) -> CertificateDetail:
        view = self._view(state, "authority", issued)
        detail = self._detail(state, issued.node, view, authority.chain(issued))
        recording = authority.recording(issued)
        origin = None if recording is None else self._log(recording.log)
        if recording is None or origin is None:
            return detail
        at = recording.recorded
        entry = _entry(state, origin, at.index, at.timestamp_ms)
        return msgspec.structs.replace(detail, logged=entry)

    def _detail(
        self, state: State, node: NodeId, view: CertificateView, chain: list[bytes] | None
    ) -> CertificateDetail:
        revocation = identity.revocation(state, node)
        return CertificateDetail(
            certificate=view,
            chain=None if chain is None else [pem(each) for each in chain],
            revocation=None if revocation is None else revocation.reason,
        )

    @property
    def _why_unknown(self) -> str:
        if self._authority is None:
            return "it knows its own, and the newest of each node on the ledger"
        return f"it issued none such among the newest {SEARCHED_MAX}"

    # Views

    def _view(
        self, state: State, known_by: Literal["authority", "self"], issued: Issued
    ) -> CertificateView:
        return self._read(state, known_by, issued.certificate, issued.node, issued.owner)

    def _read(
        self,
        state: State,
        known_by: Literal["authority", "self"],
        certificate: bytes,
        node: NodeId,
        owner: OwnerId,
    ) -> CertificateView:
        said, sha256 = describe(certificate), fingerprint(certificate)
        row = identity.node(state, node)
        return CertificateView(
            sha256=sha256.hex(),
            node=node.hex(),
            name=self._name(node),
            owner=owner.hex(),
            serial=said.serial,
            subject=said.subject,
            not_before_ms=said.not_before_s * 1000,
            not_after_ms=said.not_after_s * 1000,
            current=row is not None and row.certificate_sha256 == sha256,
            revoked=row is not None and row.revoked,
            known_by=known_by,
        )

    def _of_ledger(self, node: NodeId, row: identity.Node) -> CertificateView:
        return CertificateView(
            sha256=row.certificate_sha256.hex(),
            node=node.hex(),
            name=self._name(node),
            owner=row.owner.hex(),
            serial=None,
            subject=None,
            not_before_ms=None,
            not_after_ms=row.not_after_ms,
            current=True,
            revoked=row.revoked,
            known_by="ledger",
        )


def _entry(state: State, origin: str, index: int, logged_ms: int) -> LogEntry:
    row = transparency.log(state, origin)
    return LogEntry(origin, index, logged_ms, row is not None and index < row.newest.size)


def _newest(authority: CertificateAuthority) -> Iterator[Issued]:
    """Those that are searched, a part at a time: the authority's store has one writer."""
    before: int | None = None
    for _ in range(0, SEARCHED_MAX, SEARCHED_AT_ONCE):
        rows = authority.issued(before, SEARCHED_AT_ONCE)
        yield from (issued for _, issued in rows)
        if len(rows) < SEARCHED_AT_ONCE:
            return
        before = rows[-1][0]


def _rank(view: CertificateView) -> tuple[int, bytes]:
    """Certificates live equally long, so the one that ends last is the newest."""
    return -view.not_after_ms, bytes.fromhex(view.sha256)


def _number(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 15:
        raise InvalidInput(f"{cursor[:80]!r} is no cursor of this list")
    return int(cursor)


def _place(cursor: str) -> tuple[int, bytes]:
    ends, _, sha256 = cursor.partition("-")
    return -_number(ends), parse_hex(sha256, 32, "cursor")
