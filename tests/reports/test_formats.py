"""Numbers as text."""

import math

import pytest

from reports.formats import cell, interval, listed, metric_name, number, plural, times


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.39153, None, "0.392"),
        (512000, 0, "512,000"),
        (1487.3, None, "1,487"),
        (999.6, None, "1,000"),
        (-1.5, 2, "−1.50"),
        (-0.001, 2, "0.00"),
        (float("nan"), 2, ""),
        (-1.5e16, None, "−1.5e16"),
        (1e100, 2, "1e100"),
        (math.inf, 1, "∞"),
        (-math.inf, 1, "−∞"),
    ],
)
def test_number(value: float, digits: int | None, text: str) -> None:
    assert number(value, digits) == text


def test_cells_follow_their_column_or_the_metric() -> None:
    assert cell("kd", 0.01234) == "12.34"
    assert cell("value_a", 0.01234, "kd") == "12.34"
    assert cell("value_a", 1.5, "fd") == "1.50"
    assert cell("n_samples", 500.0, "kd") == "500"
    assert cell("final_denoise", True) == "yes"
    assert cell("final_denoise", False) == "no"
    assert cell("kd", float("nan")) == ""


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((-0.0041, -0.0046, -0.0036), "−4.10 (−4.60 to −3.60)"),
        ((-0.041, -0.061, -0.021), "−41 (−61 to −21)"),
        ((0.001, 0.001, 0.001), "1.00 (1.00 to 1.00)"),
        ((-0.0041, float("nan"), float("nan")), "−4.10"),
        ((float("nan"),) * 3, ""),
    ],
    ids=["two digits of the half width", "wide", "no width", "no interval", "no difference"],
)
def test_interval_is_rounded_to_its_width(values: tuple[float, float, float], text: str) -> None:
    assert interval("kd", *values) == text


def test_fd_and_kd_are_fid_and_kid_only_in_inception_features() -> None:
    assert metric_name("fd", "inception-v3-compat", long=True) == "FID"
    assert metric_name("kd", "inception-v3-compat") == "KID ×1000"
    assert metric_name("fd", "digits", long=True) == "FD (digits features)"
    assert metric_name("kd", "digits") == "KD ×1000"


def test_words() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert plural(1, "network") == "1 network"
    assert plural(2, "network") == "2 networks"
    assert times(2.349) == "2.3"
    assert times(23.49) == "23"
