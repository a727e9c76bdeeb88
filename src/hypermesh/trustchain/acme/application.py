"""The ACME server as an ASGI application: requests authenticated, routed, answered.

Nearly every request is a signed POST whose JSON is inside the signature, so this is a small router
of its own rather than one more set of typed routes.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from josepy.jwk import JWK

from hypermesh.trustchain.acme import jws
from hypermesh.trustchain.acme import key as keys
from hypermesh.trustchain.acme.accounts import Accounts, usable
from hypermesh.trustchain.acme.certificates import Certificates
from hypermesh.trustchain.acme.issuer import Issuer
from hypermesh.trustchain.acme.jws import Signed
from hypermesh.trustchain.acme.nonces import Nonces
from hypermesh.trustchain.acme.order import AuthorizationStatus, Order, OrderStatus
from hypermesh.trustchain.acme.orders import Orders
from hypermesh.trustchain.acme.places import Places
from hypermesh.trustchain.acme.policy import Policy
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind, malformed
from hypermesh.trustchain.acme.store import Account
from hypermesh.wire.errors import HyperMeshError

BODY_BYTES_MAX = 64 * 1024
BODY_S = 10.0
UNDER_WAY_MAX = 256
RETRY_AFTER_S = 1
OWN_NETWORK_BITS = 64
NETWORKS_KNOWN_MAX = 1024

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Answer:
    """An HTTP answer; `body` is JSON unless it is bytes."""

    status: int = 200
    body: Any = None
    media: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST whose signature holds. Exactly one of `account` and `key` is there."""

    signed: Signed
    url: str
    network: str
    account: Account | None
    key: JWK | None

    @property
    def payload(self) -> bytes:
        return self.signed.payload

    @property
    def who(self) -> Account:
        if self.account is None:
            raise malformed("The request is signed as an account does it, with a kid")
        return self.account


