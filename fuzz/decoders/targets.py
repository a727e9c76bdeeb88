"""The decoders in Python, each with valid inputs to begin from.

`read` returns or raises a `HyperMeshError`; whatever else it raises is a defect, and so is a value
that does not encode to the bytes it was read from.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from fuzz.decoders import names, requests, transport
from fuzz.decoders.mutator import Lots, altered
from fuzz.decoders.shapes import value_of

import hypermesh.wire
from hypermesh.assets import receipt
from hypermesh.assets.receipt_check import verify_receipt
from hypermesh.catalog import job
from hypermesh.crypto.keystore import SecretFile
from hypermesh.crypto.sealed import Sealer, Unsealer
from hypermesh.ledger.engines.comet import abci, messages, protobuf
from hypermesh.ledger.kernel import decode_entry
from hypermesh.ledger.verify import verify_block, verify_transaction
from hypermesh.node.api.request import read_body
from hypermesh.sdk.answer import understood
from hypermesh.sdk.call import Call
from hypermesh.sdk.events import Parser
from hypermesh.sdk.function import data
from hypermesh.trustchain import invitation, verify
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.amount import format_caes, parse_caes
from hypermesh.wire.api.body import Body
from hypermesh.wire.api.event import BlockEvent, NodeEvent
from hypermesh.wire.api.network import StatusView
from hypermesh.wire.api.receipt import ReceiptDocument
from hypermesh.wire.block import Block, Genesis, TransactionProof
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.quantity import parse_bytes, parse_cores, parse_duration
from hypermesh.wire.rpc import Call as RpcCall
from hypermesh.wire.rpc import SignedLocator
from hypermesh.wire.tx import Entry, SignedTransaction

VECTORS = Path(__file__).parents[2] / "vectors"
VALUES = 8
"""Valid values of each type."""


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder, or several of one form."""

    name: str
    seeds: Callable[[Lots], list[bytes]]
    read: Callable[[bytes], object]


class Failure(Exception):
    """An input under which a decoder broke its word."""

    def __init__(self, target: str, number: int, content: bytes) -> None:
        super().__init__(f"input {number} of {target}: {content.hex()}")
        self.target = target
        self.number = number
        self.input = content


def exercise(target: Target, seed: int, goes_on: Callable[[int], bool]) -> int:
    """Give `target` its valid inputs, then altered ones while `goes_on`; how many. Raises
    `Failure` from what went wrong."""
    seeds = target.seeds(Lots(seed))
    supply: Iterator[bytes] = altered(seeds, seed)
    for number, content in enumerate(seeds):
        _give(target, number, content)
    number = 0
    while goes_on(number):
        _give(target, number, next(supply))
        number += 1
    return number


def _give(target: Target, number: int, content: bytes) -> None:
    try:
        with contextlib.suppress(HyperMeshError):
            target.read(content)
    except Exception as error:
        raise Failure(target.name, number, content) from error


@cache
def structs() -> Mapping[str, Any]:
    """Every struct of `hypermesh.wire`, by module and name."""
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(hypermesh.wire.__path__, "hypermesh.wire."):
        loaded = importlib.import_module(module.name)
        for name, kind in vars(loaded).items():
            is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
            if is_struct and kind.__module__ == module.name:
                found[f"{module.name.removeprefix('hypermesh.wire.')}.{name}"] = kind
    return found


def _wire_kinds() -> list[Any]:
    return [kind for kind in structs().values() if kind.__struct_config__.array_like]


def _body_kinds() -> list[Any]:
    return [kind for kind in structs().values() if issubclass(kind, Body) and kind is not Body]


def _encoded(kind: Any) -> Callable[[Lots], list[bytes]]:
    return lambda lots: [encode(value_of(kind, lots)) for _ in range(VALUES)]


def _canonical(kind: Any) -> Callable[[bytes], object]:
    def read(content: bytes) -> None:
        assert encode(decode(kind, content)) == content

    return read


