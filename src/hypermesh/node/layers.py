"""Where a setting comes from: layers, of which the first that names a key wins.

    flag > environment > project > user > system > kept by the node > default

The project file is `hypermesh.toml` in the working directory or the nearest one above it; the
user's is `$XDG_CONFIG_HOME/hypermesh/config.toml` and the system's `/etc/hypermesh/config.toml`
(XDG base directory specification). Keys are few, unknown ones are errors, and every mistake is
named with its file and line. `share` and `level` are declared on the ledger at a node's first
start: from then on what the node has kept counts for them, whatever a file says.

A project file comes with a repository or an archive, and is found from any directory below it: who
wrote it need not be who runs `hm`. So it may not say where the keys and the purse lie (`data`), nor
who may reach this machine (`level`, `stoq.host`, `stoq.stack`, `tls.port`, `dns.listen`,
`dns.tls`, `dns.quic`), nor for whom it works (`parcels.carry`), nor whose word it takes for a name
(`dns.upstream`). Otherwise a directory that a stranger left in `/tmp`, or a clone, would have its
visitor pay from another's data directory, or start a node whose keys the stranger knows. Besides, a
file of any layer is refused where somebody other than the user or root owns it or may write it, as
SSH does with its own.
"""

from __future__ import annotations

import difflib
import enum
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypermesh.node.configuration import (
    NODE_NAME,
    SETTINGS_FILE,
    Settings,
    first_settings,
    kept_settings,
    parse_share,
)
from hypermesh.node.names.place import parse_listen, parse_quic, parse_upstream
from hypermesh.stoq.custody import Carry
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.threads import THREADS_MAX
from hypermesh.wire.amount import BASIS_POINTS
from hypermesh.wire.asset import PrivacyLevel
from hypermesh.wire.errors import HyperMeshError, InvalidInput

PROJECT_FILE = "hypermesh.toml"
SYSTEM_FILE = Path("/etc/hypermesh/config.toml")
FILE_BYTES_MAX = 64 * 1024
LOG_LEVELS = ("debug", "info", "warning", "error")
OUTPUTS = ("table", "json", "jsonl")

Value = str | int


class ConfigurationInvalid(HyperMeshError):
    """A configuration file or variable cannot be used."""

    code = "HM-NODE-0020"
    exit_code = 3
    title = "The configuration is not valid"


class Layer(enum.StrEnum):
    """In the order of precedence."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    PROJECT = "project"
    USER = "user"
    SYSTEM = "system"
    KEPT = "kept"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and what said so: `where` is `FILE:LINE`, a variable or an option."""

    value: Value
    layer: Layer
    where: str = ""


Settled = Mapping[str, Setting]
"""Settings by key."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `check` returns the value as it counts, or raises `ValueError` with what was
    expected."""

    name: str
    what: str
    check: Callable[[object], Value]
    project: bool = True
    """Whether a project file may set it."""

    @property
    def variable(self) -> str:
        return "HYPERMESH_" + self.name.upper().replace(".", "_")


def _text(expected: str, pattern: str) -> Callable[[object], Value]:
    def check(value: object) -> Value:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return check


def _one_of(*names: str) -> Callable[[object], Value]:
    return _text(f"one of {', '.join(names)}", "|".join(map(re.escape, names)))


def _whole(lowest: int, highest: int) -> Callable[[object], Value]:
    def check(value: object) -> Value:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)  # A variable of the environment is always text.
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return value

    return check


def _share(value: object) -> Value:
    try:
        return _share_text(parse_share(value if isinstance(value, str) else ""))
    except InvalidInput:
        raise ValueError("a percentage in quotes, such as 50% or 33.33%") from None


def _share_text(points: int) -> str:
    return f"{points * 100 / BASIS_POINTS:g}%"


def _place(value: object) -> Value:
    try:
        parse_listen(value if isinstance(value, str) else "")
    except InvalidInput:
        raise ValueError("an address and a port, such as [::1]:5353, or off") from None
    return str(value)


def _place_v6(value: object) -> Value:
    try:
        parse_quic(value if isinstance(value, str) else "")
    except InvalidInput:
        raise ValueError("an IPv6 address and a port, such as [::1]:8853, or off") from None
    return str(value)


def _places(value: object) -> Value:
    try:
        found = parse_upstream(value) if isinstance(value, str) else None
    except InvalidInput:
        found = None
    if found is None:
        raise ValueError("addresses and ports between commas, such as [2001:db8::53]:53")
    return str(value)


def _directory(value: object) -> Value:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("the path of a directory")
    return str(Path(value).expanduser())


DECLARED = ("share", "level")
"""What a node declares at its first start, and files can change no more."""

KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key("data", "The node's data directory.", _directory, project=False),
        Key("name", "The node's name for people.", _text("letters, digits, - and _", NODE_NAME)),
        Key("share", "How much of this machine a new node declares.", _share),
        Key(
            "level",
            "Who may discover and lease what a new node declares.",
            _one_of(*(level.value for level in PrivacyLevel)),
            project=False,
        ),
        Key("stoq.host", "Address that STOQ listens on.", _text("an address", r"\S+"), False),
        Key(
            "stoq.stack",
            "The versions of IP that STOQ speaks: IPv6, or IPv4 as well (dual).",
            _one_of(*(stack.value for stack in Stack)),
            project=False,
        ),
        Key("stoq.port", "UDP port of STOQ; 0 chooses one.", _whole(0, 65535)),
        Key(
            "stoq.threads",
            "I/O threads of STOQ, each pinned to a core where they are several; 0 for one a core.",
            _whole(0, THREADS_MAX),
        ),
        Key(
            "tls.port",
            "TCP port of the API for other machines, or the next free one; 0 for none.",
            _whole(0, 65535),
            project=False,
        ),
        Key(
            "parcels.carry",
            "For whom this node keeps parcels on their way: its owner's nodes, or all.",
            _one_of(*(carry.value for carry in Carry)),
            project=False,
        ),
        Key(
            "dns.listen",
            "Address and port of the name server, or the next free port; off for none.",
            _place,
            project=False,
        ),
        Key(
            "dns.tls",
            "The same for DNS over TLS; only where names are served at all.",
            _place,
            project=False,
        ),
        Key(
            "dns.quic",
            "The same for DNS over QUIC, at an IPv6 address.",
            _place_v6,
            project=False,
        ),
        Key(
            "dns.upstream",
            "Servers that look up other names, between commas, as [2001:db8::53]:53.",
            _places,
            project=False,
        ),
        Key("log.level", "How much the node's log says.", _one_of(*LOG_LEVELS)),
        Key("output", "How commands print.", _one_of(*OUTPUTS)),
    )
}
NODE_OPTIONS: Mapping[str, str] = {
    "name": "name",
    "share": "share",
    "level": "level",
    "stoq_host": "stoq.host",
    "stoq_stack": "stoq.stack",
    "stoq_port": "stoq.port",
    "stoq_threads": "stoq.threads",
    "tls_port": "tls.port",
    "carry": "parcels.carry",
    "dns_listen": "dns.listen",
    "dns_tls": "dns.tls",
    "dns_quic": "dns.quic",
    "dns_upstream": "dns.upstream",
}
"""The key of each field of `Settings`, which `Configuration.of` takes."""


def merge(layers: Iterable[Settled]) -> dict[str, Setting]:
    """The settings that count: of each key the one in the highest `Layer`."""
    order = list(Layer)
    merged: dict[str, Setting] = {}
    for layer in layers:
        for name, setting in layer.items():
            present = merged.get(name)
            if present is None or order.index(setting.layer) < order.index(present.layer):
                merged[name] = setting
    return merged


def of_environment(variables: Mapping[str, str]) -> dict[str, Setting]:
    """What `HYPERMESH_*` variables say; an empty one says nothing."""
    found = {}
    for key in KEYS.values():
        text = variables.get(key.variable, "")
        if not text:
            continue
        try:
            value = key.check(text)
        except ValueError as error:
            raise ConfigurationInvalid(
                f"{key.variable} is {text[:80]!r}", why=f"expected {error}"
            ) from None
        found[key.name] = Setting(value, Layer.ENVIRONMENT, key.variable)
    return found


def of_text(text: str, layer: Layer, file: Path) -> dict[str, Setting]:
    """What a TOML file says. Raises `ConfigurationInvalid` with file and line of all mistakes."""
    import tomllib

    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(
            f"{file} is not TOML", why=str(error), fix=f"Correct {file}"
        ) from None
    lines = _lines(text)
    found: dict[str, Setting] = {}
    mistakes: list[str] = []
    for name, value in _leaves(tree):
        place = f"{file}:{_line(lines, name)}"
        key = KEYS.get(name)
        if key is None:
            near = difflib.get_close_matches(name, KEYS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(KEYS)}"
            mistakes.append(f"{place}: unknown key {name!r}{hint}")
        elif layer is Layer.PROJECT and not key.project:
            mistakes.append(f"{place}: a project file may not set {name!r}; put it into the user's")
        else:
            try:
                found[name] = Setting(key.check(value), layer, place)
            except ValueError as error:
                mistakes.append(f"{place}: {name} is {_shown(value)}, expected {error}")
    if mistakes:
        raise ConfigurationInvalid(
            mistakes[0],
            why="; ".join(mistakes[1:]),
            fix=f"Correct {file}; `hm config show --origin` shows what counts",
        )
    return found


def of_kept(settings: Settings, layer: Layer, where: str = "") -> dict[str, Setting]:
    """What a node keeps, or would start with."""
    found = {}
    for field, name in NODE_OPTIONS.items():
        value = getattr(settings, field)
        text = _share_text(value) if name == "share" else value
        found[name] = Setting(text, layer, where)
    return found


