"""A shared render queue without a GPU.

python render_queue.py start ADDRESS
python render_queue.py work ADDRESS [--frames N] [--to FOLDER]

The queue is one counter of 8 bytes in leased memory at ADDRESS. A worker takes the next frame by
raising it: of two that try at once, one succeeds. It has the frame rendered by whatever machine has
a CPU free, and writes it as an image (PGM). Start as many workers as you like.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import hypermesh as hm

WIDTH, HEIGHT = 96, 64


@hm.function(cpu="250m", memory="128MiB", timeout="60s")
def render(frame, width, height):
    """One frame of a dive into the Mandelbrot set, as grey bytes."""
    zoom = 1.5 * 0.8**frame
    rows = bytearray()
    for row in range(height):
        for column in range(width):
            c = complex(
                -0.7436 + zoom * (2 * column / width - 1), 0.1318 + zoom * (2 * row / height - 1)
            )
            z, steps = 0j, 0
            while abs(z) <= 2 and steps < 255:
                z, steps = z * z + c, steps + 1
            rows.append(255 - steps)
    return bytes(rows)


def take(queue: hm.LeasedRegion) -> int:
    """The next frame, for this worker alone."""
    seen = int.from_bytes(queue.read(0, 8), "little")
    while True:
        swapped, seen_now = queue.compare_and_swap(0, seen, seen + 1)
        if swapped:
            return seen
        seen = seen_now


def work(mesh: hm.Mesh, address: str, frames: int, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with mesh.memory.open(address) as queue:
        while (frame := take(queue)) < frames:
            pixels = render.on(mesh).remote(frame, WIDTH, HEIGHT)
            header = f"P5 {WIDTH} {HEIGHT} 255\n".encode()
            (folder / f"frame-{frame:03}.pgm").write_bytes(header + pixels)
            print(f"frame {frame}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["start", "work"])
    parser.add_argument("address")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--to", type=Path, default=Path("frames"))
    given = parser.parse_args()
    with hm.connect() as mesh:
        if given.what == "start":
            mesh.memory.put(given.address, bytes(8), duration_ms=3_600_000)
            print("The queue is open for an hour.")
        else:
            work(mesh, given.address, given.frames, given.to)


if __name__ == "__main__":
    main()
