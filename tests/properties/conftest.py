"""Property tests need hypothesis (extra `dev`); the same examples are tried each time, so that CI is steady."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("hypothesis") else ["test_*.py"]

if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("steady", derandomize=True, deadline=None, max_examples=60)
    settings.load_profile("steady")
