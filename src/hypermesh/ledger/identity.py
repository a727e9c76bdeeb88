"""The identity module: which owners and nodes a network knows, and who may still sign.

    identity/owner/<OwnerId>      keys                 known for good
    identity/node/<NodeId>        keys, owner, certificate fingerprint and end, revoked or not
    identity/revoked/<NodeId>     why, when, by whom   for good
    identity/prefix/<8 bytes>     the one NodeId that begins with them
    identity/nonce/<signer>       transactions spent; apart, so that they cost no key to rewrite
    identity/anchors/             the certificates of genesis, by which all others are checked
    identity/issuer/<number>      the issuing CAs that took the place of that of genesis, from 1
    identity/issuers/             how many these are
    identity/issued_by/<NodeId>   the number of the issuer of a node's certificate, where not 0

A node may sign while its certificate holds at block time (and a little longer), an owner always, a
revoked node never. Whoever has a certificate of an issuing CA that was replaced is believed until
its grace is over, and needs another for all that comes after. The module is also the kernel's
`Authenticator`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from hypermesh.crypto.keys import key_id
from hypermesh.ledger.authentication import Signer
from hypermesh.ledger.module import Call, Context, Event, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.trustchain.verify import (
    Anchors,
    CertificateRefused,
    CertifiedNode,
    check_issuing,
    check_node,
    fingerprint,
)
from hypermesh.wire.asset import TimeMs
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.tx import (
    WINDOW_MS_MAX,
    BlockOpening,
    Certificate,
    IdentityEnrol,
    IdentityOwn,
    IdentityReplaceIssuer,
    IdentityRevoke,
    Transaction,
)

PREFIX_BYTES = 8
"""Bytes of a NodeId that stand in addresses; unique on a network."""

EXPIRY_GRACE_MS = WINDOW_MS_MAX
"""How long after its certificate's end a node's transactions are still taken: as long as one that
was signed before the end may be on its way."""


class SignerUnknown(Refusal):
    """The ledger knows no owner and no node of this id."""

    code = "HM-TX-ID-0001"
    title = "The signer is not known to the ledger"
    remedy = "Make it known first: `hm up` for an owner, `hm join` for a node"


class SignerMismatch(Refusal):
    """The keys that the transaction introduces are not those of its signer."""

    code = "HM-TX-ID-0002"
    title = "The signer is not the one whose keys the transaction brings"


class SignerRevoked(Refusal):
    """The node's rights were ended for good."""

    code = "HM-TX-ID-0003"
    status = 403
    exit_code = 4
    title = "The signing node is revoked"
    remedy = "Remove its keys and join as a new node"


class SignerExpired(Refusal):
    """The node's certificate ended before this block."""

    code = "HM-TX-ID-0004"
    status = 403
    exit_code = 4
    title = "The signing node's certificate has expired"
    remedy = "Renew the certificate and make it known with `identity.enrol`"


class EnrolmentRefused(Refusal):
    """The certificate is not one that this network believes at block time."""

    code = "HM-TX-ID-0005"
    status = 403
    exit_code = 4
    title = "The certificate is not believed"


class OwnerUnknown(Refusal):
    """The owner that the certificate names has not made its keys known."""

    code = "HM-TX-ID-0006"
    title = "The node's owner is not known to the ledger"
    remedy = "Send the owner's `identity.own` first"


class PrefixTaken(Refusal):
    """Another node's id begins with the same 8 bytes, so addresses could not tell them apart."""

    code = "HM-TX-ID-0007"
    title = "Another node has the same address prefix"
    remedy = "Remove the node's keys and join again with new ones"


class OwnerFixed(Refusal):
    """The node is known under another owner, and a node keeps its owner."""

    code = "HM-TX-ID-0008"
    title = "The node belongs to another owner"
    remedy = "Remove the node's keys and join again with new ones"


class CertificateSuperseded(Refusal):
    """The ledger knows a certificate of this node that ends later."""

    code = "HM-TX-ID-0009"
    title = "The ledger knows a later certificate of this node"


