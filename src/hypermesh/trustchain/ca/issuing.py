"""The issuing authority: from a request to a certificate that is logged, kept and shown.

    issue(order)     request, names, policy and key are checked
    1  decide        serial number and all content fixed, signed as what the log takes, on the disk
    2  record        the log of certificates has it, durably, and gave its SCT
    3  complete      the certificate, with the SCT in it or beside it, on the disk
    4  answer

Classic and pq profiles give the log a precertificate and embed the SCT; a hybrid certificate is
given as it is, and its SCT travels beside it. A crash between two steps loses nothing: the same
order asked again (the same digest of request, names, kind, requester and reference) takes up the
draft of step 1, and the log answers the same submission with the same SCT. So no serial number is
used twice, no draft in the log stays without its certificate once `complete_all` has run, and
nothing is shown that the log does not have.

Orders that wait at the same time share the steps: one of the waiting threads carries all of them.
Two batches may be under way at once. Both may hold the same order then, as two processes may: the
store keeps one draft for it and one certificate, and the log has one entry.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, final

import msgspec
from cryptography import x509

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain import alternative, der
from hypermesh.trustchain.ca import content
from hypermesh.trustchain.ca.algorithm import KeyRefused
from hypermesh.trustchain.ca.audit import Entry
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S
from hypermesh.trustchain.ca.content import Issuer, Places
from hypermesh.trustchain.ca.group import Group
from hypermesh.trustchain.ca.lint import Expected, require_clean, require_successor
from hypermesh.trustchain.ca.names import Name, NameForbidden, NameRefused, require_within
from hypermesh.trustchain.ca.policy import Policy
from hypermesh.trustchain.ca.profile import (
    LIFETIME_MIN_S,
    PURPOSES,
    Kind,
    Profile,
    Purpose,
    profile_of,
)
from hypermesh.trustchain.ca.renewal import Window, renewal_window
from hypermesh.trustchain.ca.request import Request, read_request
from hypermesh.trustchain.ca.signer import Signer, SignerUnusable
from hypermesh.trustchain.ca.sqlite_store import FILE, SqliteStore
from hypermesh.trustchain.ca.store import (
    CertificateStore,
    Installed,
    Kept,
    Reason,
    Recording,
)
from hypermesh.trustchain.certificate import SERIAL_ENTROPY_BYTES, Validity, serial_number
from hypermesh.trustchain.evidence import (
    Act,
    ActLog,
    CertificateLog,
    FinalCertificate,
    LogUnavailable,
    Precertificate,
    Submission,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import (
    HyperMeshError,
    InvalidInput,
    NotFound,
    Overloaded,
)
from hypermesh.wire.ids import Hash

BATCH_MAX = 256
"""Certificates that share one call of the log and one transaction."""

WAITING_MAX = 4096
"""Orders that wait at once."""

CARRIERS = 2
"""Batches under way at once: one computes while the other waits for the disk."""

REQUESTER_CHARACTERS_MAX = 200
REFERENCE_BYTES_MAX = 64

GOVERNANCE = ("ca.install", "ca.retire", "ca.revoke")
"""Acts that go to the log of acts. Issuing is not among them: the log of certificates has it."""


class LifetimeRefused(InvalidInput):
    """The lifetime asked for is not one of this kind of certificate."""

    code = "HM-TRUST-0109"
    title = "No certificate of this kind lives so long, or so short"


class CertificateUnknown(NotFound):
    """This authority has no certificate with this serial number."""

    code = "HM-TRUST-0110"
    title = "The certificate is not one of this authority"


class IssuerMissing(NotFound):
    """No issuing CA is installed in this directory."""

    code = "HM-TRUST-0112"
    exit_code = 3
    title = "There is no issuing CA here"
    remedy = "Install the certificate that the root signed"


class IssuerEnded(HyperMeshError):
    """The issuing CA was replaced, or its own certificate ends."""

    code = "HM-TRUST-0117"
    status = 503
    exit_code = 3
    title = "The issuing CA no longer issues"
    remedy = "Open the issuing CA that replaced it, or make a new one"


class AuthorityBusy(Overloaded):
    """Too many orders wait."""

    code = "HM-TRUST-0116"
    title = f"{WAITING_MAX} orders wait"
    remedy = "Try again in a second"


class OrderCutOff(HyperMeshError):
    """The thread that carried the order was ended; the order may be half done."""

    code = "HM-TRUST-0330"
    status = 503
    exit_code = 3
    title = "The order was cut off"
    remedy = "Ask the same order again: what was begun is taken up"


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """How an issuing CA was installed."""

    profile: str
    root: bytes
    places: Places
    shards: int


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be certified.

    `request` is a PKCS#10 request (DER). `names` are those that the caller has validated: the
    request must ask for the same ones, or for none; with None it is the request that says.
    `requester` is whom the policy knows, `reference` what makes two orders for the same thing two
    (an ACME order's id, say), `lifetime_s` a shorter or longer life than that of the kind.
    `renewals` counts the certificates whose place this one takes (`IssuingAuthority.renew`).
    """

    request: bytes
    kind: Kind
    requester: str
    names: tuple[Name, ...] | None = None
    reference: bytes = b""
    lifetime_s: int | None = None
    renewals: int = 0


