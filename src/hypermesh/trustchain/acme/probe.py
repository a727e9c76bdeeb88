"""Looking at what a client shows for a challenge: the thin shell of validation.

Everything is bounded: time, redirects, bytes, addresses tried. A server is asked by address, so
the address that was allowed is the one that is connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import httpx

from hypermesh.trustchain.acme import challenge as shown
from hypermesh.trustchain.acme.identifier import Identifier
from hypermesh.trustchain.acme.order import Challenge, ChallengeKind
from hypermesh.trustchain.acme.policy import Address, Validation
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind
from hypermesh.trustchain.acme.resolver import Resolver

REDIRECTS_MAX = 5
ADDRESSES_MAX = 4
URL_CHARACTERS_MAX = 2048
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Probe:
    """Looks at challenges. Closed with `close`."""

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
        self._http = httpx.AsyncClient(
            verify=self._tls,
            trust_env=False,
            follow_redirects=False,
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={
                "user-agent": "hypermesh-acme",
                "accept": "*/*",
                "accept-encoding": "identity",
            },
        )

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

    async def close(self) -> None:
        await self._http.aclose()

    async def _fetched(self, identifier: Identifier, token: str) -> bytes:
        port = self._settings.http_port
        where = f"http://{_bracketed(identifier.value)}:{port}{shown.HTTP_PATH}{token}"
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._asked(where)
            try:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    where = urljoin(where, response.headers["location"])
                    continue
                if response.status_code != 200:
                    raise _connection(f"{_shortened(where)} answers {response.status_code}")
                return await _body(response)
            except httpx.HTTPError as error:
                raise _connection(f"{_shortened(where)}: {type(error).__name__}") from error
            finally:
                await response.aclose()
        raise _connection(f"More than {REDIRECTS_MAX} redirects")

    async def _asked(self, where: str) -> httpx.Response:
        """The answer of `where`, of which the body is not read."""
        scheme, host, port, target = self._parts(where)
        failure = ""
        for address in await self._addresses(host):
            request = self._http.build_request(
                "GET",
                f"{scheme}://{_bracketed(str(address))}:{port}{target}",
                headers={"host": _host(scheme, host, port)},
                extensions={"sni_hostname": host},
            )
            try:
                return await self._http.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = f"{address} port {port}: {type(error).__name__}"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _connection(f"{_shortened(where)}: {type(error).__name__}") from error
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
        target = parts.path or "/"
        return (
            parts.scheme,
            parts.hostname,
            port,
            f"{target}?{parts.query}" if parts.query else target,
        )

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


async def _body(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > shown.HTTP_BYTES_MAX:
            raise AcmeRefusal(
                Kind.INCORRECT_RESPONSE, f"The file has more than {shown.HTTP_BYTES_MAX} bytes"
            )
    return body


def _host(scheme: str, host: str, port: int) -> str:
    is_default = port == {"http": 80, "https": 443}[scheme]
    return _bracketed(host) if is_default else f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shortened(where: str) -> str:
    return where if len(where) <= 200 else f"{where[:200]}..."


def _connection(detail: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.CONNECTION, detail)
