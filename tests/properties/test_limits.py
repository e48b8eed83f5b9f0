"""What a report shows of any number of results: the extremes, both ends, and never more than it may."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from reports import limits


@given(st.lists(st.floats(allow_nan=False), max_size=60), st.integers(3, 30))
def test_the_extremes_are_shown(values: list[float], count: int) -> None:
    shown = limits.spread(pd.Series(values, dtype=float), count)
    assert shown == sorted(set(shown))
    assert len(shown) == min(len(values), count)
    if values:
        picked = [values[at] for at in shown]
        assert min(picked) == min(values)
        assert max(picked) == max(values)


@given(st.integers(0, 200), st.integers(2, 60))
def test_an_even_sample_has_both_ends(total: int, count: int) -> None:
    shown = limits.evenly(total, count)
    assert len(shown) == min(total, count)
    assert not total or (shown[0], shown[-1]) == (0, total - 1)