class Tally(Protocol):
    """Who counts what became durable. Called from any thread."""

    def issued(self, count: int) -> None:
        """So many certificates more are issued."""

    def revoked(self) -> None:
        """One more is revoked."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate with its issuers (DER; leaf first, root last) and where the log has it. One
    that was not there before the order `is_new`."""

    serial: int
    chain: tuple[bytes, ...]
    not_before_s: int
    not_after_s: int
    sct: bytes
    log_index: int
    is_new: bool = field(default=False, compare=False)


class State(enum.StrEnum):
    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Status:
    state: State
    revoked_s: int | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """An order that may be answered."""

    order: Order
    request: Request
    names: tuple[Name, ...]
    lifetime_s: int
    digest: Hash
    now_s: int


@dataclass(slots=True)
class _Asked:
    checked: _Checked
    outcome: IssuedCertificate | Exception | None = field(default=None)


@final
class IssuingAuthority:
    """Issues, revokes and knows certificates. May be used from several threads."""

    def __init__(
        self,
        store: CertificateStore,
        installed: Installed,
        signer: Signer,
        second: FalconKey | None,
        log: CertificateLog,
        policy: Policy,
        acts: ActLog | None,
        tally: Tally | None = None,
    ) -> None:
        settings = decode(Settings, installed.settings)
        self._store = store
        self._profile = profile_of(settings.profile)
        self._issuer = Issuer.of(installed.certificate, settings.places, settings.shards)
        self._root = settings.root
        self._signer = signer
        self._second = second
        self._log = log
        self._policy = policy
        self._acts = acts
        self._tally = tally
        self._group: Group[_Asked] = Group(self._carry, BATCH_MAX, WAITING_MAX, CARRIERS)
        self._telling = threading.Lock()

    @property
    def profile(self) -> Profile:
        return self._profile

    @property
    def issuer(self) -> Issuer:
        return self._issuer

    @property
    def store(self) -> CertificateStore:
        return self._store

    def chain(self) -> tuple[bytes, ...]:
        """The issuing certificate and the root, DER."""
        return (self._issuer.certificate, self._root)

    def issue(self, order: Order, now_s: int) -> IssuedCertificate:
        """The certificate that answers `order`, durable and logged; the same one for the same
        order.

        Raises the refusals of `read_request`, `NameForbidden`, `LifetimeRefused`, `LintFailed`,
        `IssuerEnded`, `AuthorityBusy`, and `LogUnavailable`, `StoreUnavailable` or
        `SignerUnusable`, after which the same order can be asked again.
        """
        asked = _Asked(self._checked(order, now_s))
        if not self._group.carried(asked):
            raise AuthorityBusy
        if asked.outcome is None:
            raise OrderCutOff
        if isinstance(asked.outcome, Exception):
            raise asked.outcome
        return asked.outcome

    def renew(self, order: Order, now_s: int) -> IssuedCertificate:
        """As `issue`, while that certificate is good and need not be renewed (`renewal`); then the
        newest that took its place, and another one where that is to be replaced, too.

        So who asks again after a failure has the same certificate, and who asks again when it is
        time has the next. Raises as `issue`.
        """
        return self.renewed(order, self.issue(order, now_s), now_s)

    def renewed(self, order: Order, issued: IssuedCertificate, now_s: int) -> IssuedCertificate:
        """What `renew` answers to `order`, to which `issue` answered `issued`."""
        if issued.is_new or not self._is_due(issued.serial, now_s):
            return issued
        last = self._renewals(self._checked(order, now_s))
        if last:
            issued = self.issue(replace(order, renewals=last), now_s)
            if not self._is_due(issued.serial, now_s):
                return issued
        return self.issue(replace(order, renewals=last + 1), now_s)

    def issue_all(
        self, orders: Sequence[Order], now_s: int
    ) -> list[IssuedCertificate | HyperMeshError]:
        """What `issue` would answer or raise for each of `orders`, in their order; up to
        `BATCH_MAX` at once share one call of the log and its transactions."""
        outcomes: list[IssuedCertificate | HyperMeshError | None] = [None] * len(orders)
        asked: list[tuple[int, _Asked]] = []
        for place, order in enumerate(orders):
            try:
                asked.append((place, _Asked(self._checked(order, now_s))))
            except HyperMeshError as error:
                outcomes[place] = error
        for start in range(0, len(asked), BATCH_MAX):
            self._carry([each for _, each in asked[start : start + BATCH_MAX]])
        for place, each in asked:
            if isinstance(each.outcome, Exception) and not isinstance(each.outcome, HyperMeshError):
                raise each.outcome
            outcomes[place] = each.outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def complete_all(self, now_s: int) -> int:
        """Complete what a crash left between its draft and its certificate; how many there were.
        Raises `LogUnavailable`."""
        count = 0
        while drafts := self._store.unrecorded(BATCH_MAX):
            mine = [draft for draft in drafts if draft.issuer == self._issuer.key_id]
            self._completed(mine, now_s)
            count += len(mine)
            if len(mine) < len(drafts):
                break
        return count

    def revoke(self, serial: int, reason: Reason, now_s: int, actor: str) -> Status:
        """Revoke a certificate; durable, and visible to all who ask, when this returns. One that
        is revoked already stays as it is. Raises `CertificateUnknown`.

        That the log of acts cannot take it delays no revocation: the act is told later.
        """
        kept = self._store.by_serial(serial)
        if kept is None:
            raise CertificateUnknown
        issuer = self._issuer
        if kept.issuer != issuer.key_id:
            # The parts of a list are as many as when its issuer was installed.
            found = next(each for each in self._store.authorities() if each.key_id == kept.issuer)
            settings = decode(Settings, found.settings)
            issuer = Issuer.of(found.certificate, settings.places, settings.shards)
        document = encode((int(reason),))
        entry = Entry(now_s, actor[:REQUESTER_CHARACTERS_MAX], "ca.revoke", f"{serial:x}", document)
        self._store.revoke(serial, issuer.shard_of(serial), now_s, reason, entry)
        if self._tally is not None and kept.revoked_s is None:
            self._tally.revoked()
        self.tell()
        return self.status(serial)

    def status(self, serial: int) -> Status:
        """Whether a certificate of this authority is good."""
        kept = self._store.by_serial(serial)
        if kept is None:
            return Status(State.UNKNOWN)
        if kept.revoked_s is None:
            return Status(State.GOOD)
        return Status(State.REVOKED, kept.revoked_s, kept.reason)

    def find(self, certificate: bytes) -> Kept | None:
        """What the store knows of `certificate` (DER), None where it is none of this authority's:
        the same bytes are asked for, not the same serial number alone."""
        try:
            serial = x509.load_der_x509_certificate(certificate).serial_number
        except ValueError:
            return None
        kept = self._store.by_serial(serial)
        if kept is None or kept.recording is None or kept.recording.certificate != certificate:
            return None
        return kept

    def renewal(self, serial: int, now_s: int) -> Window:
        """When to renew a certificate (RFC 9773): at once where it is revoked or its issuer was
        compromised. Raises `CertificateUnknown`."""
        kept = self._store.by_serial(serial)
        if kept is None:
            raise CertificateUnknown
        since = [kept.revoked_s] if kept.revoked_s is not None else []
        since += [
            each.retired_s
            for each in self._store.authorities()
            if each.key_id == kept.issuer and each.is_compromised and each.retired_s is not None
        ]
        return renewal_window(
            kept.not_before_s,
            kept.not_after_s,
            now_s=now_s,
            replace_since_s=min(since, default=None),
        )

    def tell(self) -> int:
        """Give the log of acts what it does not have yet; how many it took. Where it cannot, 0."""
        if self._acts is None:
            return 0
        with self._telling:
            rows = self._store.untold(GOVERNANCE, BATCH_MAX)
            if not rows:
                return 0
            try:
                places = self._acts.record([Act(row.entry.kind, encode(row)) for row in rows])
            except LogUnavailable:
                return 0
            self._store.told([(row.number, place) for row, place in zip(rows, places, strict=True)])
            return len(rows)

    def close(self) -> None:
        """Release the store. Nothing is lost without it."""
        self._store.close()

    def _checked(self, order: Order, now_s: int) -> _Checked:
        if not 1 <= len(order.requester) <= REQUESTER_CHARACTERS_MAX:
            raise InvalidInput("A requester has a name of 1 to 200 characters")
        if len(order.reference) > REFERENCE_BYTES_MAX:
            raise InvalidInput(f"A reference has at most {REFERENCE_BYTES_MAX} bytes")
        request = read_request(order.request)
        purpose = PURPOSES[order.kind]
        names = _names(order, request)
        _require_kinds(order.kind, purpose, names)
        self._policy.require(order.requester, order.kind, names)
        if self._issuer.constraints is not None:
            require_within(names, self._issuer.constraints)
        self._require_key(order.kind, request)
        lifetime_s = purpose.lifetime_s if order.lifetime_s is None else order.lifetime_s
        if not LIFETIME_MIN_S <= lifetime_s <= purpose.lifetime_max_s:
            raise LifetimeRefused(
                why=f"a certificate of the kind {order.kind} lives {LIFETIME_MIN_S} to "
                f"{purpose.lifetime_max_s} seconds"
            )
        digest = self._digest(order, names, lifetime_s, order.renewals)
        return _Checked(order, request, names, lifetime_s, digest, now_s)

    def _digest(self, order: Order, names: Sequence[Name], lifetime_s: int, renewals: int) -> Hash:
        """What makes an order the same one again."""
        first = digest_of(
            "certificate-order",
            (
                self._issuer.key_id,
                order.request,
                str(order.kind),
                order.requester,
                tuple(map(str, names)),
                order.reference,
                lifetime_s,
            ),
        )
        return digest_of("certificate-order", (first, renewals)) if renewals else first

    def _is_due(self, serial: int, now_s: int) -> bool:
        """Whether a certificate of this issuer is to be replaced now."""
        kept = self._store.by_serial(serial)
        if kept is None:
            raise CertificateUnknown
        window = renewal_window(
            kept.not_before_s, kept.not_after_s, now_s=now_s, replace_since_s=kept.revoked_s
        )
        return window.start_s <= now_s

    def _renewals(self, checked: _Checked) -> int:
        """How often the order was renewed: none is left out, so the last is found by halving."""

        def is_there(renewals: int) -> bool:
            digest = self._digest(checked.order, checked.names, checked.lifetime_s, renewals)
            return bool(self._store.find([digest]))

        low, high = 0, 1
        while is_there(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_there(middle) else (low, middle)
        return low

    def _require_key(self, kind: Kind, request: Request) -> None:
        allowed = self._profile.leaves
        if kind is Kind.RESPONDER:
            allowed |= {self._profile.issuing}
        if request.kind not in allowed:
            kinds = ", ".join(sorted(allowed))
            raise KeyRefused(why=f"the profile {self._profile.name} certifies {kinds}")
        if request.public_key == self._issuer.key_info:
            raise KeyRefused(why="it is the key of the issuing CA")
        if self._profile.is_hybrid and kind is Kind.NODE and request.falcon_key is None:
            raise KeyRefused(why="a node of the hybrid profile has a FALCON-1024 key too")
        if not self._profile.is_hybrid and request.falcon_key is not None:
            raise KeyRefused(why=f"the profile {self._profile.name} has no FALCON-1024 keys")

    def _carry(self, batch: Sequence[_Asked]) -> None:
        """Give each of `batch` its outcome."""
        try:
            found = self._store.find([each.checked.digest for each in batch])
            old = {digest for digest, kept in found.items() if kept.recording is not None}
            drafts: dict[Hash, Kept] = {}
            for each in batch:
                digest = each.checked.digest
                if digest in found or digest in drafts:
                    continue
                try:
                    drafts[digest] = self._draft(each.checked)
                except HyperMeshError as error:
                    each.outcome = error
            if drafts:
                found |= {kept.request: kept for kept in self._store.decide([*drafts.values()])}
            open_ones = [kept for kept in found.values() if kept.recording is None]
            done = found | {
                kept.request: kept
                for kept in self._completed(open_ones, max(each.checked.now_s for each in batch))
            }
            for each in batch:
                if each.outcome is None:
                    digest = each.checked.digest
                    each.outcome = self._answer(done[digest], is_new=digest not in old)
        except Exception as error:  # noqa: BLE001 - each of those that wait is to hear of it
            for each in batch:
                if each.outcome is None:
                    each.outcome = error

    def _draft(self, checked: _Checked) -> Kept:
        """What answers the order, as the log takes it: linted and signed, not yet kept."""
        validity = Validity(checked.now_s - CLOCK_SKEW_S, checked.now_s + checked.lifetime_s)
        if validity.not_after_s > self._issuer.validity.not_after_s:
            raise IssuerEnded(why="a certificate would outlive it")
        serial = serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES))
        kind, request = checked.order.kind, checked.request
        extensions = content.leaf_extensions(
            self._issuer,
            kind,
            serial,
            request.public_key,
            request.kind,
            checked.names,
            request.falcon_key,
        )
        if self._second is None:
            extensions.append(content.POISON)
        body = content.tbs(
            serial=serial,
            algorithm=self._signer.algorithm.identifier,
            issuer=self._issuer.name,
            validity=validity,
            subject=content.subject_of(checked.names),
            key_info=request.public_key,
            extensions=extensions,
        )
        if self._second is not None:
            body = content.with_alternative(body, self._second)
        require_clean(body, self._expected(kind))
        return Kept(
            checked.digest,
            serial,
            self._issuer.key_id,
            kind,
            checked.order.requester,
            hashlib.sha256(request.public_key).digest(),
            tuple(map(str, checked.names)),
            checked.now_s,
            validity.not_before_s,
            validity.not_after_s,
            content.signed(body, self._signer),
        )

    def _completed(self, drafts: Sequence[Kept], now_s: int) -> list[Kept]:
        """`drafts` with their recordings, durable."""
        if not drafts:
            return []
        submissions = [self._submission(draft) for draft in drafts]
        recordings = [
            (
                draft.serial,
                Recording(self._final(submission, at.sct), at.index, at.timestamp_ms, at.sct),
            )
            for draft, submission, at in zip(
                drafts, submissions, self._log.record(submissions), strict=True
            )
        ]
        # Another process may have completed one of them; its bytes are then those that stand.
        completed = self._store.complete(recordings, now_s)
        if self._tally is not None:
            self._tally.issued(len(completed))
        return completed

    def _submission(self, draft: Kept) -> Submission:
        if self._profile.is_hybrid:
            return FinalCertificate(draft.draft, self.chain())
        body = content.without_last(der.first(draft.draft), content.POISON)
        return Precertificate(draft.draft, body, self._issuer.key_hash, self.chain())

    def _final(self, submission: Submission, sct: bytes) -> bytes:
        if isinstance(submission, FinalCertificate):
            return submission.certificate
        body = content.with_extension(submission.tbs, content.scts([sct]))
        require_successor(body, submission.tbs)
        return content.signed(body, self._signer)

    def _expected(self, kind: Kind) -> Expected:
        return Expected(
            self._profile,
            self._issuer,
            self._signer.algorithm.identifier,
            kind,
            PURPOSES[kind].lifetime_max_s + CLOCK_SKEW_S,
        )

    def _answer(self, kept: Kept, *, is_new: bool) -> IssuedCertificate:
        recording = kept.recording
        if recording is None:
            raise LogUnavailable
        return IssuedCertificate(
            kept.serial,
            (recording.certificate, *self.chain()),
            kept.not_before_s,
            kept.not_after_s,
            recording.sct,
            recording.index,
            is_new,
        )


