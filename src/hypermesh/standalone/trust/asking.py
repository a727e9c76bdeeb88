"""The running server, as a command of the same program asks it: over its API, with a token."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import HyperMeshError, InvalidInput, Problem, Unreachable, error_from

T = TypeVar("T")

TIMEOUT_S = 60.0
TOKEN_BYTES_MAX = 1024
ANSWER_BYTES_MAX = 1 << 20


class Running:
    """The server at `url`; close it, as by `with`."""

    def __init__(self, url: str, token_file: Path, root: str | None) -> None:
        """`root` is the PEM of what is believed of it; None: what the system believes. Raises
        `InvalidInput`."""
        if not url.startswith("https://"):
            raise InvalidInput("The server's URL begins with https://", why="so that tokens do")
        try:
            with token_file.open() as opened:
                token = opened.read(TOKEN_BYTES_MAX).strip()
            token.encode("ascii")
            trust = ssl.create_default_context(cadata=root)
        except (OSError, ValueError) as error:
            raise InvalidInput("The token or the root cannot be used", why=str(error)) from error
        self._url = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"}
        self._client = httpx.Client(verify=trust, timeout=TIMEOUT_S, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def ask(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        """What it answers, as `kind`. Raises `Unreachable`, and its refusal as the error that it
        is."""
        content = None if body is None else msgspec.json.encode(body)
        try:
            with self._client.stream(method, f"{self._url}{path}", content=content) as answer:
                found = _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise Unreachable(f"{self._url} does not answer", why=why) from error
        try:
            if answer.status_code >= httpx.codes.BAD_REQUEST:
                raise _refusal(msgspec.json.decode(found, type=ProblemDetails))
            return msgspec.json.decode(found, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            why = f"{answer.status_code}: {found[:200]!r}"
            raise HyperMeshError(f"{self._url} is no trustchain-server", why=why) from error


def _refusal(told: ProblemDetails) -> HyperMeshError:
    error = error_from(Problem(told.code, told.detail, told.cause, told.fix))
    error.status, error.exit_code = told.status, told.exit_code
    return error


def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise httpx.DecodingError("the answer is too long")
    return bytes(body)
