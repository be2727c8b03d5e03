"""The description of the API holds: whatever it allows, and more, is sent, and every answer is one that it names."""

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
from detect.serving.limits import Limits

IMAGES = [encode(make_image((64, 96), seed), kind) for seed in range(2) for kind in ("PNG", "JPEG", "GIF")]


@pytest.fixture(scope="module")
def description():
    with serving(tiny_model(threshold=0.9), limits=Limits(bytes_=100_000, video_bytes=100_000)) as client:
        yield schemathesis.openapi.from_url(f"{str(client.base_url).rstrip('/')}/openapi.json")


def for_cases(operation, check) -> None:
    """Have ``check`` look at the answers to many requests that the description of ``operation`` allows, or forbids."""
    strategies = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
    decide = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    decide(given(case=st.one_of(strategies))(check))()


def test_every_answer_is_described(description):
    """But that any bytes are an image: what one is no schema can say."""

    def check(case) -> None:
        left_out = ["positive_data_acceptance"] if case.operation.method == "post" else []
        case.call_and_validate(excluded_checks=CHECKS.get_by_names(left_out))

    operations = [result.ok() for result in description.get_all_operations()]
    for operation in operations:
        for_cases(operation, check)
    assert len(operations) == 10


def test_images_are_taken_whatever_else_is_asked(description):
    def check(case) -> None:
        case.media_type, case.body = "image/png", IMAGES[0]
        case.call_and_validate(excluded_checks=CHECKS.get_by_names(["negative_data_rejection"]))

    for_cases(description["/v1/detect"]["post"], check)