def open_issuing(
    directory: Path,
    root: bytes,
    signer: Signer,
    second: FalconKey | None,
    log: CertificateLog,
    policy: Policy,
    acts: ActLog | None = None,
    store: CertificateStore | None = None,
    tally: Tally | None = None,
) -> IssuingAuthority:
    """The issuing CA that was installed last in `directory`.

    `root` (DER) is whom this process trusts; `signer` and, in the hybrid profile, `second` are its
    keys; `store`, which the authority closes, is what keeps it, where that is not a file in
    `directory`; `tally` counts. Raises `IssuerMissing` and `SignerUnusable`.
    """
    if store is None:
        if not (directory / FILE).exists():
            raise IssuerMissing(f"There is no issuing CA in {directory}")
        store = SqliteStore(directory)
    try:
        installed = _current(store)
        _require_keys(installed, root, signer, second)
    except BaseException:
        store.close()
        raise
    return IssuingAuthority(store, installed, signer, second, log, policy, acts, tally)


def _current(store: CertificateStore) -> Installed:
    for each in store.authorities():
        if each.retired_s is None:
            return each
    raise IssuerMissing(why="none is installed, or the last one was retired")


def _require_keys(
    installed: Installed, root: bytes, signer: Signer, second: FalconKey | None
) -> None:
    settings = decode(Settings, installed.settings)
    if settings.root != root:
        raise IssuerMissing(why="the one that is installed is below another root")
    if Issuer.of(installed.certificate).key_info != signer.public_key:
        raise SignerUnusable(why="it is not the key that the installed certificate names")
    named = alternative.key_in(x509.load_der_x509_certificate(installed.certificate))
    if (None if second is None else second.public) != named:
        raise SignerUnusable(why="the FALCON-1024 key is not the one that the certificate names")


def _names(order: Order, request: Request) -> tuple[Name, ...]:
    if order.names is None:
        names = request.names
    elif request.names and set(request.names) != set(order.names):
        raise NameForbidden("The request asks for other names than those that were validated")
    else:
        names = order.names
    if not names:
        raise NameRefused("The request names nothing")
    return names


def _require_kinds(kind: Kind, purpose: Purpose, names: Sequence[Name]) -> None:
    for name in names:
        if name.kind not in purpose.names:
            raise NameRefused(f"A certificate of the kind {kind} carries no name like {name}")
