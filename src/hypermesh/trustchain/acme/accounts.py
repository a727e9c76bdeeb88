"""Accounts: made, bound to an operator's, changed, given another key, ended (RFC 8555 7.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from josepy.jwk import JWK

from hypermesh.trustchain.acme import jws
from hypermesh.trustchain.acme import key as keys
from hypermesh.trustchain.acme.encoding import base64url, drawn
from hypermesh.trustchain.acme.places import Places, new_id
from hypermesh.trustchain.acme.policy import HOUR_S, Policy
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind, malformed
from hypermesh.trustchain.acme.store import Account, AccountStatus, Binding, Store, Tables
from hypermesh.wire.errors import HyperMeshError

SECRET_BYTES = 32
CONTACT_CHARACTERS_MAX = 254
LABEL_CHARACTERS_MAX = 120

_MAIL = re.compile(r"[^@\s,?%]{1,64}@[A-Za-z0-9.-]{1,190}")


class BindingsFull(HyperMeshError):
    """As many external account keys exist as may."""

    code = "HM-TRUST-0152"
    status = 409
    exit_code = 6
    title = "No more external account keys can be made"


class _NewAccount(msgspec.Struct, rename="camel"):
    contact: list[str] = []
    terms_of_service_agreed: bool = False
    only_return_existing: bool = False
    external_account_binding: msgspec.Raw = jws.ABSENT


class _Update(msgspec.Struct):
    contact: list[str] | None = None
    status: Literal["deactivated"] | None = None


class _KeyChange(msgspec.Struct, rename="camel"):
    account: str
    old_key: msgspec.Raw


@dataclass(frozen=True, slots=True)
class NewBinding:
    """What an operator gives to a person: `secret` is base64url, as clients take it, and is shown
    once."""

    kid: str
    secret: str


class Accounts:
    """The accounts of one server."""

    def __init__(
        self, store: Store, policy: Policy, places: Places, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._policy = policy
        self._places = places
        self._now_s = clock

    async def new_binding(self, label: str) -> NewBinding:
        """A key for one external account, durable. Raises `BindingsFull`."""
        binding = Binding(
            new_id(), label[:LABEL_CHARACTERS_MAX], drawn(SECRET_BYTES), self._now_s()
        )

        def put(tables: Tables) -> None:
            if tables.bindings() >= self._policy.limits.bindings:
                raise BindingsFull
            tables.put_binding(binding)

        await self._store.write(put)
        return NewBinding(binding.kid, base64url(binding.secret))

    def find(self, id_: str) -> Account | None:
        return self._store.read(lambda tables: tables.account(id_))

    async def new(self, key: JWK, payload: bytes, url: str, network: str) -> tuple[Account, bool]:
        """The account of `key`, and whether it was made now. `url` is that of the request."""
        asked = jws.decode(_NewAccount, payload, "The account is not complete")
        thumbprint = keys.thumbprint(key)
        known = self._store.read(lambda tables: tables.account_of(thumbprint))
        if known is not None:
            return usable(known), False
        if asked.only_return_existing:
            raise AcmeRefusal(Kind.ACCOUNT_DOES_NOT_EXIST, "No account has this key")
        contacts = self._contacts(asked.contact)
        if self._policy.terms_of_service is not None and not asked.terms_of_service_agreed:
            raise AcmeRefusal(
                Kind.USER_ACTION_REQUIRED,
                f"The terms of service are to be agreed to: {self._policy.terms_of_service}",
            )
        kid = self._bound(bytes(asked.external_account_binding), key, url)
        made = Account(
            new_id(),
            AccountStatus.VALID,
            keys.canonical(key),
            thumbprint,
            contacts,
            asked.terms_of_service_agreed,
            self._now_s(),
            network,
            kid,
        )
        return await self._store.write(lambda tables: self._put(tables, made))

    async def update(self, account: Account, payload: bytes) -> Account:
        """The account with other contacts, or deactivated."""
        if not payload:
            return account
        asked = jws.decode(_Update, payload, "The change of the account is not complete")
        contacts = account.contacts if asked.contact is None else self._contacts(asked.contact)
        status = AccountStatus(asked.status) if asked.status is not None else account.status

        def put(tables: Tables) -> Account:
            present = usable(_there(tables.account(account.id)))
            changed = msgspec.structs.replace(present, contacts=contacts, status=status)
            tables.put_account(changed)
            return changed

        return await self._store.write(put)

    async def change_key(self, account: Account, payload: bytes, url: str) -> Account:
        """The account with the key that signed the inner request (RFC 8555 section 7.3.5)."""
        inner = jws.parse(payload)
        if inner.jwk is None or inner.nonce is not None:
            raise malformed("The inner request has the new key and no nonce")
        if inner.url != url:
            raise malformed("The inner request is for another URL than the outer one")
        key = keys.parse(inner.jwk)
        inner.verify(key)
        asked = jws.decode(_KeyChange, inner.payload, "The change of key is not complete")
        if asked.account != self._places.account(account.id):
            raise malformed("The change of key is for another account")
        if keys.thumbprint(keys.parse(bytes(asked.old_key))) != account.thumbprint:
            raise malformed("The old key is not that of the account")
        fresh = keys.thumbprint(key)

        def put(tables: Tables) -> Account:
            holder = tables.account_of(fresh)
            if holder is not None:
                raise AcmeRefusal(
                    Kind.MALFORMED,
                    "An account has this key already",
                    status=409,
                    location=self._places.account(holder.id),
                )
            present = usable(_there(tables.account(account.id)))
            if present.thumbprint != account.thumbprint:
                raise malformed("The old key is no longer that of the account")
            changed = msgspec.structs.replace(present, jwk=keys.canonical(key), thumbprint=fresh)
            tables.put_account(changed)
            return changed

        return await self._store.write(put)

    def document(self, account: Account) -> dict[str, Any]:
        return {
            "status": str(account.status),
            "contact": list(account.contacts),
            "termsOfServiceAgreed": account.terms_agreed,
            "orders": self._places.orders(account.id),
        }

    def _put(self, tables: Tables, made: Account) -> tuple[Account, bool]:
        known = tables.account_of(made.thumbprint)
        if known is not None:
            return usable(known), False
        limits = self._policy.limits
        recent = tables.accounts_from(made.network, made.created_s - HOUR_S)
        if recent >= limits.accounts_per_network or tables.accounts() >= limits.accounts:
            raise AcmeRefusal(
                Kind.RATE_LIMITED,
                f"{recent} accounts were made from {made.network} within an hour"
                if recent >= limits.accounts_per_network
                else "The server has as many accounts as it may",
                retry_after_s=HOUR_S,
            )
        if made.binding is not None:
            binding = tables.binding(made.binding)
            if binding is None or binding.account is not None:
                raise AcmeRefusal(
                    Kind.UNAUTHORIZED, "The external account key was used by another account"
                )
            tables.put_binding(msgspec.structs.replace(binding, account=made.id))
        tables.put_account(made)
        return made, True

    def _bound(self, document: bytes, key: JWK, url: str) -> str | None:
        """The kid of the external account (RFC 8555 section 7.3.4)."""
        if document in (b"", b"null"):
            if self._policy.external_account_required:
                raise AcmeRefusal(
                    Kind.EXTERNAL_ACCOUNT_REQUIRED,
                    "An account here is bound to an external one: ask the operator for a key",
                )
            return None
        inner = jws.parse(document)
        kid = inner.kid
        if kid is None or inner.nonce is not None:
            raise malformed("The external account binding has a kid and no nonce")
        if inner.url != url:
            raise malformed("The external account binding is for another URL")
        binding = self._store.read(lambda tables: tables.binding(kid))
        if binding is None:
            raise AcmeRefusal(Kind.UNAUTHORIZED, "No external account has this kid")
        inner.verify_mac(binding.secret)
        if keys.thumbprint(keys.parse(inner.payload)) != keys.thumbprint(key):
            raise malformed("The external account binding is for another account key")
        return kid

    def _contacts(self, given: list[str]) -> tuple[str, ...]:
        if len(given) > self._policy.limits.contacts:
            raise AcmeRefusal(
                Kind.INVALID_CONTACT, f"At most {self._policy.limits.contacts} contacts are kept"
            )
        for each in given:
            scheme, _, address = each.partition(":")
            if scheme.lower() != "mailto":
                raise AcmeRefusal(Kind.UNSUPPORTED_CONTACT, "Contacts are mailto URLs here")
            if len(address) > CONTACT_CHARACTERS_MAX or not _MAIL.fullmatch(address):
                raise AcmeRefusal(
                    Kind.INVALID_CONTACT, f"{each[:80]!r} is not the mailto URL of one address"
                )
        return tuple(given)


def usable(account: Account) -> Account:
    """The account itself. Raises `AcmeRefusal` where it is deactivated (RFC 8555 section 7.3.6)."""
    if account.status is not AccountStatus.VALID:
        raise AcmeRefusal(Kind.UNAUTHORIZED, f"The account is {account.status}", status=401)
    return account


def _there(account: Account | None) -> Account:
    if account is None:
        raise AcmeRefusal(Kind.ACCOUNT_DOES_NOT_EXIST, "The account is not there")
    return account