def files(working: Path | None, variables: Mapping[str, str]) -> list[tuple[Layer, Path]]:
    """Where configuration files may be, by precedence; of projects only one that is there."""
    found: list[tuple[Layer, Path]] = []
    if working is not None:
        above = (each / PROJECT_FILE for each in (working, *working.parents))
        found += [(Layer.PROJECT, each) for each in above if each.is_file()][:1]
    home = Path(variables.get("XDG_CONFIG_HOME", ""))
    if not home.is_absolute():
        # The specification says to ignore a relative one.
        home = Path(variables.get("HOME") or Path.home()) / ".config"
    found.append((Layer.USER, home / "hypermesh" / "config.toml"))
    return [*found, (Layer.SYSTEM, SYSTEM_FILE)]


def configured() -> dict[str, Setting]:
    """What files and environment of this process say, without the node's own and the defaults.

    Raises `ConfigurationInvalid`.
    """
    layers = [of_environment(os.environ)]
    for layer, file in files(working_directory(), os.environ):
        text = _read(file)
        if text is not None:
            layers.append(of_text(text, layer, file))
    return merge(layers)


def for_node(settled: Settled, data: Path) -> dict[str, Setting]:
    """Of `settled` what the node in `data` heeds: once it has declared, only an option is an
    attempt to change that."""
    if not (data / SETTINGS_FILE).exists():
        return dict(settled)
    return {
        name: setting
        for name, setting in settled.items()
        if name not in DECLARED or setting.layer is Layer.FLAG
    }


def node_options(settled: Settled, data: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `Configuration.of` takes for the node in `data`: as `given`, else as `settled`."""
    heeded = for_node(settled, data)
    options = {field: given.get(field) for field in NODE_OPTIONS}
    for field, key in NODE_OPTIONS.items():
        if options[field] is None and key in heeded:
            options[field] = heeded[key].value
    return options


def complete(settled: Settled, data: Path) -> dict[str, Setting]:
    """Every key: `settled`, with what the node in `data` keeps and the defaults below it."""
    defaults: dict[str, Value] = {"data": str(data), "log.level": "info", "output": "table"}
    layers = [
        for_node(settled, data),
        of_kept(first_settings(), Layer.DEFAULT),
        {name: Setting(value, Layer.DEFAULT) for name, value in defaults.items()},
    ]
    file = data / SETTINGS_FILE
    if file.exists():
        layers.append(of_kept(kept_settings(file), Layer.KEPT, str(file)))
    merged = merge(layers)
    return {name: merged[name] for name in KEYS}


def text(settled: Settled, key: str) -> str | None:
    """The value of `key` as text; None where nothing says any."""
    setting = settled.get(key)
    return None if setting is None else str(setting.value)


def number(settled: Settled, key: str) -> int | None:
    """The value of `key` as a number; None where nothing says any."""
    setting = settled.get(key)
    return None if setting is None else int(setting.value)


def working_directory() -> Path | None:
    """Where the user types; None where that directory is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _read(file: Path) -> str | None:
    """The text of a trusted file; None where there is none."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationInvalid(f"{file} cannot be read", why=str(error)) from error
    with os.fdopen(descriptor, "rb") as opened:
        # Of what is open, for the name may lead elsewhere a moment later.
        distrust = distrusted(os.fstat(descriptor), os.geteuid(), os.getegid())
        if distrust is not None:
            raise ConfigurationInvalid(
                f"{file} is not trusted",
                why=distrust,
                fix=f"If it is yours: chown {os.geteuid()} {file} && chmod go-w {file}",
            )
        content = opened.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ConfigurationInvalid(f"{file} is too large", why=f"{FILE_BYTES_MAX} bytes fit")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"{file} is not UTF-8", why=str(error)) from error


def distrusted(status: os.stat_result, user: int, group: int) -> str | None:
    """Why a file of this status is no word of `user`; None where it is."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_uid not in (user, 0):
        return f"it belongs to user {status.st_uid}, and this is user {user}"
    # Where everybody has a group of one, files are made writable for it (umask 002).
    foreign_group = status.st_mode & stat.S_IWGRP and status.st_gid not in (group, 0)
    if status.st_mode & stat.S_IWOTH or foreign_group:
        return f"others may write it (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def _leaves(tree: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        full = f"{above}{name}"
        if isinstance(value, dict) and value and full not in KEYS:
            yield from _leaves(value, f"{full}.")
        elif value != {} or not any(key.startswith(f"{full}.") for key in KEYS):
            yield full, value


_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_TABLE = re.compile(rf"\s*\[\[?\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")


def _lines(text: str) -> dict[str, int]:
    """The line of each key and table, which the parser does not tell."""
    found: dict[str, int] = {}
    table = ""
    for number, each in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(each):
            table = _plain(header[1])
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(each):
            name = _plain(assignment[1])
            found.setdefault(f"{table}.{name}" if table else name, number)
    return found


def _line(lines: Mapping[str, int], name: str) -> int:
    """The line of `name`, or of what holds it."""
    while name and name not in lines:
        name = name.rpartition(".")[0]
    return lines.get(name, 1)


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value!r:.80}"
