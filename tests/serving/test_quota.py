"""A quota limits what all requests reserve together, and gets everything back."""

from __future__ import annotations

import pytest

from detect.serving.errors import ProblemError, ServerBusyError
from detect.serving.quota import Quota


def test_reservations_share_the_quota_and_are_released():
    quota = Quota(10, "pixels")
    with quota.reservation() as first, quota.reservation() as second:
        first(6)
        with pytest.raises(ServerBusyError):
            second(5)
        with pytest.raises(ProblemError, match="at most 10 pixels") as exceeded:
            first(5)
        assert exceeded.value.status == 413
        second(4)
        assert quota.used == 10
    assert quota.used == 0


def test_an_error_releases_the_reservation():
    quota = Quota(10, "pixels")
    with pytest.raises(KeyError), quota.reservation() as take:
        take(3)
        raise KeyError
    assert quota.used == 0
