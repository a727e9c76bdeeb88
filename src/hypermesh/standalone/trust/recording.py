"""Acts of operators in the audit log: under which policy the server issues, and who may use it.

policy           what settings permit, at each start, at each change and once a day: so what is
                 in force in a period is said in it or in the day before it
token.create, token.revoke, eab.create, eab.drop
                 by the command line, beside a running server
"""

from __future__ import annotations

import contextlib
import hashlib

import msgspec

from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.settings import Settings, read_settings
from hypermesh.standalone.trust.stores import stores_of
from hypermesh.standalone.trust.tokens import Token
from hypermesh.trustchain.ca.audit import DOCUMENT_BYTES_MAX, AuditRow, Entry
from hypermesh.trustchain.ca.profile import DAY_S
from hypermesh.wire.codec import Undecodable, decode, encode

POLICY = "policy"
SERVER = "server"
COMMAND = "command"
POLICY_AGAIN_S = DAY_S


class Policy(msgspec.Struct, frozen=True, array_like=True):
    """Under what the server issues. `clients` are name and role of those who come with a
    certificate. Lists that are too long for a row are empty, and `is_cut` says so: the row's
    subject is the SHA-256 of them all."""

    profile: str
    permitted: tuple[str, ...]
    constraints: tuple[str, ...]
    clients: tuple[tuple[str, str], ...]
    is_external_account_required: bool
    is_cut: bool = False


def policy_entry(settings: Settings, at_s: int) -> Entry:
    """The row that says under what the server issues from `at_s` on."""
    whole = Policy(
        settings.profile,
        settings.permitted,
        settings.constraints,
        tuple((each.name, str(each.role)) for each in settings.client),
        settings.acme.external_account_required,
    )
    document = encode(whole)
    subject = hashlib.sha256(document).hexdigest()
    if len(document) > DOCUMENT_BYTES_MAX:
        cut = msgspec.structs.replace(whole, permitted=(), constraints=(), clients=(), is_cut=True)
        document = encode(cut)
    return Entry(at_s, SERVER, POLICY, subject, document)


def policy_of(row: AuditRow) -> Policy | None:
    """The policy that `row` says; None for a row of another kind or version."""
    if row.entry.kind != POLICY:
        return None
    try:
        return decode(Policy, row.entry.document)
    except Undecodable:
        return None


def record(directory: Directory, now_s: int, kind: str, subject: str, document: bytes) -> None:
    """Put what a command did into the audit log, durably."""
    settings = read_settings(directory.settings)
    with contextlib.closing(stores_of(directory, settings).certificates()) as store:
        store.append(Entry(now_s, COMMAND, kind, subject, document))


def described(token: Token) -> bytes:
    """A token in the audit log: label, role, names and end, never its digest."""
    return encode((token.label, str(token.role), token.names[:20], token.expires_s))
