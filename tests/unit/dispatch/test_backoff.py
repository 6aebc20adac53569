"""Full jitter: anything from nothing to the ceiling, which doubles up to its own."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.dispatch.backoff import full_jitter


class Highest(Random):
    def uniform(self, a, b):
        assert a == 0.0
        return b


@pytest.mark.parametrize(("tries", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10_000, 60)])
def test_the_ceiling_doubles_until_the_longest(tries, seconds):
    assert full_jitter(tries, 60.0, Highest()) == seconds


@given(st.integers(1, 2000), st.floats(0.0, 3600.0), st.integers())
def test_never_longer_than_allowed_nor_negative(tries, longest, seed):
    assert 0.0 <= full_jitter(tries, longest, Random(seed)) <= min(longest, 2.0 ** min(tries - 1, 30))


def test_the_waits_of_calls_that_failed_together_spread_over_the_whole_range():
    random = Random(3)
    waits = [full_jitter(4, 60.0, random) for _ in range(4000)]
    quarters = [sum(2 * q <= wait < 2 * q + 2 for wait in waits) for q in range(4)]
    assert all(900 < count < 1100 for count in quarters)
