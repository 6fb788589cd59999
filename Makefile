# Everything from a bare clone, in an environment of its own (.venv):
#
#   make demo     blend real photographs, print where the picture went and how fast the kernels are
#   make test     run the tests
#   make test-all run every check there is, without samples
#   make check    format, lint, types, imports
#   make bench    the whole benchmark
#   make gpu      on a machine with a GPU and torch with CUDA, without network: build, test, compare, measure
#   make mutants  plant faults and list those that no test sees
#
# Variables: PYTHON (the interpreter to start from), VENV (where to install), TORCH (the torch requirement), PYDLX_CUDA
# (1 or 0: CUDA kernels for every architecture or for none; by default for the GPU that is here), WORKERS (processes
# that run tests), SAMPLE (of the parametrised op tests, one in so many runs on the emulated CUDA kernels).

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
WORKERS ?= 2
SAMPLE ?= 4

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --durations 20
SOURCES := $(shell find csrc pydlx benchmarks -name '*.py' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu*')

.PHONY: demo test test-all check format bench gpu mutants clean

demo: $(VENV)/.installed
	@echo "== Blending photographs and timing the kernels: less than a minute"
	$(BIN)/python examples/blend_photographs.py

test: $(VENV)/.installed
	@echo "== Everything, on the CPU kernels: about 3 minutes on two cores"
	$(PYTEST)
	@echo "== The CUDA kernels on the CPU, one in $(SAMPLE) cases of each test: about 1 minute, and 1 to compile them if they changed"
	$(PYTEST) tests/ops --kernels=emulated --sample $(SAMPLE) -m "not gradcheck"

test-all: $(VENV)/.installed
	.ci/run all

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')

bench: $(VENV)/.installed
	$(BIN)/pydlx bench

# Not in an environment of its own: it uses the torch that knows the GPU. PYTHON names the interpreter that has it.
gpu:
	$(PYTHON) tests/on_gpu/run.py

mutants: $(VENV)/.installed
	$(BIN)/python tests/mutants/planted.py
	$(BIN)/python tests/mutants/python_half.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The build uses the torch of this environment, so that nothing is downloaded twice.
$(VENV)/.installed: $(VENV)/bin/python setup.py pyproject.toml $(SOURCES)
	@echo "== Setting up $(VENV): $(TORCH) is downloaded, from 200 MB without CUDA to 3 GB with it"
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)" numpy ninja pybind11 "setuptools>=77" wheel
	@echo "== Downloading the tools, 300 MB, and compiling the kernels: about 2 minutes on two cores, and more for a GPU"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build .cache .pytest_cache *.egg-info pydlx/*.so demo_output gpu_report