class Application:
    """The resources of one server. `scope["path"]` begins with the path of the policy's URL."""

    def __init__(
        self,
        accounts: Accounts,
        orders: Orders,
        certificates: Certificates,
        issuer: Issuer,
        nonces: Nonces,
        policy: Policy,
        places: Places,
    ) -> None:
        self._accounts = accounts
        self._orders = orders
        self._certificates = certificates
        self._issuer = issuer
        self._nonces = nonces
        self._policy = policy
        self._places = places
        self._under_way = 0
        self._posts: Mapping[tuple[str, int], Callable[..., Awaitable[Answer]]] = {
            ("new-account", 0): self._new_account,
            ("new-order", 0): self._new_order,
            ("revoke-cert", 0): self._revoke,
            ("key-change", 0): self._key_change,
            ("account", 1): self._account,
            ("account", 2): self._order_list,
            ("account", 3): self._order_list,
            ("order", 1): self._order,
            ("order", 2): self._finalize,
            ("certificate", 1): self._certificate,
            ("authorization", 1): self._authorization,
            ("challenge", 2): self._challenge,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"this application does not speak {scope['type']}")
        method, path = str(scope["method"]), str(scope["path"])
        if self._under_way >= UNDER_WAY_MAX:
            busy = AcmeRefusal(Kind.SERVER_INTERNAL, "Too many requests are under way", status=503)
            await self._send(method, _refused(busy), send)
            return
        self._under_way += 1
        try:
            answer = await self._answer(method, path, scope, receive)
        except HyperMeshError as error:
            answer = _refused(error)
        except Exception:
            log.exception("%s %s failed", method, path[:120])
            answer = _refused(AcmeRefusal(Kind.SERVER_INTERNAL, "The server failed on this"))
        finally:
            self._under_way -= 1
        await self._send(method, answer, send)

    async def _answer(self, method: str, path: str, scope: Scope, receive: Receive) -> Answer:
        if path != self._places.path and not path.startswith(f"{self._places.path}/"):
            raise _no_such(path)
        name, *rest = path.removeprefix(self._places.path).strip("/").split("/")
        if name == "directory" and not rest:
            _check_method(method, ("GET", "HEAD"))
            return Answer(body=self._directory())
        if name == "new-nonce" and not rest:
            _check_method(method, ("GET", "HEAD"))
            return self._with_nonce(Answer(status=204 if method == "GET" else 200))
        if name == "renewal-info" and len(rest) == 1:
            _check_method(method, ("GET", "HEAD"))
            document = await self._certificates.renewal(rest[0])
            after = {"retry-after": str(self._policy.renewal_check_s)}
            return Answer(body=document, headers=after)
        route = self._posts.get((name, len(rest)))
        if route is None:
            raise _no_such(path)
        _check_method(method, ("POST",))
        try:
            answer = await route(await self._request(path, scope, receive), *rest)
        except HyperMeshError as error:
            answer = _refused(error)
        except Exception:
            log.exception("POST %s failed", path[:120])
            answer = _refused(AcmeRefusal(Kind.SERVER_INTERNAL, "The server failed on this"))
        return self._with_nonce(answer)

    async def _request(self, path: str, scope: Scope, receive: Receive) -> Request:
        headers = dict(scope["headers"])
        media = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0]
        if media.strip().lower() != "application/jose+json":
            raise AcmeRefusal(Kind.MALFORMED, "A request is application/jose+json", status=415)
        signed = jws.parse(await _body(headers, receive))
        url = self._places.at(path)
        jws.check_url(signed, url)
        if signed.nonce is None or not self._nonces.take(signed.nonce):
            raise AcmeRefusal(Kind.BAD_NONCE, "The nonce is not one to be used now")
        network = _network((scope.get("client") or ("", 0))[0])
        if signed.jwk is not None:
            key = keys.parse(signed.jwk)
            signed.verify(key)
            return Request(signed, url, network, None, key)
        id_ = self._places.account_id(signed.kid or "")
        account = None if id_ is None else self._accounts.find(id_)
        if account is None:
            raise AcmeRefusal(Kind.ACCOUNT_DOES_NOT_EXIST, "The kid is that of no account here")
        signed.verify(keys.parse(account.jwk))
        return Request(signed, url, network, usable(account), None)

    def _directory(self) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "externalAccountRequired": self._policy.external_account_required,
            "profiles": dict(self._issuer.profiles),
        }
        if self._policy.terms_of_service is not None:
            meta["termsOfService"] = self._policy.terms_of_service
        if self._policy.website is not None:
            meta["website"] = self._policy.website
        if self._policy.caa_identities:
            meta["caaIdentities"] = list(self._policy.caa_identities)
        named = self._places.named
        return {
            "newNonce": named("new-nonce"),
            "newAccount": named("new-account"),
            "newOrder": named("new-order"),
            "revokeCert": named("revoke-cert"),
            "keyChange": named("key-change"),
            "renewalInfo": named("renewal-info"),
            "meta": meta,
        }

    async def _new_account(self, request: Request) -> Answer:
        if request.key is None:
            raise malformed("The request is signed with a jwk: there is no account yet")
        account, is_new = await self._accounts.new(
            request.key, request.payload, request.url, request.network
        )
        return self._located(
            self._accounts.document(account), self._places.account(account.id), is_new=is_new
        )

    async def _account(self, request: Request, id_: str) -> Answer:
        _check_own(request, id_)
        account = await self._accounts.update(request.who, request.payload)
        return Answer(body=self._accounts.document(account))

    async def _order_list(self, request: Request, id_: str, name: str, after: str = "") -> Answer:
        _check_own(request, id_)
        _check_read(request)
        if name != "orders":
            raise _no_such(request.url)
        found, more = self._orders.list(request.who, after)
        answer = Answer(body={"orders": [self._places.order(each) for each in found]})
        if more:
            answer.headers["link"] = f'<{self._places.orders(id_, more)}>;rel="next"'
        return answer

    async def _key_change(self, request: Request) -> Answer:
        account = await self._accounts.change_key(request.who, request.payload, request.url)
        return Answer(body=self._accounts.document(account))

    async def _new_order(self, request: Request) -> Answer:
        order, _ = await self._orders.new(request.who, request.payload)
        return self._located(self._orders.document(order), self._places.order(order.id))

    async def _order(self, request: Request, id_: str) -> Answer:
        _check_read(request)
        return self._of_order(self._orders.order(request.who, id_))

    async def _finalize(self, request: Request, id_: str, name: str) -> Answer:
        if name != "finalize":
            raise _no_such(request.url)
        return self._of_order(await self._orders.finalize(request.who, id_, request.payload))

    async def _certificate(self, request: Request, id_: str) -> Answer:
        _check_read(request)
        found = self._orders.certificate(request.who, id_)
        pem = "".join(ssl.DER_cert_to_PEM_cert(each) for each in found.chain)
        return Answer(body=pem.encode("ascii"), media="application/pem-certificate-chain")

    async def _authorization(self, request: Request, id_: str) -> Answer:
        if request.payload:
            found = await self._orders.deactivate(request.who, id_, request.payload)
        else:
            found = self._orders.authorization(request.who, id_)
        answer = Answer(body=self._orders.authorization_document(found))
        if found.status is AuthorizationStatus.PENDING and found.answered is not None:
            answer.headers["retry-after"] = str(RETRY_AFTER_S)
        return answer

    async def _challenge(self, request: Request, id_: str, kind: str) -> Answer:
        if request.payload:
            found, challenge = await self._orders.answer(request.who, id_, kind, request.payload)
        else:
            found, challenge = self._orders.challenge(request.who, id_, kind)
        answer = Answer(body=self._orders.challenge_document(found, challenge))
        answer.headers["link"] = f'<{self._places.authorization(id_)}>;rel="up"'
        if found.status is AuthorizationStatus.PENDING and found.answered is not None:
            answer.headers["retry-after"] = str(RETRY_AFTER_S)
        return answer

    async def _revoke(self, request: Request) -> Answer:
        thumbprint = None if request.key is None else keys.thumbprint(request.key)
        await self._certificates.revoke(request.payload, request.account, thumbprint)
        return Answer()

    def _of_order(self, order: Order) -> Answer:
        answer = Answer(body=self._orders.document(order))
        answer.headers["location"] = self._places.order(order.id)
        if order.status is OrderStatus.PROCESSING:
            answer.headers["retry-after"] = str(RETRY_AFTER_S)
        return answer

    def _located(self, document: object, url: str, *, is_new: bool = True) -> Answer:
        return Answer(201 if is_new else 200, document, headers={"location": url})

    def _with_nonce(self, answer: Answer) -> Answer:
        answer.headers["replay-nonce"] = self._nonces.fresh()
        answer.headers["cache-control"] = "no-store"
        return answer

    async def _send(self, method: str, answer: Answer, send: Send) -> None:
        body = answer.body
        if body is None:
            body = b""
        elif not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        link = f'<{self._places.named("directory")}>;rel="index"'
        headers = [(b"link", link.encode()), (b"content-length", str(len(body)).encode())]
        if body:
            headers.append((b"content-type", answer.media.encode()))
        headers += [(key.encode(), value.encode()) for key, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    given = headers.get(b"content-length", b"0")
    if not given.isdigit() or len(given) > 18 or int(given) > BODY_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise malformed("The connection ended before the request did")
                body += message.get("body", b"")
                if len(body) > BODY_BYTES_MAX:
                    raise _too_large()
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError as error:
        detail = f"The request is not whole after {BODY_S:g} s"
        raise AcmeRefusal(Kind.MALFORMED, detail, status=408) from error


def _refused(error: HyperMeshError) -> Answer:
    if not isinstance(error, AcmeRefusal):
        status = max(error.status, 500)
        error = AcmeRefusal(Kind.SERVER_INTERNAL, error.what, status=status)
    headers = {}
    if error.location is not None:
        headers["location"] = error.location
    if error.retry_after_s is not None or error.status == 503:
        headers["retry-after"] = str(error.retry_after_s or RETRY_AFTER_S)
    return Answer(error.status, error.document(), "application/problem+json", headers)


def _check_method(method: str, taken: Iterable[str]) -> None:
    if method not in taken:
        raise AcmeRefusal(Kind.MALFORMED, f"The path does not take {method[:20]}", status=405)


def _check_own(request: Request, id_: str) -> None:
    if request.who.id != id_:
        raise AcmeRefusal(Kind.UNAUTHORIZED, "The account is another one")


def _check_read(request: Request) -> None:
    if request.payload:
        raise malformed("The resource is read, with an empty payload")


def _no_such(path: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.MALFORMED, f"There is no {path[:120]}", status=404)


def _too_large() -> AcmeRefusal:
    return AcmeRefusal(Kind.MALFORMED, f"At most {BODY_BYTES_MAX} bytes are taken", status=413)


@functools.lru_cache(NETWORKS_KNOWN_MAX)
def _network(host: str) -> str:
    """The one client that `host` stands for: in IPv6 a whole /64 (RFC 4291 section 2.5.1)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, OWN_NETWORK_BITS), strict=False))
