"""What the server is told: a TOML file, checked whole before anything starts.

name       = "Example"                    # at `init`: the organisation in the root's name
profile    = "classic"                    # at `init`: classic, hybrid, or pq, which needs [tls]
hosts      = ["ca.example.internal"]      # names of this server, in its own certificate
permitted  = ["dns:.example.internal"]    # what certificates may name; a requester's own list
                                          # narrows it
constraints = ["dns:example.internal"]    # at `init`: name constraints in the issuing CA's own
                                          # certificate, so that no reader believes it beyond them
https      = "[::1]:8443"                 # the API
http       = "[::1]:8080"                 # CRL, OCSP, CT reads and issuers; "" for none
root_list_days = 180                      # how long the offline root's revocation list is good
public_url = "http://ca.example.internal" # where others reach `http`: stands in certificates
store      = "sqlite"                     # or postgresql://trustchain@/trustchain?host=/run/postgresql
store_password_file = ""                  # the database's password, where it wants one

[tls]                                     # shown instead of a certificate of its own authority
certificate = "/etc/trustchain/tls.pem"   # a chain, leaf first; read again when it changes
key = "/etc/trustchain/tls.key"           # the leaf's key, which nobody else may read

[dns]
listen   = "[::1]:5353"                   # UDP and TCP; "" for none
tls      = "[::1]:8853"                   # DNS over TLS (RFC 7858)
quic     = "[::1]:8853"                   # DNS over QUIC (RFC 9250), IPv6
updates  = true                           # RFC 2136 over TLS, by certificates of this authority
upstream = ["[2001:db8::53]:53"]          # asked for names that are not here
recursive = ["::1/128"]                   # for whom
phased   = ["example.internal"]           # names that move here from other DNS, by phases
phase    = 3                              # of those that no command switched: 0 upstream,
                                          # 1 compared, 2 zones here first, 3 they alone
zone     = "hypermesh.online"             # served from the first start; "" for none
address  = "::1"                          # where trust., assets., caesar., stoq. of it lead

[acme]
enabled = true
url     = "https://ca.example.internal:8443/acme"
resolver = "[::1]:5353"                   # asked for dns-01, http-01 and CAA
http_port = 80
tls_alpn_port = 443
allowed = ["::1/128"]                     # own networks that it may connect to
external_account_required = false

[pkcs11]                                  # the issuing key lives in a token
module = "/usr/lib/softhsm/libsofthsm2.so"
token  = "hm"                             # the token's label
key    = "issuing"                        # the key's; it is made inside where it is not there
pin_file = "/etc/trustchain/pin"          # or pin_environment, which names a variable

[rate]
stranger_per_s = 200                      # requests a second of one address
member_per_s   = 2000                     # of one token or client certificate

[cosigning]                               # this server is a witness of others' logs
name = "witness.example.internal"         # "" for none
logs = ["/etc/trustchain/other.json"]     # what their /v1/logs says

[[witness]]                               # who is asked to cosign the logs of this server
url = "http://witness.example.org"        # below which add-checkpoint is
key = "witness.example.org+db35b1f3+BF..."  # its verifier key (C2SP signed-note)

[[client]]                                # a client certificate of this authority
name  = "email:ops@example.internal"
role  = "operator"
names = []
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.postgresql.place import Place, parse_place
from hypermesh.standalone.peers import Server, parse_server
from hypermesh.standalone.toml_file import parsed, read_text
from hypermesh.standalone.trust.errors import SettingsFixed, SettingsInvalid
from hypermesh.standalone.trust.tokens import Role
from hypermesh.trustchain.ca.names import (
    Name,
    NameForbidden,
    NameKind,
    NameRefused,
    checked,
    constraints_of,
    require_pattern,
    require_within,
)
from hypermesh.trustchain.ca.profile import DAY_S, PROFILES
from hypermesh.trustchain.ct.checkpoint import read_witness_key
from hypermesh.trustchain.ct.errors import EntryInvalid
from hypermesh.trustchain.ct.note import require_name
from hypermesh.wire.errors import InvalidInput

FILE = "trustchain.toml"
SQLITE = "sqlite"
"""The setting `store` of who keeps everything in files of the data directory."""
LIST_MAX = 1000
CONSTRAINTS_MAX = 100
"""Subtrees in the issuing CA's certificate, which every client loads."""
UPSTREAM_MAX = 8
ROOT_LIST_DAYS_MAX = 398
WITNESSES_MAX = 16
"""Who cosigns; and the logs that this server cosigns for."""
WITNESSED_MAX = 100
PQ = "pq"
_UNCHECKED = "the TLS libraries here check no client's certificate of the profile pq"
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:-]{1,253}(/[A-Za-z0-9._~/-]*)?")
_MAY_BE_EMPTY = frozenset({"http", "dns.listen", "dns.tls", "dns.quic", "acme.resolver"})