class NodeUnknown(Refusal):
    """The ledger knows no node of this id."""

    code = "HM-TX-ID-0010"
    status = 404
    exit_code = 5
    title = "The node is not known to the ledger"


class RevocationForbidden(Refusal):
    """Only the key of the node's owner, or of the network's founder, ends a node's rights."""

    code = "HM-TX-ID-0011"
    status = 403
    exit_code = 4
    title = "Only its owner or the network's founder may revoke a node"
    remedy = "Sign with the owner's key; a node's key does not do"


class AlreadyRevoked(Refusal):
    """The node was revoked before, and that is for good."""

    code = "HM-TX-ID-0012"
    title = "The node is revoked already"


class KeysInUse(Refusal):
    """The same keys are known as a node's and cannot be an owner's too, or the other way round."""

    code = "HM-TX-ID-0013"
    title = "These keys already have the other role"
    remedy = "An owner and its nodes have keys of their own"


class IssuerForbidden(Refusal):
    """Only the key of the network's founder puts another issuing CA in the place of one."""

    code = "HM-TX-ID-0014"
    status = 403
    exit_code = 4
    title = "Only the network's founder may replace the issuing CA"
    remedy = "Run `hm cert rotate-issuer` on the node that founded the network"


class IssuerRefused(Refusal):
    """The certificate is not one of a new issuing CA below the network's root."""

    code = "HM-TX-ID-0015"
    title = "The certificate is no new issuing CA of this network"


class SignerIssuerReplaced(Refusal):
    """The issuing CA of the node's certificate was replaced, and its grace is over."""

    code = "HM-TX-ID-0016"
    status = 403
    exit_code = 4
    title = "The issuer of the signing node's certificate was replaced"
    remedy = "Renew the certificate and make it known with `identity.enrol`; a running node does"


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """An owner whose keys are known."""

    keys: PublicKeys


class Node(msgspec.Struct, frozen=True, array_like=True):
    """A node with the newest certificate that the ledger has seen. `not_after_ms` is its end in
    block time; for why it is `revoked` see `revocation`."""

    keys: PublicKeys
    owner: OwnerId
    certificate_sha256: Hash
    not_after_ms: TimeMs
    revoked: bool


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """Why, when and by whom a node's rights were ended."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    height: Annotated[int, Meta(ge=1, le=2**53)]
    by: OwnerId


class Issuer(msgspec.Struct, frozen=True, array_like=True):
    """An issuing CA since `since_ms` in block time; of certificates of the one before, connections
    are believed until `grace_ms` after that."""

    certificate: Certificate
    since_ms: TimeMs
    grace_ms: Annotated[int, Meta(ge=0)]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class Issuers(NamedTuple):
    """The issuing CAs (DER) whose certificates are believed on connections, the present one first,
    and until when (milliseconds since 1970) that is so; None where the present one is alone."""

    certificates: tuple[bytes, ...]
    until_ms: int | None


class _Anchors(msgspec.Struct, frozen=True, array_like=True):
    network: GenesisId
    root: Certificate
    issuing: Certificate
    founder: OwnerId


_owners = Table("identity/owner/", Owner)
_nodes = Table("identity/node/", Node)
_revoked = Table("identity/revoked/", Revocation)
_prefixes = Table("identity/prefix/", bytes)
_nonces = Table("identity/nonce/", int)
_anchors = Table("identity/anchors/", _Anchors)
_issuers = Table("identity/issuer/", Issuer)
_issuer_count = Table("identity/issuers/", int)
_issued_by = Table("identity/issued_by/", int)

ISSUERS_MAX = 1_000
"""Replacements of one network's issuing CA; its root does not live long enough for more."""


def founder(state: State) -> OwnerId:
    """Whose key governs the network."""
    return _network(state).founder


def owner(state: State, identifier: OwnerId) -> Owner | None:
    """The owner of this id, if its keys are known."""
    return _owners.get(state, identifier)


