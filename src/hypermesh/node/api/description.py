"""The OpenAPI document of the API: served at `/v1/openapi.json`, kept in `openapi/hypermesh.json`.

Litestar tells the paths, msgspec the types: it knows the bounds of 64-bit integers to the unit, and
its schemas are what the bodies are checked against.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.openapi.plugins import JsonRenderPlugin

from hypermesh.http.problem import MEDIA_TYPE
from hypermesh.trustchain import bundle
from hypermesh.wire import api, asset, parcel, tx
from hypermesh.wire.api.problem import ProblemDetails

_REFERENCE = "#/components/schemas/{name}"
_REFUSAL = {
    "description": "Refused; the problem details (RFC 9457) say what happened, why, and the fix.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(name="ProblemDetails")}}},
}


def describe(app: Litestar) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `app`."""
    return _revised(app.openapi_schema.to_schema())


class Description(JsonRenderPlugin):
    """Serves the document."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return self.render_json(request, _revised(openapi_schema))


def _revised(generated: dict[str, Any]) -> dict[str, Any]:
    known = _structs()
    kinds = [known[name] for name in generated["components"]["schemas"]]
    _, schemas = msgspec.json.schema_components([*kinds, ProblemDetails], ref_template=_REFERENCE)
    return {
        **generated,
        "paths": {
            path: {method: _operation(said) for method, said in methods.items()}
            for path, methods in generated["paths"].items()
        },
        "components": {
            **generated["components"],
            "schemas": {name: _unindented(schema) for name, schema in schemas.items()},
        },
    }


def _structs() -> dict[str, type]:
    """Every type of the API by its name, which is its name in the document too."""
    modules = [asset, parcel, tx, bundle] + [
        importlib.import_module(f"{api.__name__}.{each.name}")
        for each in pkgutil.iter_modules(api.__path__)
    ]
    return {
        kind.__name__: kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__
    }


def _unindented(schema: dict[str, Any]) -> dict[str, Any]:
    """A docstring without its indentation, which Python 3.13 leaves out and earlier ones keep."""
    if "description" not in schema:
        return schema
    return {**schema, "description": inspect.cleandoc(schema["description"])}


def _operation(said: dict[str, Any]) -> dict[str, Any]:
    responses = {status: each for status, each in said["responses"].items() if status != "400"}
    operation = {**said, "responses": {**responses, "default": _REFUSAL}}
    if "parameters" in said:
        operation["parameters"] = _with_integers(said["parameters"])
    return operation


def _with_integers(value: Any) -> Any:
    """`value` with the bounds of integers as integers, not 500.0."""
    if isinstance(value, dict):
        return {name: _with_integers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_integers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