Port = Annotated[int, Meta(ge=1, le=65535)]


class Dns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name server. Empty `listen`: none."""

    listen: str = "[::1]:5353"
    tls: str = ""
    quic: str = ""
    updates: bool = False
    upstream: Annotated[tuple[str, ...], Meta(max_length=UPSTREAM_MAX)] = ()
    recursive: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    phased: tuple[str, ...] = ()
    phase: Annotated[int, Meta(ge=0, le=3)] = 3
    zone: str = "hypermesh.online"
    address: str = "::1"


class Acme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ACME server. `url` is where clients reach its directory, without the path's end; empty:
    from the first of `hosts` and the port of `https`."""

    enabled: bool = False
    url: str = ""
    resolver: str = ""
    http_port: Port = 80
    tls_alpn_port: Port = 443
    allowed: tuple[str, ...] = ()
    external_account_required: bool = False


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files of a certificate chain, of whatever authority the clients believe, and of its key.
    Empty: the server shows a certificate of its own authority."""

    certificate: str = ""
    key: str = ""


class Pkcs11(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token that holds the issuing key. Empty `module`: the key is in the key store. The PIN
    stands elsewhere: in the first line of a file that nobody else may read, or in a variable of the
    environment."""

    module: str = ""
    token: str = ""
    key: str = "issuing"
    pin_file: str = ""
    pin_environment: str = ""


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests a second in the long run; twice as many at once."""

    stranger_per_s: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    member_per_s: Annotated[int, Meta(ge=1, le=1_000_000)] = 2000


class Cosigning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This server as a witness, under `name`, of the logs in the files `logs`. Empty `name`: it is
    none."""

    name: str = ""
    logs: Annotated[tuple[str, ...], Meta(max_length=WITNESSED_MAX)] = ()


