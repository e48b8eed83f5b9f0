"""Half as many rows as for users show whether samples depend on each other."""

import pytest


@pytest.fixture(autouse=True)
def half_batch(monkeypatch: pytest.MonkeyPatch):
    for module in ("independence", "policy.check"):
        monkeypatch.setattr(f"experiments.conformance.{module}.MANY", 500)
