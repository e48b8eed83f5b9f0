"""The simulations of bench/simulate.py, whose tables are in docs: they run, and each row fits its header."""

from itertools import islice

import pytest

from bench.simulate import TABLES


@pytest.mark.slow(2)
@pytest.mark.parametrize("name", TABLES)
def test_a_simulation_makes_rows_that_fit_their_header(name: str):
    header, *rows = islice(TABLES[name](1), 3)
    assert len(rows) == 2 and {len(row) for row in rows} == {len(header)}
    assert all(isinstance(title, str) for title in header)
