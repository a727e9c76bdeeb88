"""Certificates of the network: `mesh.certificates`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.certificate import (
    AuthorityView,
    CertificateDetail,
    CertificatePage,
    CertificateView,
    IssuerRequest,
    IssuerView,
    RevocationRequest,
)
from hypermesh.wire.api.ledger import TransactionView


def page(cursor: str | None = None) -> Call[CertificatePage]:
    return Call(CertificatePage, "GET", "/v1/certificates", query=given(cursor=cursor))


def get(named: str = "me") -> Call[CertificateDetail]:
    return Call(CertificateDetail, "GET", f"/v1/certificates/{named}")


def authority() -> Call[AuthorityView]:
    return Call(AuthorityView, "GET", "/v1/certificates/issuer")


def revoke(node: str, reason: str) -> Call[TransactionView]:
    body = RevocationRequest(reason)
    return Call(TransactionView, "POST", f"/v1/certificates/{node}/revoke", body, once=True)


def replace_issuer(reason: str, grace_ms: int) -> Call[IssuerView]:
    body = IssuerRequest(reason, grace_ms)
    return Call(IssuerView, "POST", "/v1/certificates/issuer", body, once=True)


def bundle(named: str = "me") -> Call[msgspec.Raw]:
    return Call(msgspec.Raw, "GET", f"/v1/certificates/{named}/bundle")


class Certificates:
    """`mesh.certificates`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(self) -> Iterator[CertificateView]:
        """Certificates, newest first: all that were issued on the node with the authority;
        elsewhere its own, and the newest of each node on the ledger."""
        return walk(self._rest, page)

    def get(self, named: str = "me") -> CertificateDetail:
        """A certificate with its chain, by its SHA-256 or by its node, in hex; the own one by
        default.

        mesh.certificates.get().certificate.not_after_ms
        """
        return self._rest.run(get(named))

    def bundle(self, named: str = "me") -> bytes:
        """A certificate, named as for `get`, with all that shows offline that it was logged, and
        what the ledger says of its node: a JSON document that `hm cert verify` checks.

        Path("bundle.json").write_bytes(mesh.certificates.bundle())
        """
        return bytes(self._rest.run(bundle(named)))

    def authority(self) -> AuthorityView:
        """Who certifies the nodes of this network: its root and its issuing CA, by the ledger."""
        return self._rest.run(authority())

    def revoke(self, node: str, reason: str) -> TransactionView:
        """End the rights of the node with that id for good, as its owner or the network's founder;
        on the ledger when this returns. Everybody can read the reason, at most 200 characters."""
        return self._rest.run(revoke(node, reason))

    def replace_issuer(self, reason: str, grace_ms: int) -> IssuerView:
        """Put another issuing CA in the place of the present one, on the node that founded the
        network; on the ledger when this returns. Connections by certificates of the one before are
        believed for `grace_ms` milliseconds more, at most a day."""
        return self._rest.run(replace_issuer(reason, grace_ms))


class AsyncCertificates:
    """As `Certificates`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def list(self) -> AsyncIterator[CertificateView]:
        """As `Certificates.list`."""
        return walk_async(self._rest, page)

    async def get(self, named: str = "me") -> CertificateDetail:
        """As `Certificates.get`."""
        return await self._rest.run(get(named))

    async def bundle(self, named: str = "me") -> bytes:
        """As `Certificates.bundle`."""
        return bytes(await self._rest.run(bundle(named)))

    async def authority(self) -> AuthorityView:
        """As `Certificates.authority`."""
        return await self._rest.run(authority())

    async def revoke(self, node: str, reason: str) -> TransactionView:
        """As `Certificates.revoke`."""
        return await self._rest.run(revoke(node, reason))

    async def replace_issuer(self, reason: str, grace_ms: int) -> IssuerView:
        """As `Certificates.replace_issuer`."""
        return await self._rest.run(replace_issuer(reason, grace_ms))
