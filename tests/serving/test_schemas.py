"""The OpenAPI document is correct: every response to generated requests, valid or not, is one that it describes."""

from __future__ import annotations

import pytest
import schemathesis
from helpers.api_server import serving, tiny_model
from helpers.tiny_models import make_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from detect.media.encoding import encode

PNG = encode(make_image((64, 96), 0), "PNG")
# The server may refuse an invalid request with 413 before it reads it: schemathesis does not count that as a refusal.
REFUSALS = [400, 401, 403, 404, 405, 413, 415, 422]
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})


@pytest.fixture(scope="module")
def description():
    with serving(tiny_model(threshold=0.9), max_request_bytes=100_000, max_video_bytes=100_000) as client:
        yield schemathesis.openapi.from_url(f"{str(client.base_url).rstrip('/')}/openapi.json", config=CONFIG)


def for_cases(operation, check) -> None:
    """Call ``check`` with many requests to ``operation``, valid and invalid, the same ones in every run."""
    strategies = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
    decide = settings(
        max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    decide(given(case=st.one_of(strategies))(check))()


@pytest.mark.slow
def test_every_response_is_described(description):
    def check(case) -> None:
        # A schema cannot state which bytes are an image, so valid requests with a body may be refused.
        excluded = ["positive_data_acceptance"] if case.operation.method == "post" else []
        case.call_and_validate(excluded_checks=CHECKS.get_by_names(excluded))

    operations = [result.ok() for result in description.get_all_operations()]
    for operation in operations:
        for_cases(operation, check)
    assert len(operations) == 10


@pytest.mark.slow
def test_a_valid_image_is_accepted_with_every_combination_of_parameters(description):
    def check(case) -> None:
        case.media_type, case.body = "image/png", PNG
        case.call_and_validate(excluded_checks=CHECKS.get_by_names(["negative_data_rejection"]))

    for_cases(description["/v1/detect"]["post"], check)
