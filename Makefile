# Needs Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= python3
PYTHON2 ?= python3.13
BIN := .venv/bin
# several processes (see conftest.py), each with one thread; each runs whole files, whose tests share fixtures
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: quickstart check test test-oldest test-second lint benchmark release
quickstart: .venv/installed ## train, sample, score and report: is beta > 0 better than beta = 0?
	$(BIN)/python -m experiments beta --preset laptop

check: lint ## ruff, mypy and the tests that are not marked slow
	$(PYTEST) -m "not slow and not release"

test: .venv/installed-dev ## the whole test suite, but for what is marked release
	$(PYTEST) -m "not release"

# PyPI's PyTorch for Linux holds CUDA: 4 GB
test-oldest: .venv/installed-dev ## the quick tests with the oldest versions that pyproject.toml allows, in .venv-oldest
	$(BIN)/python -m uv venv --quiet --allow-existing --python $(BIN)/python .venv-oldest
	$(BIN)/python -m uv pip install --quiet --python .venv-oldest --resolution lowest-direct --editable '.[dev]'
	$(PYTEST:$(BIN)%=.venv-oldest/bin%) -m "not slow and not release"

test-second: .venv/installed-dev ## the quick tests with another Python, PYTHON2, in .venv-second
	$(BIN)/python -m uv venv --quiet --allow-existing --python $(PYTHON2) .venv-second
	$(BIN)/python -m uv pip install --quiet --python .venv-second --editable '.[dev]'
	$(PYTEST:$(BIN)%=.venv-second/bin%) -m "not slow and not release"

lint: .venv/installed-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: .venv/installed ## how fast sampling and training are, beside other people's loops
	$(BIN)/python -m experiments bench

release: test test-oldest ## test, build and upload to PyPI, for whoever has the rights; first set the version and date CHANGELOG
	$(BIN)/python -m pytest -m release
	rm -rf dist
	$(BIN)/python -m uv build --out-dir dist
	$(BIN)/python -m uv publish dist/*

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sigmabench needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# uv takes seconds where pip takes minutes; it keeps the PyTorch that pip installed above
.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet uv && $(BIN)/python -m uv pip install --quiet --compile-bytecode --editable '.[dev]' \
	|| $(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
