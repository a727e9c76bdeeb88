"""Decoders may be asked for by any number of threads: msgspec's own would crash the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hypermesh.wire.block import Header
from hypermesh.wire.decoding import build_all, json_decoder, msgpack_decoder

RACE = """
import sys, threading
sys.setswitchinterval(1e-6)
import msgspec
from hypermesh.wire import block, decoding, rpc, tx
from hypermesh.wire.codec import encode

MAKE = {make}
HASH = bytes(32)
HEADER = block.Header(HASH, 1, 1, HASH, HASH, HASH, HASH, HASH)
RESULT = tx.TxResult(HASH, "ok", [])
BLOCK = block.Block(HEADER, None, [b"x"], [RESULT])
VALUES = [BLOCK, HEADER, RESULT, rpc.BlocksResponse([encode(BLOCK)], 1)]
go = threading.Barrier(8)

def work(values):
    go.wait()
    for value in values:
        assert MAKE(type(value)).decode({encode}(value)) == value

turns = [VALUES, [HEADER, RESULT, BLOCK]] * 4
threads = [threading.Thread(target=work, args=(values,)) for values in turns]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
SIGSEGV = -11
TRIES = 60


def ends(make: str, encode: str) -> int:
    """How a fresh process ends whose threads all make their first decoders at once."""
    source = RACE.format(make=make, encode=encode)
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, timeout=60, check=False
    ).returncode


@pytest.mark.parametrize("form", ["msgpack", "json"])
def test_threads_may_ask_for_their_first_decoders_at_once(form: str) -> None:
    ended = [ends(f"decoding.{form}_decoder", f"msgspec.{form}.encode") for _ in range(6)]
    assert set(ended) == {0}


@pytest.mark.long
def test_the_race_is_there_without_the_lock() -> None:
    """The day this fails, msgspec has mended it and the lock can go."""
    tries = (ends("msgspec.msgpack.Decoder", "msgspec.msgpack.encode") for _ in range(TRIES))
    assert SIGSEGV in tries


def test_a_decoder_is_built_once() -> None:
    assert msgpack_decoder(Header) is msgpack_decoder(Header)
    assert json_decoder(Header) is json_decoder(Header)


def test_all_structs_are_built_at_once() -> None:
    import hypermesh.wire.tx  # noqa: F401 (so that there are some)

    assert build_all() > 40
