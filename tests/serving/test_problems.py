"""Invalid parameters are answered with what is allowed for them, in words."""

from __future__ import annotations

from typing import Annotated, Literal

import httpx
import pytest
from fastapi import FastAPI, Query
from helpers.api_server import problem_of, running

from detect.serving.problems import install_error_handlers


@pytest.fixture(scope="module")
def url():
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    def _(
        most: Annotated[int, Query(le=5)] = 0,
        least: Annotated[float, Query(ge=0)] = 0,
        between: Annotated[float, Query(gt=0, le=1)] = 1,
        above: Annotated[int | None, Query(gt=0)] = None,
        below: Annotated[float, Query(ge=0, lt=1)] = 0,
        level: Annotated[Literal[1, 2], Query()] = 1,
        many: Annotated[list[int], Query()] = [],  # noqa: B006 - FastAPI copies it
    ) -> None: ...

    with running(app) as url:
        yield url


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("most", "6", "most must be a whole number of at most 5, not '6'"),
        ("least", "-1", "least must be a number of at least 0, not '-1'"),
        ("between", "0", "between must be a number greater than 0 and of at most 1, not '0'"),
        ("above", "0", "above must be a whole number greater than 0, not '0'"),
        ("below", "1", "below must be a number of at least 0 and less than 1, not '1'"),
        ("level", "3", "level must be 1 or 2, not '3'"),
        ("many", "x", "many: Input should be a valid integer, unable to parse string as an integer, not 'x'"),
    ],
)
def test_each_limit_of_a_parameter_is_named(url, parameter, value, words):
    answer = httpx.get(url, params={parameter: value}, trust_env=False)
    assert problem_of(answer, 422) == words
