"""The report over what a network's authority did: from its logs, at the node that keeps them.

The logs are what the authority cannot change behind anybody's back, so the report is made from them
alone: a pure function over their entries. It is evidence for an assessor, and no certification.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from html import escape

import msgspec
from cryptography import x509

from hypermesh.ledger import identity
from hypermesh.node.admitting import Admitting
from hypermesh.node.authority_logs import (
    InvitationAct,
    IssuerAct,
    NameAct,
    NameDropAct,
    PartnerAct,
    PartnerDropAct,
    PhaseAct,
    RevocationAct,
)
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.trustchain.ca.authority import NODE_LIFETIME_S, RENEWAL_S
from hypermesh.trustchain.controls import control
from hypermesh.trustchain.ct.entry import ActLeaf, Entry, read_act
from hypermesh.trustchain.ct.log import CertificateView, LogView
from hypermesh.trustchain.ct.watch import names_in
from hypermesh.trustchain.report_page import controls, counts, document, moment, period, table
from hypermesh.trustchain.subject import subject_node
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.report import AuthorityReport, ReportedAct, ReportedCertificate
from hypermesh.wire.codec import Undecodable, decode
from hypermesh.wire.errors import InvalidInput, NotAvailable

SHOWN_MAX = 1000
"""Certificates, and acts, that are shown one by one; all of them are counted."""
AT_ONCE = 256
_OWNER = "hm:owner:"

CAVEAT = (
    "This report is made from the transparency logs of the network's authority, which the ledger "
    "anchors. It is evidence that an assessor may use for the controls named here; it certifies no "
    "compliance."
)
POLICY = (
    "Node certificates under an invitation, or renewed by the node's own keys; P-256 and "
    "FALCON-1024 signatures over Ed25519 and FALCON-1024 keys",
    f"Lifetime {NODE_LIFETIME_S // 3600} h; renewal until {RENEWAL_S // 86_400} days after the "
    "end, unless revoked",
    "Every certificate is in the log of certificates before anyone has it",
)
CONTROLS = [
    control("CC6.1", "Certificates issued: to which node, of which owner, under which policy"),
    control("CC6.2", "Invitations before certificates; revocations with reason and owner"),
    control("CC6.7", "Certificates for TLS and STOQ, their lifetimes and keys"),
    control("CC7.2", "Every certificate and act has a place in a log that other nodes cosign"),
    control("CC8.1", "Replaced issuers, partner networks and names, with block and owner"),
    control("164.312(a)(1)", "Certificates issued and revoked, with their owners"),
    control("164.312(b)", "Entries of both logs in the period, by their positions"),
    control("164.312(c)(1)", "Checkpoints of both logs; the ledger refuses another history"),
    control("164.312(d)", "Certificates by node and owner"),
    control("164.312(e)(1)", "Certificates for TLS and STOQ, their lifetimes and keys"),
]
_KINDS = {
    each.kind: each
    for each in (
        InvitationAct,
        RevocationAct,
        IssuerAct,
        PartnerAct,
        PartnerDropAct,
        NameAct,
        NameDropAct,
        PhaseAct,
    )
}


class Reporting:
    """On the node with the authority; on others every call raises `NotAvailable`."""

    def __init__(self, membership: Membership, chain: Chain, admitting: Admitting) -> None:
        self._membership = membership
        self._chain = chain
        self._admitting = admitting

    def report(self, from_s: int, to_s: int, now_s: int) -> AuthorityReport:
        """What the present logs hold of the time from `from_s` on and before `to_s`, seconds since
        1970. Raises `NotAvailable`, `InvalidInput`."""
        if not 0 <= from_s < to_s:
            raise InvalidInput("from is before to, both in seconds since 1970")
        logs = self._admitting.logs
        if logs is None:
            raise NotAvailable(
                "Only the founder's node reports on the authority",
                why="it keeps the transparency logs",
                fix="Run `hm cert report` on the machine that founded the network",
            )
        certificates, acts = logs.present.certificates, logs.present.acts
        checkpoints = {each.identity.origin: each.checkpoint() for each in (certificates, acts)}
        logged = _between(
            certificates, lambda at: certificates.entry(at).timestamp_ms, from_s, to_s
        )
        acted = _between(acts, lambda at: read_act(acts.leaf(at)).timestamp_ms, from_s, to_s)
        with self._chain.ledger.state_with_height() as (height, state):
            issuers = [fingerprint(each).hex() for each in identity.all_issuers(state)]
        genesis = self._membership.genesis
        return made(
            _entries(certificates, logged),
            (read_act(leaf) for leaf in _leaves(acts, acted)),
            AuthorityReport(
                network=genesis.name,
                genesis=self._membership.genesis_id.hex(),
                height=height,
                from_s=from_s,
                to_s=to_s,
                made_s=now_s,
                caveat=CAVEAT,
                policy=list(POLICY),
                root_sha256=fingerprint(genesis.root_certificate).hex(),
                issuing_sha256=issuers,
                issued=0,
                issued_by_owner={},
                revoked=0,
                revoked_by_reason={},
                revoked_by_owner={},
                acts_by_kind={},
                positions={
                    certificates.identity.origin: (logged.start, logged.stop),
                    acts.identity.origin: (acted.start, acted.stop),
                },
                checkpoints={name: note.decode() for name, note in checkpoints.items()},
                controls=CONTROLS,
                certificates=[],
                certificates_left_out=0,
                acts=[],
                acts_left_out=0,
            ),
        )


def made(
    entries: Iterable[Entry], acts: Iterable[ActLeaf], head: AuthorityReport
) -> AuthorityReport:
    """`head` with what `entries` and `acts` add up to; these are all of its period. Pure."""
    owners: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    revokers: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    certificates: list[ReportedCertificate] = []
    shown: list[ReportedAct] = []
    for entry in entries:
        certificate = _certificate(entry)
        owners[certificate.owner or "no owner: a server's"] += 1
        if len(certificates) < SHOWN_MAX:
            certificates.append(certificate)
    for leaf in acts:
        act = _act(leaf)
        kinds[act.kind] += 1
        if act.kind == RevocationAct.kind:
            reasons[act.reason or "unknown"] += 1
            revokers[act.by or "unknown"] += 1
        if len(shown) < SHOWN_MAX:
            shown.append(act)
    return msgspec.structs.replace(
        head,
        issued=owners.total(),
        issued_by_owner=dict(sorted(owners.items())),
        revoked=kinds[RevocationAct.kind],
        revoked_by_reason=dict(sorted(reasons.items())),
        revoked_by_owner=dict(sorted(revokers.items())),
        acts_by_kind={kind: count for kind, count in sorted(kinds.items()) if count},
        certificates=certificates,
        certificates_left_out=owners.total() - len(certificates),
        acts=shown,
        acts_left_out=kinds.total() - len(shown),
    )


def page(report: AuthorityReport) -> str:
    """The report as one HTML file."""
    facts = [
        ("Issued", str(report.issued)),
        ("Revoked", str(report.revoked)),
        *(("Policy", each) for each in report.policy),
        ("Genesis", report.genesis),
        ("Ledger", f"as of block {report.height}"),
        ("Root, SHA-256", report.root_sha256),
        ("Issuing CA, SHA-256", ", ".join(report.issuing_sha256)),
    ]
    issued = [
        (
            str(each.index),
            moment(each.logged_s),
            each.node or ", ".join(each.names),
            each.owner or "",
            moment(each.not_after_s),
            each.sha256,
        )
        for each in report.certificates
    ]
    acts = [
        (
            str(each.index),
            moment(each.logged_s),
            each.kind,
            each.subject,
            each.by or "",
            each.reason or "",
            "" if each.height is None else str(each.height),
        )
        for each in report.acts
    ]
    left = report.certificates_left_out + report.acts_left_out
    return document(
        report.network,
        (
            period(report.from_s, report.to_s, report.made_s, report.caveat),
            "<h2>What is in the logs</h2>",
            table(("", ""), facts),
            counts("Issued by owner", report.issued_by_owner),
            counts("Revoked by reason", report.revoked_by_reason),
            counts("Revoked by", report.revoked_by_owner),
            counts("Acts by kind", report.acts_by_kind),
            "<h2>Log positions</h2>",
            table(
                ("log", "first entry", "entry after the last"),
                [(name, str(a), str(b)) for name, (a, b) in report.positions.items()],
            ),
            "".join(f"<pre>{escape(note)}</pre>" for note in report.checkpoints.values()),
            controls(report.controls),
            "<h2>Certificates</h2>",
            table(("entry", "logged", "node or names", "owner", "until", "SHA-256"), issued),
            "<h2>Acts</h2>",
            table(("entry", "logged", "act", "on", "by", "reason", "block"), acts),
            f"<p>{left} more are counted and not shown.</p>" if left else "",
        ),
    )


def _between(view: LogView, at_ms: Callable[[int], int], from_s: int, to_s: int) -> range:
    """The entries of a time; timestamps in a log never go back."""
    known = range(view.head.size)
    first = bisect_left(known, from_s * 1000, key=at_ms)
    return range(first, bisect_left(known, to_s * 1000, lo=first, key=at_ms))


def _entries(view: CertificateView, places: range) -> Iterator[Entry]:
    at = places.start
    while at < places.stop:
        some = [view.entry(each) for each in range(at, min(at + AT_ONCE, places.stop))]
        yield from some
        at += len(some)


def _leaves(view: LogView, places: range) -> Iterator[bytes]:
    at = places.start
    while at < places.stop:
        some = view.leaves(at, min(AT_ONCE, places.stop - at))
        yield from some
        at += len(some)


def _certificate(entry: Entry) -> ReportedCertificate:
    certificate = x509.load_der_x509_certificate(entry.submitted)
    node, names = subject_node(certificate), list(names_in(certificate))
    owners = [each.removeprefix(_OWNER) for each in names if each.startswith(_OWNER)]
    return ReportedCertificate(
        entry.index,
        entry.timestamp_ms // 1000,
        None if node is None else node.hex(),
        owners[0] if node is not None and owners else None,
        names,
        certificate.issuer.rfc4514_string(),
        int(certificate.not_valid_after_utc.timestamp()),
        hashlib.sha256(entry.submitted).hexdigest(),
    )


def _act(leaf: ActLeaf) -> ReportedAct:
    subject, reason, by, height = "", None, None, None
    kind = _KINDS.get(leaf.kind)
    try:
        said = None if kind is None else decode(kind, leaf.document)
    except Undecodable:
        # An act of another version is counted all the same.
        said = None
    if said is not None:
        for name in ("node", "network", "certificate_sha256", "secret_digest", "label", "phase"):
            value = getattr(said, name, None)
            if value is not None:
                subject = value.hex() if isinstance(value, bytes) else str(value)
        reason, height = getattr(said, "reason", None), getattr(said, "height", None)
        signer = getattr(said, "by", None) or getattr(said, "owner", None)
        # An invitation names who takes the machine in, and is the authority's own act.
        if signer is not None and leaf.kind != InvitationAct.kind:
            by = signer.hex()
    return ReportedAct(
        leaf.index, leaf.timestamp_ms // 1000, leaf.kind, subject, reason, by, height
    )
