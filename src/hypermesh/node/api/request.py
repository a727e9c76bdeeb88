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
        try:
            return _decoder(data.annotation).decode(await self.body())
        except msgspec.DecodeError as error:
            raise InvalidInput(
                "The request does not fit what this path takes", why=str(error)
            ) from error


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
