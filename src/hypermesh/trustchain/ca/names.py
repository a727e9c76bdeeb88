"""The names that certificates carry, in one form each, and the rules that permit them.

A name is text with its kind before it: `dns:host.example.org`, `ip:2001:db8::1`,
`email:who@example.org`, `uri:hm:node:...`. Sources: RFC 5280 sections 4.2.1.6 and 4.2.1.10,
RFC 6125 section 6.4.3 (wildcards), RFC 5890 section 2.3.2 (IDNA 2008).
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.exception
import dns.name
from cryptography import x509

from hypermesh.wire.errors import Forbidden, InvalidInput

NAMES_MAX = 100
NOWHERE = "invalid"
"""A domain that nobody has (RFC 6761 section 6.4): constraints to it permit nothing."""
NAME_CHARACTERS_MAX = 253
"""RFC 1035 section 2.3.4, without the root's dot; other kinds of names keep to it as well."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_URI = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[\x21-\x7e]+")


class NameRefused(InvalidInput):
    """A name is not in the form that certificates carry, or of a kind that none carries."""

    code = "HM-TRUST-0104"
    title = "A name cannot stand in a certificate"


class NameForbidden(Forbidden):
    """The requester, or the issuer's name constraints, do not permit a name."""

    code = "HM-TRUST-0105"
    title = "The name is not permitted"


class NamesTooMany(InvalidInput):
    """A request names more than one certificate holds."""

    code = "HM-TRUST-0106"
    title = f"A certificate has at most {NAMES_MAX} names"


class NameKind(enum.StrEnum):
    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """One name in its canonical form: DNS in lower case and A-labels, addresses shortest."""

    kind: NameKind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.text}"

    @classmethod
    def parse(cls, text: str) -> Name:
        """The name that `str` gave; raises `NameRefused`."""
        kind, colon, rest = text.partition(":")
        if not colon or kind not in set(NameKind):
            raise NameRefused(f"{text[:80]!r} has no kind of name before it")
        return checked(NameKind(kind), rest)

    @property
    def is_wildcard(self) -> bool:
        return self.kind is NameKind.DNS and self.text.startswith("*.")


def checked(kind: NameKind, text: str) -> Name:
    """The name `text` of `kind` in canonical form; raises `NameRefused`."""
    if not 1 <= len(text) <= NAME_CHARACTERS_MAX:
        raise NameRefused(why=f"a name has 1 to {NAME_CHARACTERS_MAX} characters")
    match kind:
        case NameKind.DNS:
            return Name(kind, _dns(text))
        case NameKind.IP:
            return Name(kind, _address(text))
        case NameKind.EMAIL:
            local, at, domain = text.rpartition("@")
            if not at or not _EMAIL.fullmatch(local):
                raise _refused(text, "it is no address of mail")
            return Name(kind, f"{local}@{_dns(domain)}")
        case NameKind.URI:
            if not _URI.fullmatch(text):
                raise _refused(text, "it is no URI")
            return Name(kind, text)


def names_of(general: Iterable[x509.GeneralName]) -> tuple[Name, ...]:
    """The names of a subjectAltName, in its order, each once.

    Raises `NamesTooMany` and `NameRefused`; a kind that none of ours carries (a directory name,
    another name) is refused, not left out.
    """
    found: dict[Name, None] = {}
    for number, entry in enumerate(general):
        if number >= NAMES_MAX:
            raise NamesTooMany
        match entry:
            case x509.DNSName(value=text):
                name = checked(NameKind.DNS, text)
            case x509.IPAddress(value=address):
                if not isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
                    raise NameRefused(why="an address with a mask is no name")
                name = checked(NameKind.IP, str(address))
            case x509.RFC822Name(value=text):
                name = checked(NameKind.EMAIL, text)
            case x509.UniformResourceIdentifier(value=text):
                name = checked(NameKind.URI, text)
            case _:
                raise NameRefused(why=f"a name of the kind {type(entry).__name__}")
        found[name] = None
    return tuple(found)


def general_names(names: Sequence[Name]) -> x509.SubjectAlternativeName:
    """The subjectAltName of `names`."""
    return x509.SubjectAlternativeName([_general(name) for name in names])


