"""Half as many rows as for users show whether samples depend on each other."""

import pytest


@pytest.fixture(autouse=True)
def half_batch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiments.conformance.independence.MANY", 500)