def _every_wire_struct(lots: Lots) -> list[bytes]:
    """Each with the number of its type before it."""
    return [
        number.to_bytes(2, "big") + encode(value_of(kind, lots))
        for number, kind in enumerate(_wire_kinds())
        for _ in range(2)
    ]


def _read_wire_struct(content: bytes) -> None:
    kinds = _wire_kinds()
    kind = kinds[int.from_bytes(content[:2], "big") % len(kinds)]
    _canonical(kind)(content[2:])


def _every_body(lots: Lots) -> list[bytes]:
    return [
        number.to_bytes(2, "big") + msgspec.json.encode(value_of(kind, lots))
        for number, kind in enumerate(_body_kinds())
        for _ in range(2)
    ]


def _read_body(content: bytes) -> None:
    """Too deep nesting has an answer of its own."""
    kinds = _body_kinds()
    kind = kinds[int.from_bytes(content[:2], "big") % len(kinds)]
    with contextlib.suppress(RecursionError):
        read_body(kind, content[2:])


def _addresses(lots: Lots) -> list[bytes]:
    made = [value_of(GlobalAddress, lots) for _ in range(VALUES)]
    return [str(each).encode() for each in made] + [each.pack() for each in made]


def _read_address(content: bytes) -> None:
    with contextlib.suppress(HyperMeshError):
        assert GlobalAddress.unpack(content).pack() == content
    text = content.decode("utf-8", "surrogateescape")
    assert str(GlobalAddress.parse(text)) == text


def _invitations(lots: Lots) -> list[bytes]:
    return [str(value_of(invitation.Invitation, lots)).encode() for _ in range(VALUES)]


