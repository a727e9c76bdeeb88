"""A node that kills itself with SIGKILL at one instant: `doomed.py OBJECT.METHOD before|after` and
then the words of `hm`. Run as a process of its own, so that nothing of it is left."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from hypermesh.node.parcels_kept import KeptParcels
from hypermesh.node.parcels_passing import Passing
from hypermesh.stoq.parcel import parcel_id
from hypermesh.wire.parcel import Parcel, ParcelKind, ParcelOffer

OBJECTS = {"KeptParcels": KeptParcels, "Passing": Passing}


def doom(place: str, when: str) -> None:
    """Die before or after this method does its work for a message; reports pass."""
    name, _, method = place.partition(".")
    kind: Any = OBJECTS[name]
    original = getattr(kind, method)

    def deadly(self: Any, *arguments: Any) -> Any:
        if not _is_message(self, arguments):
            return original(self, *arguments)
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, *arguments)
        return os.kill(os.getpid(), signal.SIGKILL)

    setattr(kind, method, deadly)


def _is_message(kept: Any, arguments: tuple[Any, ...]) -> bool:
    for each in arguments:
        parcel = each.parcel if isinstance(each, ParcelOffer) else each
        if isinstance(parcel, Parcel):
            return parcel.header.kind is ParcelKind.MESSAGE
    held = kept.held(arguments[0])
    assert held is None or parcel_id(held.parcel.header) == held.id
    return held is not None and held.parcel.header.kind is ParcelKind.MESSAGE


if __name__ == "__main__":
    doom(sys.argv[1], sys.argv[2])
    sys.argv = ["hm", *sys.argv[3:]]
    from hypermesh.cli.main import main

    main()
