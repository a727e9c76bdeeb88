"""Requests made from the OpenAPI document by schemathesis, right and wrong ones, to a real node:
each answer is one that the document describes, and none is the node's own failure.

Always the same requests, few of each operation, so that the suite stays quick and steady. To look
further: raise `EXAMPLES` and set `derandomize` off.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks
from schemathesis.core.failures import FailureGroup

from hypermesh.node.api.routes.planned import PLANNED

from .nodes import Running, started

DOCUMENT = Path(__file__).resolve().parents[2] / "openapi" / "hypermesh.json"
EXAMPLES = 6
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
ELSEWHERE = {
    ("GET", "/events"): "a stream; tests/node/test_observing.py",
    ("POST", "/privacy/proxy"): "answers 501",
    ("POST", "/v1/jobs"): "runs programs for up to a minute; tests/api/test_routes.py",
    ("POST", "/v1/attempts/{name}"): "attacks the node for seconds; its own tests",
    **{("GET", f"/v1/{name}"): "answers 501" for name in PLANNED},
}

schema = schemathesis.openapi.from_path(DOCUMENT)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("schema") / "dora", "private", tls_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def headers(node: Running) -> dict[str, str]:
    return {"authorization": f"Bearer {(node.data / 'api-token').read_text()}"}


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(
    case: schemathesis.Case, node: Running, headers: dict[str, str]
) -> None:
    if (case.method, case.path) in ELSEWHERE:
        pytest.skip(ELSEWHERE[case.method, case.path])
    case.call_and_validate(base_url=node.api, headers=headers, checks=CHECKS, timeout=30)


def test_another_answer_than_described_would_be_seen(
    node: Running, headers: dict[str, str]
) -> None:
    case = schema["/v1/network"]["GET"].Case()
    answer = requests.get(f"{node.api}/v1/network", headers=headers, timeout=30)
    case.validate_response(answer, checks=CHECKS)
    answer._content = answer.content.replace(b'"height":', b'"heigth":')
    with pytest.raises(FailureGroup, match="violates schema"):
        case.validate_response(answer, checks=CHECKS)