def node(state: State, identifier: NodeId) -> Node | None:
    """The node of this id, if it ever enrolled: revoked and expired nodes stay known."""
    return _nodes.get(state, identifier)


def nodes(state: State) -> Iterator[tuple[NodeId, Node]]:
    """Every node that ever enrolled, by ascending id."""
    return _nodes.rows(state)


def revocation(state: State, identifier: NodeId) -> Revocation | None:
    """Why the node of this id has no rights any more; None where nobody ended them."""
    return _revoked.get(state, identifier)


def revocations(state: State) -> Iterator[tuple[NodeId, Revocation]]:
    """Every node whose rights were ended, by ascending id."""
    return _revoked.rows(state)


def node_key(identifier: NodeId) -> bytes:
    """The state key of a node's row, as it appears in proofs."""
    return _nodes.key(identifier)


def read_node(data: bytes) -> Node:
    """The row of a node as somebody else shows it; raises `Undecodable`."""
    return _nodes.read(data)


def revocation_key(identifier: NodeId) -> bytes:
    """The state key of a node's revocation."""
    return _revoked.key(identifier)


def read_revocation(data: bytes) -> Revocation:
    """A revocation as somebody else shows it; raises `Undecodable`."""
    return _revoked.read(data)


def revoked(state: State) -> frozenset[NodeId]:
    """All nodes whose rights were ended."""
    return frozenset(identifier for identifier, _ in _revoked.rows(state))


def issuers(state: State, time_ms: int) -> Issuers:
    """Whose certificates are believed at `time_ms`, milliseconds since 1970."""
    number, until_ms = _issuer_count.get(state, b"") or 0, None
    found = [_issuer(state, number)]
    while number and time_ms <= (ends_ms := _replaced_until(state, number)):
        until_ms = ends_ms if until_ms is None else min(until_ms, ends_ms)
        number -= 1
        found.append(_issuer(state, number))
    return Issuers(tuple(found), until_ms)


def issuer(state: State) -> bytes:
    """The certificate (DER) of the present issuing CA."""
    return _issuer(state, _issuer_count.get(state, b"") or 0)


def all_issuers(state: State) -> Iterator[bytes]:
    """The certificates (DER) of all issuing CAs of this network, the present one first."""
    count = _issuer_count.get(state, b"") or 0
    return (_issuer(state, number) for number in range(count, -1, -1))


def replacements(state: State) -> Iterator[Issuer]:
    """Every issuing CA that was put in the place of one before, in their order."""
    return (row for _, row in _issuers.rows(state))


def is_issuer(state: State, certificate: bytes) -> bool:
    """Whether `certificate` (DER) is that of an issuing CA of this network, present or replaced."""
    return certificate in all_issuers(state)


def is_issuer_believed(state: State, identifier: NodeId, time_ms: int) -> bool:
    """Whether the issuer of the node's certificate on the ledger is believed at `time_ms`; a node
    that never enrolled has none."""
    if _nodes.get(state, identifier) is None:
        return False
    count = _issuer_count.get(state, b"") or 0
    if count == 0:
        return True
    number = _issued_by.get(state, identifier) or 0
    return all(time_ms <= _replaced_until(state, later) for later in range(count, number, -1))


def resolve_prefix(state: State, prefix: bytes) -> NodeId | None:
    """The one node whose id begins with `prefix` (8 to 32 bytes); None where there is none."""
    if len(prefix) < PREFIX_BYTES:
        return None
    identifier = _prefixes.get(state, prefix[:PREFIX_BYTES])
    return identifier if identifier is not None and identifier.startswith(prefix) else None


def nonce(state: State, signer: Hash) -> int:
    """The nonce that the next transaction of `signer` carries, known or not."""
    return _nonces.get(state, signer) or 0


