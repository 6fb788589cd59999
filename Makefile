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
# (1 or 0: build the CUDA library; by default where there is an NVIDIA driver), WORKERS (processes that run tests),
# SAMPLE (of the parametrised op tests, one in so many runs on the emulated CUDA kernels).

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
WORKERS ?= 2
SAMPLE ?= 4
PYDLX_CUDA ?= $(if $(shell command -v nvidia-smi),1,0)
export PYDLX_CUDA

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --durations 20
SOURCES := $(shell find csrc pydlx benchmarks -name '*.py' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu*')

.PHONY: demo test test-all check format bench gpu mutants clean

demo: $(VENV)/.installed
	$(BIN)/python examples/blend_photographs.py

test: $(VENV)/.installed
	@echo "== Everything, on the CPU kernels"
	$(PYTEST)
	@echo "== The CUDA kernels on the CPU, one in $(SAMPLE) cases of each test; they are compiled first if they changed"
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
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)" numpy ninja pybind11 "setuptools>=77" wheel
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build .cache .pytest_cache *.egg-info pydlx/*.so demo_output gpu_report
