"""A quota limits what all requests reserve together, and gets everything back."""

from __future__ import annotations

import pytest

from detect.serving.quota import Quota, QuotaBusyError, QuotaExceededError


def test_reservations_share_the_quota_and_are_released():
    quota = Quota(10)
    with quota.reservation() as first, quota.reservation() as second:
        first(6)
        with pytest.raises(QuotaBusyError):
            second(5)
        with pytest.raises(QuotaExceededError) as exceeded:
            first(5)
        assert exceeded.value.limit == 10
        second(4)
        assert quota.used == 10
    assert quota.used == 0


def test_an_error_releases_the_reservation():
    quota = Quota(10)
    with pytest.raises(KeyError), quota.reservation() as take:
        take(3)
        raise KeyError
    assert quota.used == 0
