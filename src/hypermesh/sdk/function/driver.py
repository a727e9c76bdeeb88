"""What runs a function inside the sandbox. Its source is sent there; it imports the standard
library alone, and cloudpickle where the function came in that way.

The answer goes to the descriptor that `HYPERMESH_RESULT_FD` names, as one packed dictionary:
`{"value": …}`, or `{"raised": {type, message, traceback}}`, or `{"mismatch": {…}}` where versions
differ and nothing was opened, or `{"unsendable": why}`. Standard output and error stay the
function's own.
"""

from __future__ import annotations
import __future__ as future

import linecache
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

Pack = Callable[[object], bytes]
Unpack = Callable[[bytes], Any]


def main(header: dict[str, Any], code: bytes, pack: Pack, unpack: Unpack) -> None:
    """Run what `header` and `code` describe on the arguments that stdin holds."""
    answer = _answer(header, code, sys.stdin.buffer.read(), pack, unpack)
    sys.stdout.flush()
    with os.fdopen(int(os.environ["HYPERMESH_RESULT_FD"]), "wb") as channel:
        channel.write(answer)


def _answer(
    header: dict[str, Any], code: bytes, arguments: bytes, pack: Pack, unpack: Unpack
) -> bytes:
    differing = _mismatch(header)
    if differing:
        return pack({"mismatch": differing})
    try:
        function, positional, named = _opened(header, code, arguments, unpack)
        value = function(*positional, **named)
    except BaseException as error:  # noqa: BLE001 (SystemExit too is an answer to the caller)
        return pack({"raised": _told(error)})
    try:
        packed = pack({"value": value})
    except TypeError as error:
        return pack({"unsendable": str(error)})
    if len(packed) > header["result_bytes_max"]:
        return pack({"unsendable": f"it takes {len(packed)} bytes"})
    return packed


def _mismatch(header: dict[str, Any]) -> dict[str, str]:
    """What is other here than `header` needs: by name, the version that is here."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if header["how"] == "source":
        needed = tuple(int(part) for part in header["python"].split("."))
        return {} if sys.version_info[:2] >= needed else {"python": here}
    if header["python"] != here:
        return {"python": here}
    try:
        import cloudpickle
    except ImportError:
        return {"cloudpickle": "none"}
    version = cloudpickle.__version__
    return {} if version == header["cloudpickle"] else {"cloudpickle": version}


def _opened(
    header: dict[str, Any], code: bytes, arguments: bytes, unpack: Unpack
) -> tuple[Callable[..., Any], Any, Any]:
    if header["how"] == "cloudpickle":
        import cloudpickle

        function = cloudpickle.loads(code)
        positional, named = cloudpickle.loads(arguments)
        return function, positional, named
    text = code.decode()
    file = header["file"]
    # Tracebacks then show the lines as they stand in the caller's file.
    lines = ["\n"] * (header["line"] - 1) + text.splitlines(keepends=True)
    linecache.cache[file] = (len(text), None, lines, file)
    flags = future.annotations.compiler_flag
    module: dict[str, Any] = {"__name__": "__hypermesh__", "__file__": file}
    exec(compile("".join(lines), file, "exec", flags=flags, dont_inherit=True), module)  # noqa: S102
    positional, named = unpack(arguments)
    return module[header["name"]], positional, named


def _told(error: BaseException) -> dict[str, str]:
    """The error as text; its traceback without the lines of this driver."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace, limit=-50)
    return {
        "type": type(error).__name__,
        "message": _text(str(error), 4_000),
        "traceback": _text("".join(lines), 100_000),
    }


def _text(given: str, characters_max: int) -> str:
    return given[:characters_max].encode("utf-8", "backslashreplace").decode()
