"""Every decoder in Python under altered inputs, the same on every run. `make fuzz` goes on from
where these stop."""

from __future__ import annotations

from types import ModuleType

import pytest
from fuzz.decoders.mutator import Lots, altered
from fuzz.decoders.shapes import value_of
from fuzz.decoders.targets import TARGETS, Failure, Target, exercise, structs

from hypermesh.trustchain.ca import names, request
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput

INPUTS = {"wire": 6_000, "bodies": 4_000, "sealed": 60}
INPUTS_USUAL = 1_500
SEED = 2026


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_altered_input_breaks_a_decoder(target: Target) -> None:
    count = INPUTS.get(target.name, INPUTS_USUAL)
    assert exercise(target, SEED, lambda number: number < count) == count


@pytest.mark.parametrize("kind", structs().values(), ids=structs())
def test_every_struct_has_valid_values(kind: type) -> None:
    """So that one which is added later is fuzzed from the day on which it is."""
    made = value_of(kind, Lots(SEED))
    if kind.__struct_config__.array_like:  # type: ignore[attr-defined]
        assert decode(kind, encode(made)) == made


def _believes_a_length(content: bytes) -> None:
    length = content[0]
    if content[1 + length] != 0:
        raise InvalidInput("It does not end with a zero")


def _forgives_another_form(content: bytes) -> None:
    assert encode(int(content.strip())) == content


@pytest.mark.parametrize("planted", [_believes_a_length, _forgives_another_form])
def test_a_planted_defect_is_found_and_told_with_its_input(planted: object) -> None:
    target = Target("planted", lambda _lots: [b"\x05hello\x00"], planted)  # type: ignore[arg-type]
    with pytest.raises(Failure) as found:
        exercise(target, SEED, lambda number: number < 1_000)
    assert found.value.input.hex() in str(found.value)
    with pytest.raises(Exception, match=r".*"):
        planted(found.value.input)  # type: ignore[operator]


def _target(name: str) -> Target:
    return next(target for target in TARGETS if target.name == name)


@pytest.mark.parametrize(
    ("name", "module", "check"),
    [
        ("certificate-request", request, "_require_possession"),
        ("requested-names", names, "_address"),
        ("requested-names", names, "_dns"),
    ],
)
def test_a_check_that_is_left_out_of_requests_is_missed(
    name: str, module: ModuleType, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, check, lambda first, *_: first)
    with pytest.raises(Failure):
        exercise(_target(name), SEED, lambda number: number < 3_000)


def test_names_without_a_limit_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "NAMES_MAX", 10**6)
    with pytest.raises(Failure):
        exercise(_target("requested-names"), SEED, lambda number: number < 10)


def test_the_same_seed_gives_the_same_inputs_and_another_gives_others() -> None:
    def inputs(seed: int) -> list[bytes]:
        supply = altered([b"\x93\x01\x02\xa1x", b'{"a": [1, "b"]}'], seed)
        return [next(supply) for _ in range(200)]

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)
    assert len(set(inputs(1))) > 150
