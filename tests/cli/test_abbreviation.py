"""Ids as people shorten them."""

from __future__ import annotations

import pytest

from hypermesh.cli.abbreviation import whole_id
from hypermesh.wire.errors import InvalidInput, NotFound

KNOWN = ["ab12", "ab34", "cd56"]


def test_what_no_other_begins_with_is_enough() -> None:
    assert whole_id("c", KNOWN, "job", "hm job ls") == "cd56"
    assert whole_id("ab1", KNOWN, "job", "hm job ls") == "ab12"
    assert whole_id("c", [*KNOWN, "cd56"], "job", "hm job ls") == "cd56"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", InvalidInput, "The id of a job is empty"),
        ("ab", NotFound, "2 jobs begin with 'ab'"),
        ("x" * 999, NotFound, f"No jobs begin with {'x' * 80!r}"),
    ],
)
def test_nothing_none_and_several_are_refused(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        whole_id(text, KNOWN, "job", "hm job ls")
