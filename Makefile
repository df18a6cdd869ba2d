PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup test gpu benchmark docs interop lint clean clean-cache

# Makes .venv in the checkout and installs the project into it, editable.
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

# All tests, the slow statistical ones included.
test: setup
	$(BIN)/python -m pytest

# On an NVIDIA GPU: its tests, its speed, and the source's tables by the exact law.
gpu: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[cuda]"
	$(BIN)/python -m pytest -m cuda -s
	$(BIN)/oncogym speed emt6ro --device cuda --seconds 1
	$(BIN)/oncogym reproduce emt6ro --device cuda --fidelity exact --runs 1000

# The main job: protocols, optimiser and a freshly trained PPO on the same held-out patients.
benchmark: setup
	$(BIN)/oncogym benchmark --preset quick

# The pages of the environments; RESULTS=results/benchmark-full renews their tables and figures.
docs: setup
	$(BIN)/oncogym envs --write docs/environments $(if $(RESULTS),--results $(RESULTS))

# The examples with other libraries, RLlib in an environment of its own, and the README's table.
interop:
	$(PYTHON) -m venv build/interop
	build/interop/bin/python -m pip install --quiet -c constraints.txt -r examples/requirements.txt
	build/interop/bin/python examples/run_all.py
	$(PYTHON) -m venv build/rllib
	build/rllib/bin/python -m pip install --quiet -c constraints.txt \
	  -r examples/requirements-rllib.txt
	build/rllib/bin/python examples/run_all.py --only rllib_ppo
	build/rllib/bin/python examples/run_all.py --table

# Style on the sources, types on the installed package.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types
	$(BIN)/python -m pip install --quiet --no-deps --target build/types .
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p oncogym

# Compiled kernels; numba does not notice changes in functions inlined from other files.
clean-cache:
	find envs agents -name '*.nb[ic]' -delete

clean:
	rm -rf $(VENV) build dist *.egg-info
