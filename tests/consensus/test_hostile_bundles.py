"""Whatever a bundle holds, verifying it gives failures and never an exception: an exception in the
rules would stop every node."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypermesh.consensus.verifier.bundle import names, reasons
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.proof import (
    SPACE_CHIAPOS_1,
    WORK_INT8_MATRIX_1,
    Bundle,
    MatrixRow,
    SpaceDraw,
    SpaceProof,
    StakeProof,
    TimeProof,
    VdfOutput,
    WorkProof,
)

hashes = st.binary(min_size=32, max_size=32)
paths = st.lists(hashes, max_size=20)
schemes = st.sampled_from([SPACE_CHIAPOS_1, WORK_INT8_MATRIX_1]) | st.text(max_size=20)
draws = st.builds(
    SpaceDraw,
    st.integers(0, 255),
    st.binary(min_size=144, max_size=144) | st.binary(min_size=1, max_size=512),
)
rows = st.builds(
    MatrixRow,
    st.integers(0, 200) | st.integers(0, 65_535),
    st.binary(min_size=4, max_size=600),
    paths,
)
bundles = st.builds(
    Bundle,
    hashes,
    hashes,
    st.integers(0, 2**53),
    st.none()
    | st.builds(
        SpaceProof, schemes, st.integers(18, 50), st.lists(draws, max_size=8), st.text(max_size=20)
    ),
    st.none() | st.builds(StakeProof, hashes, st.integers(0, 2**63 - 1)),
    st.none()
    | st.builds(
        WorkProof,
        schemes,
        st.just(128) | st.integers(1, 65_535),
        hashes,
        st.lists(rows, max_size=6),
        st.lists(rows, max_size=6),
    ),
    st.none()
    | st.builds(
        TimeProof,
        st.builds(VdfOutput, schemes, st.integers(1, 2**60), st.binary(min_size=1, max_size=300)),
    ),
)


@given(bundle=bundles)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bundle_is_judged(bundle: Bundle, history: Any) -> None:
    assert decode(Bundle, encode(bundle)) == bundle
    failures = history.network().expected().failures(bundle)
    assert names(failures) == ("space", "stake", "work", "time")
    assert reasons(failures)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_right_rows_with_wrong_contents_are_judged(data: Any, history: Any) -> None:
    """Rows with the indexes drawn get as far as the product and the paths."""
    work = history.honest.work
    samples = [
        MatrixRow(row.index, data.draw(st.binary(min_size=4, max_size=600)), data.draw(paths))
        for row in work.samples
    ]
    false = WorkProof(work.scheme, work.size, work.root, samples, work.opened)
    bundle = Bundle(
        *(getattr(history.honest, name) for name in ("genesis", "node", "epoch")),
        history.honest.space,
        history.honest.stake,
        false,
        history.honest.time,
    )
    assert names(history.network().expected().failures(bundle)) == ("work",)
