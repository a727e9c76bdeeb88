"""Certification authority authorisation (RFC 8659), with account and method bound (RFC 8657)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

CRITICAL = 0x80
TREE_DEPTH_MAX = 10
"""Names asked for on the way to the root; a name with more labels is asked for at its end."""

_KNOWN = frozenset({"issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"})


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """One CAA record."""

    flags: int
    tag: str
    value: str


def climbed(name: str) -> Iterator[str]:
    """The names whose records count for `name`, the first with any being the one that does
    (RFC 8659 section 3)."""
    labels = name.split(".")
    for skipped in range(min(len(labels), TREE_DEPTH_MAX)):
        yield ".".join(labels[skipped:])


def refusal(
    records: Sequence[CaaRecord],
    identities: Iterable[str],
    *,
    is_wildcard: bool,
    account: str,
    method: str,
) -> str | None:
    """Why the `records` of a name forbid one of `identities` to issue; None where they do not.
    `account` is its URL, `method` the kind of the challenge that was met."""
    for each in records:
        if each.flags & CRITICAL and each.tag.lower() not in _KNOWN:
            return f"a critical property {each.tag[:40]!r} is not known here"
    wild = [each for each in records if each.tag.lower() == "issuewild"]
    counted = wild if is_wildcard and wild else _tagged(records, "issue")
    if not counted:
        return None
    known = frozenset(identities)
    if any(_allows(each.value, known, account, method) for each in counted):
        return None
    return "its records name other authorities, accounts or methods"


def _tagged(records: Sequence[CaaRecord], tag: str) -> list[CaaRecord]:
    return [each for each in records if each.tag.lower() == tag]


def _allows(value: str, identities: frozenset[str], account: str, method: str) -> bool:
    domain, *parameters = (part.strip() for part in value.split(";"))
    if domain.lower() not in identities:
        return False
    for each in filter(None, parameters):
        tag, equals, text = (part.strip() for part in each.partition("="))
        if not equals:
            return False
        if tag.lower() == "accounturi" and text != account:
            return False
        if tag.lower() == "validationmethods" and method not in text.split(","):
            return False
    return True