class Identity:
    """The module `identity`, and the kernel's authenticator."""

    name = "identity"
    bodies: tuple[type, ...] = (IdentityOwn, IdentityEnrol, IdentityRevoke, IdentityReplaceIssuer)

    def signer(self, state: State, transaction: Transaction, time_ms: int) -> Signer:
        """See `Authenticator.signer`. An expired node may still bring its new certificate."""
        body, identifier = transaction.body, transaction.signer
        spent = nonce(state, identifier)
        if isinstance(body, IdentityOwn):
            _require_signer(identifier, key_id(body.keys))
            return Signer(body.keys, identifier, False, spent)
        enrolled = _nodes.get(state, identifier)
        if enrolled is not None and enrolled.revoked:
            raise SignerRevoked
        if isinstance(body, IdentityEnrol):
            certified = _certified(state, body, time_ms)
            _require_signer(identifier, certified.id)
            return Signer(certified.keys, certified.owner, True, spent)
        known = _owners.get(state, identifier)
        if known is not None:
            return Signer(known.keys, identifier, False, spent)
        if enrolled is None:
            raise SignerUnknown(f"The ledger knows no signer {identifier.hex()}")
        if time_ms > enrolled.not_after_ms + EXPIRY_GRACE_MS:
            raise SignerExpired(
                why=f"it ended {time_ms - enrolled.not_after_ms} ms before this block"
            )
        if not is_issuer_believed(state, identifier, time_ms - EXPIRY_GRACE_MS):
            raise SignerIssuerReplaced
        return Signer(enrolled.keys, enrolled.owner, True, spent)

    def spend_nonce(self, state: State, signer: Hash) -> None:
        """See `Authenticator.spend_nonce`."""
        _nonces.put(state, signer, nonce(state, signer) + 1)

    def begin(self, context: Context) -> None:
        """Genesis makes the anchors and the founder known."""
        genesis = context.genesis
        founder = key_id(genesis.founder)
        anchors = _Anchors(
            context.genesis_id, genesis.root_certificate, genesis.issuing_certificate, founder
        )
        _anchors.put(context.state, b"", anchors)
        _owners.put(context.state, founder, Owner(genesis.founder))

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Nothing here begins with a block."""

    def execute(self, context: Context, call: Call) -> None:
        """One transaction of a type in `bodies`."""
        body = call.body
        if isinstance(body, IdentityOwn):
            self._own(context, call, body)
        elif isinstance(body, IdentityEnrol):
            self._enrol(context, call, body)
        elif isinstance(body, IdentityRevoke):
            self._revoke(context, call, body)
        elif isinstance(body, IdentityReplaceIssuer):
            self._replace_issuer(context, call, body)
        else:
            raise TypeError(f"identity does not execute {type(body).__name__}")

    def close_block(self, context: Context) -> None:
        """Nothing here falls due: an end of a certificate is read, not acted on."""

    def next_deadline(self, state: State) -> int | None:  # noqa: ARG002 - the protocol's
        """Never."""
        return None

    def check(self, context: Context) -> None:
        """Nothing to sum up: a node, its prefix and its owner are written together or not at all,
        and none is ever deleted."""

    def _own(self, context: Context, call: Call, body: IdentityOwn) -> None:
        identifier = call.transaction.signer
        if _nodes.get(context.state, identifier) is not None:
            raise KeysInUse
        # Known already: the founder from genesis, or a node that lost the answer and asks again.
        if _owners.get(context.state, identifier) is None:
            _owners.put(context.state, identifier, Owner(body.keys))
            context.events.append(Event("identity.owned", identifier))

    def _enrol(self, context: Context, call: Call, body: IdentityEnrol) -> None:
        state, identifier = context.state, call.transaction.signer
        certified = _certified(state, body, context.time_ms)
        if _owners.get(state, identifier) is not None:
            raise KeysInUse
        if _owners.get(state, certified.owner) is None:
            raise OwnerUnknown(f"The ledger knows no owner {certified.owner.hex()}")
        row = Node(
            certified.keys,
            certified.owner,
            fingerprint(body.certificate),
            certified.not_after_s * 1000,
            revoked=False,
        )
        known = _nodes.get(state, identifier)
        number = _issuer_count.get(state, b"") or 0
        number_before = _issued_by.get(state, identifier) or 0
        if known is None:
            prefix = identifier[:PREFIX_BYTES]
            if _prefixes.get(state, prefix) is not None:
                raise PrefixTaken(why=f"both begin with {prefix.hex()}")
            _prefixes.put(state, prefix, identifier)
        elif known == row:
            return
        elif known.owner != row.owner:
            raise OwnerFixed
        elif row.not_after_ms <= known.not_after_ms and number == number_before:
            raise CertificateSuperseded
        if number != number_before:
            _issued_by.put(state, identifier, number)
        _nodes.put(state, identifier, row)
        context.events.append(Event("identity.enrolled", identifier, certified.owner))

    def _revoke(self, context: Context, call: Call, body: IdentityRevoke) -> None:
        state = context.state
        target = _nodes.get(state, body.node)
        if target is None:
            raise NodeUnknown(f"The ledger knows no node {body.node.hex()}")
        if call.signer_is_node or call.owner not in (target.owner, _network(state).founder):
            raise RevocationForbidden
        if target.revoked:
            raise AlreadyRevoked
        _nodes.put(state, body.node, msgspec.structs.replace(target, revoked=True))
        _revoked.put(state, body.node, Revocation(body.reason, context.height, call.owner))
        context.events.append(Event("identity.revoked", body.node, body.reason.encode()))

    def _replace_issuer(self, context: Context, call: Call, body: IdentityReplaceIssuer) -> None:
        state, network = context.state, _network(context.state)
        if call.signer_is_node or call.owner != network.founder:
            raise IssuerForbidden
        try:
            check_issuing(body.certificate, network.root, now_s=context.time_ms // 1000)
        except CertificateRefused as refusal:
            raise IssuerRefused(why=f"{refusal.code}: {refusal}") from refusal
        count = _issuer_count.get(state, b"") or 0
        if count >= ISSUERS_MAX:
            raise IssuerRefused(why=f"a network has at most {ISSUERS_MAX}")
        if body.certificate == network.root:
            raise IssuerRefused(why="the root issues no nodes")
        if is_issuer(state, body.certificate):
            raise IssuerRefused(why="it is the issuing CA, or was it")
        row = Issuer(body.certificate, context.time_ms, body.grace_ms, body.reason)
        _issuers.put(state, _number(count + 1), row)
        _issuer_count.put(state, b"", count + 1)
        context.events.append(
            Event("identity.issuer_replaced", fingerprint(body.certificate), body.reason.encode())
        )


def _number(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _issuer(state: State, number: int) -> bytes:
    """The certificate of an issuing CA, by its number; that of genesis is 0."""
    if number == 0:
        return _network(state).issuing
    return _replacement(state, number).certificate


def _replacement(state: State, number: int) -> Issuer:
    row = _issuers.get(state, _number(number))
    if row is None:
        raise RuntimeError(f"issuing CA {number} is counted and not there")
    return row


def _replaced_until(state: State, number: int) -> int:
    """The end of the grace for the predecessor of issuing CA `number`."""
    row = _replacement(state, number)
    return row.since_ms + row.grace_ms


def _network(state: State) -> _Anchors:
    anchors = _anchors.get(state, b"")
    if anchors is None:
        raise RuntimeError("the state does not begin with the identity module's genesis")
    return anchors


def _certified(state: State, body: IdentityEnrol, time_ms: int) -> CertifiedNode:
    network = _network(state)
    anchors = Anchors(network.network, network.root, issuer(state))
    try:
        return check_node(body.certificate, anchors, now_s=time_ms // 1000)
    except CertificateRefused as refusal:
        raise EnrolmentRefused(why=f"{refusal.code}: {refusal}") from refusal


def _require_signer(signer: Hash, brought: Hash) -> None:
    if signer != brought:
        raise SignerMismatch(why=f"it is signed as {signer.hex()} and brings {brought.hex()}")
