"""Looking at what a client shows for a challenge: the thin shell of validation.

Everything is bounded: time, redirects, bytes, addresses tried. A server is asked by address, so
the address that was allowed is the one that is connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote, urljoin, urlsplit

from hypermesh.trustchain.acme import challenge as shown
from hypermesh.trustchain.acme.fetch import REDIRECTS, Fetched, NotHttp, fetch
from hypermesh.trustchain.acme.identifier import Identifier
from hypermesh.trustchain.acme.order import Challenge, ChallengeKind
from hypermesh.trustchain.acme.policy import Address, Validation
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind
from hypermesh.trustchain.acme.resolver import Resolver

REDIRECTS_MAX = 5
ADDRESSES_MAX = 4
URL_CHARACTERS_MAX = 2048
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_TARGET = "%/?:@!$&'()*+,;=-._~"
"""What stands in a target as it is (RFC 3986 sections 3.3 and 3.4)."""


class Probe:
    """Looks at challenges."""

    def __init__(self, settings: Validation, resolver: Resolver) -> None:
        self._settings = settings
        self._resolver = resolver
        # What proves control is the key authorization, not the server's certificate (RFC 8555
        # section 8.3 and RFC 8737 section 3).
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._tls_alpn = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls_alpn.check_hostname = False
        self._tls_alpn.verify_mode = ssl.CERT_NONE
        self._tls_alpn.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls_alpn.set_alpn_protocols([shown.TLS_PROTOCOL])

    async def check(self, identifier: Identifier, challenge: Challenge, thumbprint: bytes) -> None:
        """Raises `AcmeRefusal` unless the challenge is met."""
        expected = shown.key_authorization(challenge.token, thumbprint)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                if challenge.kind is ChallengeKind.HTTP:
                    body = await self._fetched(identifier, challenge.token)
                    shown.check_http(body, expected)
                elif challenge.kind is ChallengeKind.DNS:
                    texts = await self._resolver.texts(shown.DNS_LABEL + identifier.value)
                    shown.check_dns(texts, expected)
                else:
                    certificate = await self._certificate(identifier)
                    shown.check_tls(certificate, identifier, expected)
        except TimeoutError as error:
            raise AcmeRefusal(
                Kind.CONNECTION, f"No answer within {self._settings.timeout_s:g} s"
            ) from error

    async def _fetched(self, identifier: Identifier, token: str) -> bytes:
        port = self._settings.http_port
        where = f"http://{_bracketed(identifier.value)}:{port}{shown.HTTP_PATH}{token}"
        for _ in range(REDIRECTS_MAX + 1):
            answer = await self._asked(where)
            if answer.status in REDIRECTS and answer.location is not None:
                where = _joined(where, answer.location)
                continue
            if answer.status != HTTPStatus.OK:
                raise _connection(f"{_shortened(where)} answers {answer.status}")
            if len(answer.body) > shown.HTTP_BYTES_MAX:
                raise AcmeRefusal(
                    Kind.INCORRECT_RESPONSE, f"The file has more than {shown.HTTP_BYTES_MAX} bytes"
                )
            return answer.body
        raise _connection(f"More than {REDIRECTS_MAX} redirects")

    async def _asked(self, where: str) -> Fetched:
        scheme, host, port, target = self._parts(where)
        failure = ""
        for address in await self._addresses(host):
            try:
                reader, writer = await asyncio.open_connection(
                    str(address),
                    port,
                    ssl=self._tls if scheme == "https" else None,
                    server_hostname=host if scheme == "https" else None,
                )
            except OSError as error:
                failure = f"{address} port {port}: {type(error).__name__}"
                continue
            try:
                return await fetch(
                    reader, writer, _host(scheme, host, port), target, shown.HTTP_BYTES_MAX
                )
            except (NotHttp, OSError) as error:
                raise _connection(f"{_shortened(where)}: {type(error).__name__}") from error
            finally:
                writer.transport.abort()
        raise _connection(failure)

    def _parts(self, where: str) -> tuple[str, str, int, str]:
        if len(where) > URL_CHARACTERS_MAX:
            raise _connection("A redirect leads to a URL that is too long")
        try:
            parts = urlsplit(where)
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        except ValueError as error:
            raise _connection("A redirect leads to no URL") from error
        ports = (self._settings.http_port, self._settings.https_port)
        if parts.scheme not in ("http", "https") or not parts.hostname or port not in ports:
            raise _connection(f"A redirect leads to {_shortened(where)}, which is not asked")
        if not _HOST.fullmatch(parts.hostname):
            raise _connection(f"A redirect leads to {_shortened(where)}, which names no host")
        target = parts.path or "/"
        asked = f"{target}?{parts.query}" if parts.query else target
        return parts.scheme, parts.hostname, port, quote(asked, safe=_TARGET)

    async def _addresses(self, host: str) -> Sequence[Address]:
        try:
            found: Sequence[Address] = [ipaddress.ip_address(host)]
        except ValueError:
            found = await self._resolver.addresses(host)
        allowed = [each for each in found if self._settings.permits(each)]
        if not allowed:
            raise _connection(f"{host} has no address that is asked")
        return allowed[:ADDRESSES_MAX]

    async def _certificate(self, identifier: Identifier) -> bytes:
        failure = ""
        for address in await self._addresses(identifier.value):
            try:
                return await self._shown_at(address, shown.server_name(identifier))
            except ssl.SSLError as error:
                detail = f"{address}: the TLS handshake fails ({error.reason})"
                raise AcmeRefusal(Kind.TLS, detail) from error
            except OSError as error:
                failure = f"{address} port {self._settings.tls_alpn_port}: {type(error).__name__}"
        raise _connection(failure)

    async def _shown_at(self, address: Address, name: str) -> bytes:
        _, writer = await asyncio.open_connection(
            str(address), self._settings.tls_alpn_port, ssl=self._tls_alpn, server_hostname=name
        )
        try:
            connection = writer.get_extra_info("ssl_object")
            if connection.selected_alpn_protocol() != shown.TLS_PROTOCOL:
                raise AcmeRefusal(Kind.TLS, f"{address} does not speak {shown.TLS_PROTOCOL}")
            certificate: bytes = connection.getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
        return certificate


def _joined(where: str, location: str) -> str:
    try:
        return urljoin(where, location)
    except ValueError as error:
        raise _connection("A redirect leads to no URL") from error


def _host(scheme: str, host: str, port: int) -> str:
    is_default = port == {"http": 80, "https": 443}[scheme]
    return _bracketed(host) if is_default else f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shortened(where: str) -> str:
    return where if len(where) <= 200 else f"{where[:200]}..."


def _connection(detail: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.CONNECTION, detail)
