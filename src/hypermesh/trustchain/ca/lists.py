"""Revocation lists (RFC 5280 section 5), in parts, each with a delta.

The certificates of one issuer are spread over parts by the digest of their serial numbers, so that
a reader fetches the part that a certificate names and no list grows without bound. A list is made
when it is asked for and something was revoked since the last one, or the last one is old: what was
revoked a moment ago is in the next answer. The complete list and the delta of one making have the
same number (section 5.2.4); the delta goes back to a complete list of at most `BASE_S` before.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import final

from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from hypermesh.trustchain import der
from hypermesh.trustchain.ca.content import Issuer, extension, points, signed, uri
from hypermesh.trustchain.ca.signer import Signer
from hypermesh.trustchain.ca.store import CertificateStore, Lists, Reason, Revoked
from hypermesh.wire.errors import NotFound

VALIDITY_S = 24 * 60 * 60
"""How long a reader may use a list before it must ask again."""

ROOT_VALIDITY_S = 180 * VALIDITY_S
"""And that of an offline root, which somebody has to fetch to make another."""

REMAKE_S = VALIDITY_S // 4
"""A list older than this is made anew though nothing was revoked."""

BASE_S = VALIDITY_S

_VERSION_2 = der.integer(1)


@final
class RevocationLists:
    """The lists of one issuer. A root (`is_root`) has one list of all that it issued, without a
    distribution point, for it stands for certificates that name none as well. `validity_s` is how
    long a reader may use one."""

    def __init__(
        self,
        store: CertificateStore,
        issuer: Issuer,
        signer: Signer,
        *,
        is_root: bool = False,
        validity_s: int = VALIDITY_S,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._signer = signer
        self._is_root = is_root
        self._validity_s = validity_s
        self._turn = threading.Lock()

    def complete(self, shard: int, now_s: int) -> bytes:
        """The complete list of part `shard` as of now, DER."""
        return self._current(shard, now_s).complete

    def delta(self, shard: int, now_s: int) -> bytes:
        """What was revoked since the list that it names as its base, DER."""
        return self._current(shard, now_s).delta

    def _current(self, shard: int, now_s: int) -> Lists:
        if not 0 <= shard < self._issuer.shards:
            raise NotFound(f"The revocation list has the parts 0 to {self._issuer.shards - 1}")
        with self._turn:
            last = self._store.lists(self._issuer.key_id, shard)
            covers = self._store.revocation_count(self._issuer.key_id, shard)
            is_fresh = last is not None and now_s < last.made_s + REMAKE_S
            # Whoever has the root at hand asks for a new list.
            if last is not None and is_fresh and last.covers == covers and not self._is_root:
                return last
            return self._store.put_lists(
                self._issuer.key_id, shard, self._made(last, shard, covers, now_s)
            )

    def _made(self, last: Lists | None, shard: int, covers: int, now_s: int) -> Lists:
        number = 1 if last is None else last.number + 1
        is_base = last is None or now_s >= last.base_s + BASE_S
        base = (number, covers, now_s)
        if last is not None and not is_base:
            base = (last.base_number, last.base_covers, last.base_s)
        revoked = [
            entry
            for entry in self._store.revocations(self._issuer.key_id, shard, 0, now_s)
            if entry.number <= covers
        ]
        since = [entry for entry in revoked if entry.number > base[1]]
        return Lists(
            number,
            covers,
            now_s,
            *base,
            self._list(shard, number, revoked, now_s, None),
            self._list(shard, number, since, now_s, base[0]),
        )

    def _list(
        self, shard: int, number: int, revoked: Sequence[Revoked], now_s: int, base: int | None
    ) -> bytes:
        issuer = self._issuer
        extensions = []
        if base is not None:
            extensions.append(
                extension(ExtensionOID.DELTA_CRL_INDICATOR, der.integer(base), is_critical=True)
            )
        if issuer.places is not None and not self._is_root:
            place = issuer.places.crl(issuer.key_id, shard)
            extensions.append(
                extension(
                    ExtensionOID.ISSUING_DISTRIBUTION_POINT,
                    der.sequence(
                        der.context(0, der.context(0, uri(place))),
                        der.context(1, b"\xff", is_constructed=False),
                    ),
                    is_critical=True,
                )
            )
            if base is None:
                freshest = points(issuer.places.delta(issuer.key_id, shard))
                extensions.append(extension(ExtensionOID.FRESHEST_CRL, freshest))
        return signed_list(
            issuer, self._signer, number, revoked, now_s, extensions, self._validity_s
        )


def signed_list(
    issuer: Issuer,
    signer: Signer,
    number: int,
    revoked: Sequence[Revoked],
    now_s: int,
    extensions: Sequence[bytes] = (),
    validity_s: int = VALIDITY_S,
) -> bytes:
    """The list of `revoked` with the CRL number `number`, DER; `extensions` are those beside the
    number and the issuer's key identifier, `validity_s` is how long a reader may use it."""
    identifier = der.sequence(der.context(0, issuer.key_id, is_constructed=False))
    entries = (der.sequence(*map(_entry, revoked)),) if revoked else ()
    body = der.sequence(
        _VERSION_2,
        signer.algorithm.identifier,
        issuer.name,
        der.moment(now_s),
        der.moment(now_s + validity_s),
        *entries,
        der.context(
            0,
            der.sequence(
                extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER, identifier),
                extension(ExtensionOID.CRL_NUMBER, der.integer(number)),
                *extensions,
            ),
        ),
    )
    return signed(body, signer)


def _entry(revoked: Revoked) -> bytes:
    return der.sequence(
        der.integer(revoked.serial), der.moment(revoked.revoked_s), *_REASONS[revoked.reason]
    )


def _reason(reason: Reason) -> tuple[bytes, ...]:
    """RFC 5280 section 5.3.1: unspecified is said by absence."""
    if reason is Reason.UNSPECIFIED:
        return ()
    value = extension(CRLEntryExtensionOID.CRL_REASON, der.enumerated(reason))
    return (der.sequence(value),)


_REASONS = {reason: _reason(reason) for reason in Reason}


def serials(encoded: bytes) -> set[int]:
    """The serial numbers on the list `encoded` (DER)."""
    return {entry.serial_number for entry in x509.load_der_x509_crl(encoded)}
