"""Certificates that were issued: revoked (RFC 8555 section 7.6), best renewed when (RFC 9773)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from hypermesh.trustchain.acme import jws
from hypermesh.trustchain.acme import key as keys
from hypermesh.trustchain.acme.encoding import from_base64url
from hypermesh.trustchain.acme.issuer import CertificateId, IssuedCertificate, Issuer
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind, malformed
from hypermesh.trustchain.acme.store import Account, Store

REASONS = frozenset({0, 1, 3, 4, 5, 9})
"""What a subscriber may say: unspecified, keyCompromise, affiliationChanged, superseded,
cessationOfOperation, privilegeWithdrawn (RFC 5280 section 5.3.1)."""


class _Revocation(msgspec.Struct):
    certificate: str
    reason: int = 0


class Certificates:
    """The certificates of the authority, as ACME clients reach them."""

    def __init__(
        self, store: Store, issuer: Issuer, clock: Callable[[], int], pool: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._now_s = clock
        self._pool = pool

    async def revoke(self, payload: bytes, account: Account | None, key: bytes | None) -> None:
        """Revoke, durably. The request is signed by `account`, or by a key with the thumbprint
        `key`, which is then that of the certificate."""
        asked = jws.decode(_Revocation, payload, "The revocation is not complete")
        der = from_base64url(asked.certificate)
        try:
            certificate = x509.load_der_x509_certificate(der)
            identifier = CertificateId.of(certificate)
            own_key = keys.thumbprint_of(certificate.public_key())
            names = _names(certificate)
        except (ValueError, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm) as error:
            raise malformed("The certificate cannot be read") from error
        found = None if identifier is None else await self._find(identifier)
        if identifier is None or found is None or found.certificate != der:
            raise AcmeRefusal(
                Kind.MALFORMED, "The certificate is not one of this authority", status=404
            )
        if account is None:
            if key is None or key != own_key:
                raise _not_allowed("The request is not signed by the key of the certificate")
        elif found.account != account.id and not self._controls(account, names):
            raise _not_allowed("The account neither ordered the certificate nor controls its names")
        if asked.reason not in REASONS:
            known = ", ".join(map(str, sorted(REASONS)))
            raise AcmeRefusal(Kind.BAD_REVOCATION_REASON, f"Reasons taken here are {known}")
        if found.is_revoked:
            raise AcmeRefusal(Kind.ALREADY_REVOKED, "The certificate is revoked already")
        by = None if account is None else account.id
        await self._in_thread(self._issuer.revoke, identifier, by, asked.reason, self._now_s())

    async def renewal(self, text: str) -> dict[str, Any]:
        """The renewal information of the certificate that `text` identifies."""
        identifier = CertificateId.parse(text)
        window = await self._in_thread(self._issuer.renewal_window, identifier, self._now_s())
        if window is None:
            raise AcmeRefusal(
                Kind.MALFORMED, "The certificate is not one of this authority", status=404
            )
        return {
            "suggestedWindow": {"start": _time(window.start_s), "end": _time(window.end_s)},
        }

    def _controls(self, account: Account, names: list[str]) -> bool:
        now_s = self._now_s()
        return bool(names) and self._store.read(
            lambda tables: all(tables.controls(account.id, each, now_s) for each in names)
        )

    async def _find(self, identifier: CertificateId) -> IssuedCertificate | None:
        found: IssuedCertificate | None = await self._in_thread(self._issuer.find, identifier)
        return found

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _not_allowed(detail: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.UNAUTHORIZED, detail)


def _time(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
