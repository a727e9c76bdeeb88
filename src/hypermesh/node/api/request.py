"""Requests whose bodies are exactly of the type that the route takes.

The framework reads a body loosely: text for a number, 0 for false. What the OpenAPI document calls
wrong is refused here instead.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from litestar import Request

from hypermesh.wire.errors import InvalidInput


class StrictRequest(Request[Any, Any, Any]):
    """Decodes a JSON body straight into the type of the route's `data`."""

    async def json(self) -> Any:
        data = self.route_handler.parsed_fn_signature.parameters["data"]
        return read_body(data.annotation, await self.body())


def read_body(kind: Any, content: bytes) -> Any:
    """The value of type `kind` in `content`, JSON. Raises `InvalidInput`, and `RecursionError` for
    what is nested too deeply."""
    try:
        return _decoder(kind).decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "The request does not fit what this path takes", why=str(error)
        ) from error


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