@dataclass(frozen=True, slots=True)
class Permission:
    """What a requester may have certified: each name must match one of `names`.

    `dns:host.example.org` is that host, `dns:.example.org` all below it; `ip:2001:db8::/32` a
    network, `email:@example.org` the mail of a domain, `uri:hm:` all with that beginning. Wildcards
    need `wildcards`, and the name below the asterisk must match. `require_pattern` says of a text
    whether it is such a pattern.
    """

    names: tuple[str, ...]
    wildcards: bool = False

    def require(self, names: Iterable[Name]) -> None:
        """Raise `NameForbidden` for the first of `names` that is not permitted."""
        for name in names:
            if name.is_wildcard and not self.wildcards:
                raise NameForbidden(f"{name} is not permitted", why="wildcards are not")
            if not any(_matches(name, pattern) for pattern in self.names):
                raise NameForbidden(f"{name} is not permitted to this requester")


def require_pattern(text: str) -> None:
    """Raise `NameRefused` where `text` is no pattern of a `Permission`."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in set(NameKind) or not 1 <= len(rest) <= NAME_CHARACTERS_MAX:
        raise _refused(text, "a pattern is a kind and a name, as in dns:.example.internal")
    match NameKind(kind):
        case NameKind.DNS:
            _dns(rest.removeprefix("."))
        case NameKind.IP:
            try:
                ipaddress.ip_network(rest)
            except ValueError as error:
                raise _refused(text, str(error)) from error
        case NameKind.EMAIL:
            _dns(rest.rpartition("@")[2])
        case NameKind.URI:
            if any(character.isspace() for character in rest):
                raise _refused(text, "no URI has a space")


def require_within(names: Iterable[Name], constraints: x509.NameConstraints) -> None:
    """Raise `NameForbidden` where a name breaks `constraints` of an issuer (RFC 5280 section
    4.2.1.10): a kind that is constrained must match a permitted subtree, and no excluded one."""
    permitted = list(constraints.permitted_subtrees or ())
    excluded = list(constraints.excluded_subtrees or ())
    for name in names:
        alike = [subtree for subtree in permitted if _same_kind(name, subtree)]
        if alike and not any(_is_within(name, subtree) for subtree in alike):
            raise NameForbidden(f"{name} is outside of what the issuer may certify")
        if any(_is_within(name, subtree) or _covers(name, subtree) for subtree in excluded):
            raise NameForbidden(f"{name} is excluded from what the issuer may certify")


def constraints_of(permitted: Sequence[str]) -> x509.NameConstraints:
    """Name constraints that permit what is below `permitted` (`subtree`) and nothing else: where no
    host is among them none is left, and so with addresses, mail and URIs. Raises `NameRefused`."""
    trees = [subtree(text) for text in permitted]
    kinds = {text.partition(":")[0] for text in permitted}
    versions = {
        tree.value.version
        for tree in trees
        if isinstance(tree, x509.IPAddress)
        and isinstance(tree.value, ipaddress.IPv4Network | ipaddress.IPv6Network)
    }
    # What no name can match shuts out a kind whose constraints have no form for all of it.
    trees += [_NOWHERE[kind] for kind in _NOWHERE if kind not in kinds]
    excluded: list[x509.GeneralName] = [x509.DNSName("")] if NameKind.DNS not in kinds else []
    networks = {4: "0.0.0.0/0", 6: "::/0"}
    excluded += [
        x509.IPAddress(ipaddress.ip_network(networks[version]))
        for version in networks
        if version not in versions
    ]
    return x509.NameConstraints(trees, excluded or None)


def subtree(text: str) -> x509.GeneralName:
    """A subtree of name constraints: `dns:example.org` (and all below), `ip:2001:db8::/32`,
    `email:example.org`, `uri:host.example.org` or `uri:.example.org` (all hosts below). Raises
    `NameRefused`."""
    kind, _, rest = text.partition(":")
    match kind:
        case NameKind.DNS:
            return x509.DNSName(_dns(rest))
        case NameKind.EMAIL:
            return x509.RFC822Name(_dns(rest))
        case NameKind.IP:
            try:
                return x509.IPAddress(ipaddress.ip_network(rest))
            except ValueError as error:
                raise _refused(rest, str(error)) from error
        case NameKind.URI:
            host = _dns(rest.removeprefix("."))
            return x509.UniformResourceIdentifier(f".{host}" if rest.startswith(".") else host)
        case _:
            raise _refused(text, "no subtree of this kind")


@functools.lru_cache(maxsize=1024)
def _dns(text: str) -> str:
    lowered = text.lower()
    labels = lowered.removeprefix("*.").split(".")
    if len(labels) < 2 and lowered != labels[0]:
        raise _refused(text, "a wildcard stands below two labels or more")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise _refused(text, f"{label[:80]!r} is no label of a host name")
        if label[2:4] == "--":
            _require_a_label(label, text)
    if labels[-1].isdigit():
        raise _refused(text, "it ends like an address; give it as one")
    return lowered


def _require_a_label(label: str, text: str) -> None:
    """An A-label has one U-label, and comes back from it."""
    try:
        if not label.startswith("xn--"):
            raise _refused(text, f"{label!r} is a reserved label")
        shown = dns.name.IDNA_2008_Strict.decode(label.encode())
        back = dns.name.IDNA_2008_Strict.encode(shown)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise _refused(text, f"{label!r} is no label of IDNA 2008") from error
    if back != label.encode() or shown.isascii():
        raise _refused(text, f"{label!r} is no label of IDNA 2008")


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise _refused(text, "it is no IP address") from error
    if (
        address.is_unspecified
        or address.is_multicast
        or (isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None)
    ):
        raise _refused(text, "no single host has this address everywhere")
    return address.compressed


def _refused(text: str, why: str) -> NameRefused:
    return NameRefused(f"{text[:80]!r} cannot stand in a certificate", why=why)


def _general(name: Name) -> x509.GeneralName:
    match name.kind:
        case NameKind.DNS:
            return x509.DNSName(name.text)
        case NameKind.IP:
            return x509.IPAddress(ipaddress.ip_address(name.text))
        case NameKind.EMAIL:
            return x509.RFC822Name(name.text)
        case NameKind.URI:
            return x509.UniformResourceIdentifier(name.text)


def _matches(name: Name, pattern: str) -> bool:
    kind, _, rest = pattern.partition(":")
    if kind != name.kind:
        return False
    match name.kind:
        case NameKind.DNS:
            host = name.text.removeprefix("*.")
            below = rest.startswith(".") and (host.endswith(rest) or name.text == f"*{rest}")
            return below or host == rest
        case NameKind.IP:
            return ipaddress.ip_address(name.text) in ipaddress.ip_network(rest)
        case NameKind.EMAIL:
            return name.text == rest or (rest.startswith("@") and name.text.endswith(rest))
        case NameKind.URI:
            return name.text.startswith(rest)


def _same_kind(name: Name, general: x509.GeneralName) -> bool:
    match name.kind:
        case NameKind.DNS:
            return isinstance(general, x509.DNSName)
        case NameKind.EMAIL:
            return isinstance(general, x509.RFC822Name)
        case NameKind.URI:
            return isinstance(general, x509.UniformResourceIdentifier)
        case NameKind.IP:
            # An IPv4 network alone leaves no IPv6 address permitted (RFC 5280 section 4.2.1.10).
            return isinstance(general, x509.IPAddress)


def _covers(name: Name, general: x509.GeneralName) -> bool:
    """Whether `name` is a wildcard that the subtree lies below."""
    return (
        name.is_wildcard
        and isinstance(general, x509.DNSName)
        and general.value.endswith(name.text.removeprefix("*"))
    )


def _is_within(name: Name, general: x509.GeneralName) -> bool:
    match name.kind, general:
        case NameKind.DNS, x509.DNSName(value=tree):
            host = name.text.removeprefix("*.")
            return tree == "" or host == tree or host.endswith(f".{tree.removeprefix('.')}")
        case NameKind.EMAIL, x509.RFC822Name(value=tree):
            domain = name.text.rpartition("@")[2]
            if "@" in tree:
                return name.text == tree
            return domain == tree or (tree.startswith(".") and domain.endswith(tree))
        case NameKind.IP, x509.IPAddress(value=network):
            return (
                isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network)
                and ipaddress.ip_address(name.text) in network
            )
        case NameKind.URI, x509.UniformResourceIdentifier(value=tree):
            host = _host_of(name.text)
            return host == tree or (tree.startswith(".") and host.endswith(tree))
        case _:
            return False


def _host_of(uri: str) -> str:
    """The host in `uri`, empty where it names none: no constraint permits such a one (RFC 5280
    section 4.2.1.10)."""
    try:
        return urllib.parse.urlsplit(uri).hostname or ""
    except ValueError:
        return ""


_NOWHERE: dict[NameKind, x509.GeneralName] = {
    NameKind.EMAIL: x509.RFC822Name(NOWHERE),
    NameKind.URI: x509.UniformResourceIdentifier(NOWHERE),
}