def _read_invitation(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    assert str(invitation.parse(text)) == "".join(text.split())


def _receipts(lots: Lots) -> list[bytes]:
    return [msgspec.json.encode(value_of(ReceiptDocument, lots)) for _ in range(VALUES)]


def _read_receipt(content: bytes) -> None:
    assert not verify_receipt(receipt.read(content)).ok


def _events(lots: Lots) -> list[bytes]:
    said = [("block", BlockEvent), ("node", NodeEvent)]
    return [
        f"id: 3.1\nevent: {kind}\ndata: ".encode()
        + msgspec.json.encode(value_of(of, lots))
        + b"\n\n"
        for kind, of in said
        for _ in range(VALUES)
    ]


def _read_events(content: bytes) -> None:
    parser = Parser()
    for line in content.split(b"\n"):
        parser.feed(line)


def _answers(lots: Lots) -> list[bytes]:
    return [msgspec.json.encode(value_of(StatusView, lots)) for _ in range(VALUES)]


def _read_answer(content: bytes) -> None:
    call = Call(StatusView, "GET", "/v1/network")
    with contextlib.suppress(HyperMeshError):
        understood(call, 500, content)
    understood(call, 200, content)


def _entries(lots: Lots) -> list[bytes]:
    made = [encode(value_of(Entry, lots)) for _ in range(VALUES)]
    return [*made, *(entry for _, entry, *_ in _first_ledger()[1] if entry)]


def _first_ledger() -> Any:
    return msgspec.msgpack.decode((VECTORS / "ledger" / "first.msgpack").read_bytes())


@cache
def _genesis() -> Genesis:
    return decode(Genesis, encode(_first_ledger()[0]))


def _read_block(content: bytes) -> None:
    verify_block(_genesis(), decode(Block, content))


def _read_proof(content: bytes) -> None:
    verify_transaction(_genesis(), decode(TransactionProof, content))


def _abci(lots: Lots) -> list[bytes]:
    del lots
    empty = [
        protobuf.encode_one(messages.REQUEST_NUMBERS, kind()) for kind in messages.REQUESTS.values()
    ]
    filled = protobuf.encode_one(
        messages.REQUEST_NUMBERS,
        messages.RequestFinalizeBlock(
            txs=(b"one", b"two"), height=7, time=messages.Timestamp(5, 6)
        ),
    )
    return [abci.frame(each) for each in [*empty, filled]]


def _read_abci(content: bytes) -> None:
    stream = io.BytesIO(content)
    while (message := abci.read_message(stream)) is not None:
        protobuf.decode_one(messages.REQUESTS, message)


def _sealed(lots: Lots) -> list[bytes]:
    target = io.BytesIO()
    sealer = Sealer(target, "a long passphrase")
    sealer.write(lots.data(100))
    sealer.close()
    return [target.getvalue()]


def _read_sealed(content: bytes) -> None:
    """Nothing but what was sealed is opened, and deriving a key is asked for by the header alone:
    the digest over it is checked before."""
    if content in _sealed_once():
        return
    Unsealer(io.BytesIO(content), "a long passphrase").read(1 << 20)
    raise AssertionError("what was altered opens")


@cache
def _sealed_once() -> list[bytes]:
    return _sealed(Lots(1))


def _packed(lots: Lots) -> list[bytes]:
    values: list[Any] = [None, True, 7, -(2**70), 1.5, "text", b"bytes", [1, [2]], {"a": (1, 2)}]
    return [data.pack(each) for each in [*values, values, {"all": values, "n": lots.below(9)}]]


def _read_packed(content: bytes) -> None:
    with contextlib.suppress(data.Malformed):
        data.unpack(content)


_JOB = b"""program = "primes.py"
engine = "python"
arguments = ["1000"]
stdin = ""
[limits]
cpu = "250m"
memory = "64MiB"
wall = "30s"
"""


def _read_job(content: bytes) -> None:
    job.parse(content.decode("utf-8", "replace"), "job.toml")


def _read_quantities(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    for parse in (parse_bytes, parse_duration, parse_cores):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0
    assert parse_caes(format_caes(parse_caes(text))) == parse_caes(text)


def _certificates(lots: Lots) -> list[bytes]:
    del lots
    return [(VECTORS / "x509" / f"{name}.der").read_bytes() for name in ("node", "session")]


def _read_certificate(content: bytes) -> None:
    verify.read_keys(content)


def _of(name: str, kind: Any) -> Target:
    return Target(name, _encoded(kind), _canonical(kind))


TARGETS = (
    Target("wire", _every_wire_struct, _read_wire_struct),
    Target("bodies", _every_body, _read_body),
    _of("call", RpcCall),
    _of("locator", SignedLocator),
    _of("transaction", SignedTransaction),
    _of("genesis", Genesis),
    _of("secret-file", SecretFile),
    Target("entry", _entries, decode_entry),
    Target("block", _encoded(Block), _read_block),
    Target("transaction-proof", _encoded(TransactionProof), _read_proof),
    Target("address", _addresses, _read_address),
    Target("invitation", _invitations, _read_invitation),
    Target("receipt", _receipts, _read_receipt),
    Target("events", _events, _read_events),
    Target("answer", _answers, _read_answer),
    Target("abci", _abci, _read_abci),
    Target("sealed", lambda _lots: _sealed_once(), _read_sealed),
    Target("function-data", _packed, _read_packed),
    Target("job-file", lambda _lots: [_JOB], _read_job),
    Target(
        "quantities", lambda _lots: [b"64MiB", b"1.5 GB", b"7d", b"250m", b"0.25"], _read_quantities
    ),
    Target("certificate-keys", _certificates, _read_certificate),
    Target("tunnel", transport.openings, transport.read_opening),
    Target("transfer", transport.conversations, transport.read_conversation),
    Target("transfer-page", transport.pages, transport.read_page),
    Target("parcel", transport.parcels, transport.read_parcel),
    Target("dns-update", names.updates, names.read_update),
    Target("dns-data", names.sets, names.read_data),
    Target("certificate-request", requests.whole, requests.read_whole),
    Target("requested-names", requests.lines, requests.read_lines),
    Target("delivery", transport.deliveries, transport.read_delivery),
)
