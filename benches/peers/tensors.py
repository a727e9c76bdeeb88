"""Two versions of a file of tensors, and what of the later one is sent to whom has the first."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hypermesh import _native
from hypermesh.wire.transfer import PAGE_CHUNKS_MAX

ENTRY_BYTES = 36
"""Of one chunk in a list: its length (u32, big-endian), and its digest."""
TENSORS = 400
TENSOR_BYTES = (40_000, 300_000)
DISGUISE = bytes(16)
"""In front of a file it hides what kind of file that is."""


def versions(seed: int) -> tuple[list[bytes], list[bytes]]:
    """Tensors of many sizes, and the same ones with every second one trained further."""
    least, most = TENSOR_BYTES

    def drawn(version: int, place: int, size: int) -> bytes:
        return hashlib.shake_256(b"%d %d %d" % (seed, version, place)).digest(size)

    first = []
    for place in range(TENSORS):
        number = int.from_bytes(drawn(0, place, 4), "big")
        first.append(drawn(1, place, least + number % (most - least)))
    later = [
        drawn(2, place, len(tensor)) if place % 2 else tensor for place, tensor in enumerate(first)
    ]
    return first, later


def safetensors(tensors: list[bytes]) -> bytes:
    """A file of them: the length of a header (u64, little-endian), the header in JSON, the data."""
    header, end = {}, 0
    for place, tensor in enumerate(tensors):
        begin, end = end, end + len(tensor)
        described = {"dtype": "U8", "shape": [len(tensor)], "data_offsets": [begin, end]}
        header[f"layer.{place}"] = described
    said = json.dumps(header).encode()
    return len(said).to_bytes(8, "little") + said + b"".join(tensors)


def chunks(file: Path, key: bytes) -> tuple[str, list[tuple[int, bytes]]]:
    """The kind that `file` is taken for, and length and digest of each of its chunks."""
    with file.open("rb") as opened:
        scanner = _native.ChunkScanner(opened.fileno(), key)
        found = []
        while page := scanner.page(PAGE_CHUNKS_MAX):
            entries = (page[at : at + ENTRY_BYTES] for at in range(0, len(page), ENTRY_BYTES))
            found += [(int.from_bytes(each[:4], "big"), each[4:]) for each in entries]
        return scanner.kind, found


def beyond(directory: Path, key: bytes, seed: int, front: bytes) -> tuple[str, float]:
    """The kind, and the share in percent of the second version that is sent although it has not
    changed. `front` stands before both files."""
    kinds, lists = [], []
    first, later = versions(seed)
    for name, tensors in (("first", first), ("later", later)):
        file = directory / name
        file.write_bytes(front + safetensors(tensors))
        kind, found = chunks(file, key)
        kinds.append(kind)
        lists.append(found)
        file.unlink()
    there = {digest for _, digest in lists[0]}
    sent = sum(length for length, digest in lists[1] if digest not in there)
    changed = sum(len(after) for before, after in zip(first, later, strict=True) if before != after)
    whole = sum(length for length, _ in lists[1])
    return kinds[0], 100 * (sent - changed) / whole
