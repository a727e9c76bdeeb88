"""Write the OpenAPI document of the API to openapi/hypermesh.json, or check that it is current.

python tools/openapi.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import msgspec

from hypermesh.node.api.answers import Answers
from hypermesh.node.api.application import application
from hypermesh.node.api.description import describe
from hypermesh.node.composition import Node

DOCUMENT = Path(__file__).resolve().parents[1] / "openapi" / "hypermesh.json"


def document() -> bytes:
    """The document as it is to lie in the repository; the routes are described without a node."""
    described = describe(application(cast("Node", None), cast("Answers", None)))
    return msgspec.json.format(msgspec.json.encode(described, order="deterministic"), indent=2)


def main() -> int:
    current = document() + b"\n"
    if "--check" in sys.argv[1:]:
        same = DOCUMENT.exists() and DOCUMENT.read_bytes() == current
        print("openapi/hypermesh.json is current" if same else "Run python tools/openapi.py")
        return 0 if same else 1
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_bytes(current)
    print(f"{DOCUMENT.name}: {len(current)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
