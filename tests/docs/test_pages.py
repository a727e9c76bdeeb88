"""Every code block of the documents runs, in its order, on real nodes, and prints what it shows."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .page import PORT, PORTS_FROM, Reader, Wrong, blocks, commands, skeleton, with_free_ports

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
    *sorted((ROOT / "docs" / "explanation").glob("*.md")),
]
RUN = [
    page for page in PAGES if any(block.language != "text" for block in blocks(page.read_text()))
]
SKIPPED = {
    "needs-a-checkout": "builds the product itself; `make` does the same before these tests",
    "needs-a-database": "tests/standalone/trust runs these over a PostgreSQL server of its own",
    "needs-systemd": "tests/deploy runs the unit's command and checks its settings",
}
SKIPS: dict[str, dict[str, int]] = {
    "CONTRIBUTING.md": {"needs-a-checkout": 1},
    "README.md": {"needs-a-checkout": 2},
    "docs/how-to/private-pki.md": {"needs-a-database": 2},
    "docs/how-to/run-as-a-service.md": {"needs-systemd": 1},
}
"""How often each page leaves a block out, and why."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def reader() -> Iterator[Reader]:
    # Below /tmp: a UNIX socket's path may have 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="page-", dir="/tmp"))
    reader = Reader(directory)
    try:
        yield reader
    finally:
        reader.leave()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_a_page_does_what_it_says(page: Path, reader: Reader) -> None:
    reader.follow(with_free_ports(page.read_text()))


def test_what_is_left_out_is_known() -> None:
    found = {
        name_of(page): dict(Counter(block.skip for block in blocks(page.read_text()) if block.skip))
        for page in PAGES
    }
    assert {page: skips for page, skips in found.items() if skips} == SKIPS
    assert {why for skips in SKIPS.values() for why in skips} == set(SKIPPED)


def test_the_pages_have_commands() -> None:
    shown = {
        name_of(page): sum(len(commands(block)) for block in blocks(page.read_text()))
        for page in PAGES
    }
    assert shown["README.md"] >= 5
    assert shown["docs/tutorials/first-steps.md"] >= 10
    assert all(count for page, count in shown.items() if page.startswith("docs/how-to/"))


def test_a_port_that_is_taken_is_left_alone() -> None:
    page = "https://[::1]:18460/ 18461 [::1]:18460 118460 184600 18360"
    plain = with_free_ports(page, PORTS_FROM)
    first = int(plain.split()[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", first))
        other = with_free_ports(page, PORTS_FROM)
    url, second, place, *rest = other.split()
    assert int(second) != first
    assert url == f"https://{place}/", "one port of the page is one port here"
    assert second not in url
    assert rest == ["118460", "184600", "18360"]
    assert not PORT.search(other)


PLANTED = {
    "a command that fails": "```console\n$ false\n```\n",
    "a command that does not exist": "```console\n$ hm frob\n```\n",
    "output that is not printed": "```console\n$ echo hello\ngoodbye\n```\n",
    "a figure of a program": "```console\n$ echo 5050\n5051\n```\n",
    "one line shown twice": "```console\n$ echo hello\nhello\nhello\n```\n",
    "a program that fails": "```python\nraise SystemExit(1)\n```\n",
    "a program with a mistake": "```python\nimport hypermesh as hm\nhm.conect()\n```\n",
    "a block without a kind": "```\nhm up\n```\n",
    "a block of an unknown kind": "```sh\nhm up\n```\n",
    "a file outside": "```toml ../job.toml\n```\n",
    "a file that is not there": "```console\n$ cat job.toml\n```\n",
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_mistake_is_found(planted: str, reader: Reader) -> None:
    with pytest.raises(Wrong):
        reader.follow(PLANTED[planted])


GOOD = """\
```toml job.toml
program = "x"
```

```console
$ cat job.toml; echo made 0123456789abcdef in 3 ms, 2.5 GiB at /var/x; echo ready
ready
made fedcba9876543210 in 27.5 s, 3 MiB at ~/y
...
$ echo fedcba98 fedcba9876543210 \\
  done
01234567 0123456789abcdef done
```

```python
print(open("job.toml").read())
```
"""


def test_what_differs_from_run_to_run_is_no_mistake(reader: Reader) -> None:
    reader.follow(GOOD)
    assert reader.meant["fedcba9876543210"] == "0123456789abcdef"


def test_only_what_changes_is_left_out_of_a_line() -> None:
    assert skeleton("paid 0.5 CAES to 8001f6f7c41bf4ac")[0] == "paid <number> CAES to <id>"
    assert skeleton("[2, 3]") == ("[2, 3]", ())
    assert skeleton("at hm://fd00.01.02:3, refused")[0] == "at <address>, refused"