class Witness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A witness that cosigns the logs of this server."""

    url: str
    key: str


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has a client certificate of this authority with `name` is of `role`."""

    name: str
    role: Role
    names: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See the top of the module."""

    name: Annotated[str, Meta(min_length=1, max_length=64)] = "TrustChain"
    profile: str = "classic"
    hosts: tuple[str, ...] = ("localhost",)
    permitted: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    https: str = "[::1]:8443"
    http: str = "[::1]:8080"
    public_url: str = ""
    root_list_days: Annotated[int, Meta(ge=1, le=ROOT_LIST_DAYS_MAX)] = 180
    store: str = SQLITE
    store_password_file: str = ""
    tls: TlsFiles = TlsFiles()
    dns: Dns = Dns()
    acme: Acme = Acme()
    pkcs11: Pkcs11 = Pkcs11()
    rate: Rate = Rate()
    cosigning: Cosigning = Cosigning()
    witness: Annotated[tuple[Witness, ...], Meta(max_length=WITNESSES_MAX)] = ()
    client: tuple[Client, ...] = ()

    @property
    def own_names(self) -> tuple[Name, ...]:
        """The names in the server's own certificate. Raises `NameRefused`."""
        return tuple(
            checked(NameKind.IP if _is_address(host) else NameKind.DNS, host) for host in self.hosts
        )

    @property
    def https_place(self) -> Server:
        return parse_server(self.https)

    @property
    def http_place(self) -> Server | None:
        return parse_server(self.http) if self.http else None

    @property
    def dns_place(self) -> Server | None:
        return parse_server(self.dns.listen) if self.dns.listen else None

    @property
    def dns_tls_place(self) -> Server | None:
        return parse_server(self.dns.tls) if self.dns.tls else None

    @property
    def dns_quic_place(self) -> Server | None:
        return parse_server(self.dns.quic) if self.dns.quic else None

    @property
    def root_list_s(self) -> int:
        """How long the root's revocation list is good, in seconds."""
        return self.root_list_days * DAY_S

    @property
    def database(self) -> Place | None:
        """The database that keeps what is issued, logged and ordered; None: files."""
        if self.store == SQLITE:
            return None
        password = self.store_password_file
        return parse_place(self.store, Path(password) if password else None)

    @property
    def reads_url(self) -> str:
        """Where others find CRL, OCSP and issuers, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        place = self.http_place
        port = "" if place is None or place.port == 80 else f":{place.port}"
        return f"http://{_in_url(self.hosts[0])}{port}"

    def acme_url(self, port: int) -> str:
        """Where ACME clients find the directory's parent, without a slash at the end; `port` is
        that of `https`."""
        if self.acme.url:
            return self.acme.url.rstrip("/")
        return f"https://{_in_url(self.hosts[0])}{_port(port)}/acme"

    @property
    def https_url(self) -> str:
        """Where clients find the API, without a slash at the end."""
        return f"https://{_in_url(self.hosts[0])}{_port(self.https_place.port)}"

    @property
    def origin(self) -> str:
        """What the logs are named after: the first host with a name. It cannot change later."""
        return next((each for each in self.hosts if not _is_address(each)), self.hosts[0])


_FIXED: Mapping[str, Callable[[Settings], object]] = {
    "name": lambda each: each.name,
    "profile": lambda each: each.profile,
    "constraints": lambda each: each.constraints,
    "the first of hosts": lambda each: each.origin,
    "https": lambda each: each.https,
    "http": lambda each: each.http,
    "public_url": lambda each: each.public_url,
    "store": lambda each: (each.store, each.store_password_file),
    "dns.listen": lambda each: each.dns.listen,
    "dns.tls": lambda each: each.dns.tls,
    "dns.quic": lambda each: each.dns.quic,
    "dns.updates": lambda each: each.dns.updates,
    "dns.recursive": lambda each: each.dns.recursive,
    "dns.phased": lambda each: each.dns.phased,
    "whether dns.upstream names any": lambda each: bool(each.dns.upstream),
    "pkcs11": lambda each: each.pkcs11,
    "cosigning.name": lambda each: each.cosigning.name,
    "acme.enabled": lambda each: each.acme.enabled,
    "acme.url": lambda each: each.acme.url,
}
"""What a running server cannot change: what its sockets, its certificates and its log were made
with."""


def require_changeable(before: Settings, after: Settings) -> None:
    """Raise `SettingsFixed`, which names them, where settings differ that need a restart."""
    found = [each for each, value in _FIXED.items() if value(before) != value(after)]
    if found:
        raise SettingsFixed(f"A running server cannot change: {', '.join(found)}")


def parse_settings(text: str, where: str) -> Settings:
    """The settings in `text`, checked. Raises `SettingsInvalid`, with the setting."""
    told = parsed(text, where, SettingsInvalid)
    try:
        settings = msgspec.convert(told, Settings)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(f"{where}: a setting cannot be used", why=str(error)) from error
    for setting, why in _faults(settings):
        raise SettingsInvalid(f"{where}: {setting} cannot be used", why=why)
    return settings


def read_settings(file: Path) -> Settings:
    """The settings in `file`. Raises `SettingsInvalid`."""
    return parse_settings(read_text(file, SettingsInvalid), str(file))


def written(settings: Settings) -> str:
    """`settings` as the file that says them all."""
    lines: list[str] = []
    sections: list[str] = []
    for key, value in msgspec.to_builtins(settings, enc_hook=str).items():
        if isinstance(value, dict):
            sections.append(f"\n[{key}]\n" + "".join(_line(k, v) for k, v in value.items()))
        elif key in ("client", "witness"):
            sections.extend(
                f"\n[[{key}]]\n" + "".join(_line(k, v) for k, v in each.items()) for each in value
            )
        else:
            lines.append(_line(key, value))
    return "".join(lines + sections)


def _line(key: str, value: object) -> str:
    # What JSON writes of text, truth values, integers and lists of them, TOML reads the same.
    return f"{key} = {msgspec.json.encode(value).decode()}\n"


def _faults(settings: Settings) -> list[tuple[str, str]]:
    """(setting, why) of what is wrong beyond its type."""
    faults = []
    if settings.profile not in PROFILES:
        faults.append(("profile", f"{settings.profile[:40]!r} is none of {', '.join(PROFILES)}"))
    if not 1 <= len(settings.hosts) <= LIST_MAX:
        faults.append(("hosts", "the server needs a name"))
    faults += [
        ("hosts", f"{each[:80]!r} is no host name")
        for each in settings.hosts
        if len(each) > 253 or not (_HOST.fullmatch(each) or _is_address(each))
    ]
    faults += _patterns("permitted", settings.permitted)
    faults += _of_tls(settings)
    faults += _of_constraints(settings)
    faults += _of_names(settings.dns)
    places = [
        ("https", settings.https),
        ("http", settings.http),
        ("dns.listen", settings.dns.listen),
        ("dns.tls", settings.dns.tls),
        ("dns.quic", settings.dns.quic),
        ("acme.resolver", settings.acme.resolver),
        *(("dns.upstream", each) for each in settings.dns.upstream),
    ]
    for setting, place in places:
        if not place and setting in _MAY_BE_EMPTY:
            continue
        try:
            parse_server(place)
        except InvalidInput as error:
            faults.append((setting, error.what))
    if settings.acme.enabled and not (settings.acme.resolver or settings.dns.listen):
        faults.append(("acme.resolver", "there is no name server here to ask"))
    for setting, url in (("public_url", settings.public_url), ("acme.url", settings.acme.url)):
        if url and not _URL.fullmatch(url):
            faults.append((setting, f"{url[:80]!r} is no URL"))
    try:
        if settings.database is None and settings.store_password_file:
            faults.append(("store_password_file", "files have no password"))
    except InvalidInput as error:
        faults.append(("store", error.why or error.what))
    if settings.dns.zone and not _HOST.fullmatch(settings.dns.zone):
        faults.append(("dns.zone", f"{settings.dns.zone[:80]!r} is no name of a zone"))
    if ":" not in settings.dns.address or not _is_address(settings.dns.address):
        faults.append(("dns.address", f"{settings.dns.address[:80]!r} is no IPv6 address"))
    faults += _networks("acme.allowed", settings.acme.allowed)
    faults += _of_token(settings.pkcs11)
    faults += _of_witnesses(settings)
    for client in settings.client:
        faults += _patterns("client.name", (client.name,))
        faults += _patterns("client.names", client.names)
    return faults


def _of_tls(settings: Settings) -> list[tuple[str, str]]:
    faults = []
    if bool(settings.tls.certificate) != bool(settings.tls.key):
        missing = "key" if settings.tls.certificate else "certificate"
        faults.append((f"tls.{missing}", "a certificate and its key go together"))
    if settings.profile != PQ:
        return faults
    if not settings.tls.certificate:
        why = "the profile pq needs another authority's: no TLS library here signs by ML-DSA"
        faults.append(("tls.certificate", why))
    if settings.client:
        faults.append(("client", f"{_UNCHECKED}; give out tokens"))
    if settings.dns.updates:
        faults.append(("dns.updates", _UNCHECKED))
    return faults


def _of_constraints(settings: Settings) -> list[tuple[str, str]]:
    if not settings.constraints:
        return []
    if len(settings.constraints) > CONSTRAINTS_MAX:
        return [("constraints", f"at most {CONSTRAINTS_MAX} are taken")]
    try:
        # A certificate of another authority's is not bound by them.
        own = () if settings.tls.certificate else settings.own_names
        require_within(own, constraints_of(settings.constraints))
    except NameForbidden as error:
        return [("constraints", f"{error.what}, and it is one of hosts")]
    except NameRefused as error:
        return [("constraints", error.why or error.what)]
    return []


def _of_names(dns: Dns) -> list[tuple[str, str]]:
    faults = _networks("dns.recursive", dns.recursive)
    faults += [
        ("dns.phased", f"{each[:80]!r} is no name of a zone")
        for each in dns.phased
        if not _HOST.fullmatch(each)
    ]
    faults += [
        ("dns.phased", f"{each[:80]} is below {above[:80]}")
        for each in dns.phased[:LIST_MAX]
        for above in dns.phased[:LIST_MAX]
        if each.endswith(f".{above}")
    ]
    if len(dns.phased) > LIST_MAX:
        faults.append(("dns.phased", f"at most {LIST_MAX} are taken"))
    if not dns.listen and (dns.tls or dns.quic or dns.phased):
        faults.append(("dns.listen", "there is no name server to go with the other settings"))
    if dns.updates and not dns.tls:
        faults.append(("dns.updates", "they come over TLS alone: set dns.tls"))
    if dns.phased and dns.phase < 3 and not dns.upstream:
        faults.append(("dns.upstream", "a phase before 3 asks other servers, and none is named"))
    return faults


def _of_witnesses(settings: Settings) -> list[tuple[str, str]]:
    faults = []
    names = []
    for witness in settings.witness:
        if not _URL.fullmatch(witness.url):
            faults.append(("witness.url", f"{witness.url[:80]!r} is no URL"))
        try:
            names.append(read_witness_key(witness.key).name)
        except EntryInvalid as error:
            faults.append(("witness.key", error.what))
    if len(set(names)) != len(names):
        faults.append(("witness.key", "two witnesses have one name"))
    if settings.cosigning.name:
        try:
            require_name(settings.cosigning.name)
        except EntryInvalid as error:
            faults.append(("cosigning.name", error.what))
    elif settings.cosigning.logs:
        faults.append(("cosigning.name", "a witness has a name"))
    return faults


def _of_token(pkcs11: Pkcs11) -> list[tuple[str, str]]:
    if not pkcs11.module:
        return []
    faults = []
    if not (pkcs11.token and pkcs11.key):
        faults.append(("pkcs11.token", "the token and its key have labels"))
    if bool(pkcs11.pin_file) == bool(pkcs11.pin_environment):
        faults.append(("pkcs11.pin_file", "the PIN is in a file or in the environment"))
    return faults


def _networks(setting: str, networks: tuple[str, ...]) -> list[tuple[str, str]]:
    faults = []
    for network in networks[: LIST_MAX + 1]:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            faults.append((setting, str(error)))
    if len(networks) > LIST_MAX:
        faults.append((setting, f"at most {LIST_MAX} are taken"))
    return faults


def _patterns(setting: str, patterns: tuple[str, ...]) -> list[tuple[str, str]]:
    if len(patterns) > LIST_MAX:
        return [(setting, f"at most {LIST_MAX} are taken")]
    faults = []
    for each in patterns:
        try:
            require_pattern(each)
        except NameRefused as error:
            faults.append((setting, f"{each[:80]!r}: {error.why or error.what}"))
    return faults


def _port(https: int) -> str:
    return "" if https == 443 else f":{https}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
