"""The compliance report: a pure function over the audit log.

It is evidence for an auditor, not a certification: it says what was recorded, by whom, under which
settings and where in the logs, and which controls of SOC 2 (AICPA Trust Services Criteria 2017) and
of the HIPAA Security Rule (45 CFR part 164) such records bear on. Whether a control is met is for
an assessor to say.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from hypermesh.standalone.trust.recording import policy_of
from hypermesh.trustchain.ca.audit import ORIGIN, AuditRow, follows
from hypermesh.trustchain.controls import control
from hypermesh.trustchain.report_page import controls, counts, document, moment, period, table
from hypermesh.wire.api.report import Control
from hypermesh.wire.codec import Undecodable, decode

ROWS_SHOWN_MAX = 1000
"""Acts that are shown one by one; all of them are counted."""


CAVEAT = (
    "This report is made from the authority's own records. It is evidence that an assessor may use "
    "for the controls named here; it certifies no compliance."
)


CONTROLS: tuple[Control, ...] = tuple(
    control(identifier, evidence)
    for identifier, evidence in (
        ("CC6.1", "Certificates issued: to whom, for which names, under which policies"),
        ("CC6.2", "By whom each was asked for; revocations with their reasons"),
        ("CC6.7", "Certificates for TLS, their lifetimes and key profile"),
        (
            "CC7.2",
            "Every certificate and every act of governance has a place in a transparency log",
        ),
        (
            "CC8.1",
            "Acts of governance: issuers, policies, tokens and external accounts, with the "
            "checkpoints",
        ),
        ("164.312(a)(1)", "Certificates issued and revoked, with who asked and who revoked"),
        ("164.312(b)", "The audit log's rows, each bound to the one before by its hash"),
        ("164.312(c)(1)", "The hash chain checked over the period; checkpoints of both logs"),
        ("164.312(d)", "Certificates by kind: services, users, nodes"),
        ("164.312(e)(1)", "Certificates for TLS, their lifetimes and key profile"),
    )
)


class PolicyInForce(msgspec.Struct, frozen=True):
    """What the server issued under from the audit row `number` on. `sha256` is of the whole policy;
    lists that `is_cut` says to be too long for a row are empty."""

    number: int
    at_s: int
    sha256: str
    profile: str
    permitted: tuple[str, ...]
    constraints: tuple[str, ...]
    clients: tuple[tuple[str, str], ...]
    is_external_account_required: bool
    is_cut: bool


class Act(msgspec.Struct, frozen=True):
    """One recorded act. `log_index` is the place of a certificate in its log, `names` are those in
    it."""

    number: int
    at_s: int
    actor: str
    kind: str
    subject: str
    certificate_kind: str | None
    log_index: int | None
    reason: int | None
    names: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """Times are seconds since 1970; `rows` are the first and last number of audit rows in the
    period, `chain` whether each of them is bound to the one before. `policies` are those in force
    in it, the first from before it; `profile` and `permitted` are of when the report is made."""

    organization: str
    from_s: int
    to_s: int
    made_s: int
    caveat: str
    profile: str
    permitted: tuple[str, ...]
    policies: list[PolicyInForce]
    root_sha256: str
    rows: tuple[int, int] | None
    head_before: str
    head_after: str
    chain_whole: bool
    acts_by_kind: dict[str, int]
    issued: int
    issued_by_kind: dict[str, int]
    issued_by_requester: dict[str, int]
    revoked: int
    revoked_by_reason: dict[str, int]
    revoked_by_actor: dict[str, int]
    log_indices: tuple[int, int] | None
    checkpoints: dict[str, str]
    controls: tuple[Control, ...]
    acts: list[Act]
    acts_left_out: int


def made(
    rows: Iterable[AuditRow],
    from_s: int,
    to_s: int,
    *,
    made_s: int,
    organization: str,
    profile: str,
    permitted: Sequence[str],
    root_sha256: str,
    logs: Mapping[str, str],
    names: Callable[[int], tuple[str, ...]],
) -> Report:
    """The report over those of `rows` (in order, any number before them) that are from `from_s` on
    and before `to_s`. `logs`: checkpoint by origin. `names`: those in a certificate, by its serial
    number."""
    kinds: Counter[str] = Counter()
    certificate_kinds: Counter[str] = Counter()
    requesters: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    revokers: Counter[str] = Counter()
    indices: list[int] = []
    shown: list[Act] = []
    numbers: list[int] = []
    policies: list[PolicyInForce] = []
    last: AuditRow | None = None
    head_before, head_after, is_whole = ORIGIN, ORIGIN, True
    for row in rows:
        is_bound = row == follows(row.entry, row.number, row.before)
        follows_last = last is None or (row.before, row.number) == (last.hash, last.number + 1)
        is_whole = is_whole and is_bound and follows_last
        last = row
        if row.entry.at_s < to_s and (policy := _policy(row)) is not None:
            if row.entry.at_s < from_s:
                policies.clear()
            # It is said again each day: what counts is where it differs.
            if not policies or policies[-1].sha256 != policy.sha256:
                policies.append(policy)
        if not from_s <= row.entry.at_s < to_s:
            continue
        if not numbers:
            head_before = row.before
        head_after = row.hash
        numbers = [numbers[0] if numbers else row.number, row.number]
        act = _act(row)
        kinds[act.kind] += 1
        if act.kind == "ca.issue":
            certificate_kinds[act.certificate_kind or "unknown"] += 1
            requesters[act.actor] += 1
            if act.log_index is not None:
                low, high = indices or (act.log_index, act.log_index)
                indices = [min(low, act.log_index), max(high, act.log_index)]
        elif act.kind == "ca.revoke":
            reasons[str(act.reason)] += 1
            revokers[act.actor] += 1
        if len(shown) < ROWS_SHOWN_MAX:
            if act.kind in ("ca.issue", "ca.revoke"):
                act = msgspec.structs.replace(act, names=names(int(act.subject, 16)))
            shown.append(act)
    total = sum(kinds.values())
    return Report(
        organization,
        from_s,
        to_s,
        made_s,
        CAVEAT,
        profile,
        tuple(permitted),
        policies,
        root_sha256,
        (numbers[0], numbers[1]) if numbers else None,
        head_before.hex(),
        head_after.hex(),
        is_whole,
        dict(sorted(kinds.items())),
        kinds["ca.issue"],
        dict(sorted(certificate_kinds.items())),
        dict(sorted(requesters.items())),
        kinds["ca.revoke"],
        dict(sorted(reasons.items())),
        dict(sorted(revokers.items())),
        (indices[0], indices[1]) if indices else None,
        dict(logs),
        CONTROLS,
        shown,
        total - len(shown),
    )


def page(report: Report) -> str:
    """The report as one HTML file."""
    rows = [
        (
            str(act.number),
            moment(act.at_s),
            act.kind,
            act.actor,
            act.subject,
            " ".join(act.names),
            "" if act.log_index is None else str(act.log_index),
        )
        for act in report.acts
    ]
    left = f"<p>{report.acts_left_out} more acts are counted and not shown.</p>"
    chain = "whole" if report.chain_whole else "BROKEN"
    numbers = "none" if report.rows is None else f"{report.rows[0]} to {report.rows[1]}"
    return document(
        report.organization,
        (
            period(report.from_s, report.to_s, report.made_s, report.caveat),
            "<h2>What was recorded</h2>",
            table(
                ("", ""),
                [
                    ("Issued", str(report.issued)),
                    ("Revoked", str(report.revoked)),
                    ("Profile", report.profile),
                    ("Permitted names now", ", ".join(report.permitted)),
                    ("Root, SHA-256", report.root_sha256),
                    ("Audit rows", numbers),
                    ("Hash chain over the period", chain),
                    ("Head after", report.head_after),
                ],
            ),
            "<h2>Policies in force</h2>",
            table(
                ("from row", "time", "profile", "permitted", "constraints", "clients", "SHA-256"),
                [_policy_cells(each) for each in report.policies],
            ),
            counts("Acts by kind", report.acts_by_kind),
            counts("Issued by kind", report.issued_by_kind),
            counts("Issued by requester", report.issued_by_requester),
            counts("Revoked by reason (RFC 5280)", report.revoked_by_reason),
            counts("Revoked by", report.revoked_by_actor),
            "<h2>Log positions</h2>",
            "".join(f"<pre>{html.escape(note)}</pre>" for note in report.checkpoints.values()),
            controls(report.controls),
            "<h2>Acts</h2>",
            table(("row", "time", "act", "by", "on", "names", "log index"), rows),
            left if report.acts_left_out else "",
        ),
    )


def _policy(row: AuditRow) -> PolicyInForce | None:
    found = policy_of(row)
    if found is None:
        return None
    return PolicyInForce(
        row.number,
        row.entry.at_s,
        row.entry.subject,
        found.profile,
        found.permitted,
        found.constraints,
        found.clients,
        found.is_external_account_required,
        found.is_cut,
    )


def _policy_cells(policy: PolicyInForce) -> tuple[str, ...]:
    cut = "too long for a row" if policy.is_cut else ""
    return (
        str(policy.number),
        moment(policy.at_s),
        policy.profile,
        cut or ", ".join(policy.permitted),
        ", ".join(policy.constraints),
        ", ".join(f"{name} ({role})" for name, role in policy.clients),
        policy.sha256,
    )


def _act(row: AuditRow) -> Act:
    entry = row.entry
    certificate_kind, index, reason = None, None, None
    try:
        if entry.kind == "ca.issue":
            certificate_kind, index = decode(tuple[str, int], entry.document)
        elif entry.kind == "ca.revoke":
            (reason,) = decode(tuple[int], entry.document)
    except Undecodable:
        # A row of another version is counted all the same.
        pass
    return Act(
        row.number,
        entry.at_s,
        entry.actor,
        entry.kind,
        entry.subject,
        certificate_kind,
        index,
        reason,
    )
