"""What the ACME server keeps, and the two protocols of where."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from hypermesh.trustchain.acme.order import Authorization, Order
from hypermesh.wire.errors import HyperMeshError

T = TypeVar("T")


class StoreBusy(HyperMeshError):
    """More writes wait than the store takes."""

    code = "HM-TRUST-0151"
    status = 503
    exit_code = 7
    title = "The store of the ACME server has too many writes waiting"
    remedy = "Try again in a moment"


class AccountStatus(enum.StrEnum):
    VALID = "valid"
    DEACTIVATED = "deactivated"


class Account(msgspec.Struct, frozen=True, array_like=True):
    """Who orders. `jwk` is the public key as canonical JSON, `network` the address (a /64 in IPv6)
    that it was made from, `binding` the kid of the external account it is bound to."""

    id: str
    status: AccountStatus
    jwk: bytes
    thumbprint: bytes
    contacts: tuple[str, ...]
    terms_agreed: bool
    created_s: int
    network: str
    binding: str | None = None


class Binding(msgspec.Struct, frozen=True, array_like=True):
    """An external account of the operator's (RFC 8555 section 7.3.4): a MAC key, and the account
    that was bound with it, once."""

    kid: str
    label: str
    secret: bytes
    created_s: int
    account: str | None = None


class Certificate(msgspec.Struct, frozen=True, array_like=True):
    """The answer to an order: `chain` is DER, the leaf first."""

    order: str
    account: str
    chain: tuple[bytes, ...]
    not_after_s: int


class Tables(Protocol):
    """The rows, within one transaction. An id is unguessable text; rows are never shared."""

    def account(self, id_: str) -> Account | None: ...
    def account_of(self, thumbprint: bytes) -> Account | None: ...
    def accounts(self) -> int: ...
    def accounts_from(self, network: str, since_s: int) -> int:
        """How many accounts were made from `network` at `since_s` or later."""
        ...

    def put_account(self, account: Account) -> None: ...

    def binding(self, kid: str) -> Binding | None: ...
    def bindings(self) -> int: ...
    def put_binding(self, binding: Binding) -> None: ...
    def bindings_from(self, after: str, limit: int) -> Sequence[Binding]:
        """In order of their kids, those behind `after`."""
        ...

    def drop_binding(self, kid: str) -> None: ...

    def order(self, id_: str) -> Order | None: ...
    def orders(self) -> int: ...
    def orders_since(self, account: str, since_s: int) -> int: ...
    def orders_of(self, account: str, after: str, limit: int) -> Sequence[str]:
        """The ids of an account's orders that are not invalid, in order of their ids, those behind
        `after`."""
        ...

    def orders_processing(self, limit: int) -> Sequence[str]: ...
    def put_order(self, order: Order) -> None: ...

    def authorization(self, id_: str) -> Authorization | None: ...
    def authorizations_processing(self, limit: int) -> Sequence[str]: ...
    def controls(self, account: str, name: str, now_s: int) -> bool:
        """Whether the account has an authorization of `name` that is valid at `now_s`."""
        ...

    def put_authorization(self, authorization: Authorization) -> None: ...

    def failures(self, account: str, name: str, since_s: int) -> int: ...
    def add_failure(self, account: str, name: str, now_s: int) -> None: ...

    def certificate(self, order: str) -> Certificate | None: ...
    def put_certificate(self, certificate: Certificate) -> None: ...

    def replaced_by(self, certificate: str) -> str | None:
        """The order that replaces the certificate of this identifier (RFC 9773)."""
        ...

    def put_replacement(self, certificate: str, order: str, now_s: int) -> None: ...

    def expire(self, orders_s: int, certificates_s: int, failures_s: int, limit: int) -> int:
        """Remove at most `limit` rows of each kind that ended before these times: orders with
        their authorizations, certificates by their end, failures by their instant. How many."""
        ...


class Store(Protocol):
    """Serialisable: writes happen one after the other, and a read sees all that were answered.

    `work` may be called again where the store has to (a conflict in a shared database), so it
    changes nothing but the tables."""

    def read(self, work: Callable[[Tables], T]) -> T: ...

    async def write(self, work: Callable[[Tables], T]) -> T:
        """What `work` returns, once that is durable; nothing of it where it raises. Raises
        `StoreBusy` and what the store refuses."""
        ...

    def close(self) -> None: ...
