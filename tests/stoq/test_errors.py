"""One number for a failure: on the wire, in Rust, and in the catalogue."""

from __future__ import annotations

from hypermesh import _native
from hypermesh.stoq import errors
from hypermesh.wire.errors import HyperMeshError, Overloaded


def classes() -> dict[str, type[HyperMeshError]]:
    return {
        value.code: value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, HyperMeshError)
        and value.__module__ == errors.__name__
    }


def test_every_kind_has_its_class_and_every_class_its_kind() -> None:
    kinds = dict(_native.stoq_kinds())
    assert kinds.pop(Overloaded.code) == 60
    expected = set(classes()) - {errors.PeerRefused.code}
    assert set(kinds) == expected
    assert all(code == f"HM-STOQ-{number:04}" for code, number in kinds.items())


def test_every_class_says_what_it_is() -> None:
    for found in classes().values():
        assert found.title != HyperMeshError.title
        assert found.__doc__


def test_reasons_not_to_admit_a_peer_are_one_family() -> None:
    for code, found in classes().items():
        assert issubclass(found, errors.PeerRefused) == (int(code[-4:]) < 20), code
