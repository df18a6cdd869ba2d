PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Test processes side by side; each loads about 1 GB.
WORKERS ?= 2
# Threads that wait for work must not spin beside another process.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup test check snippets lowest gpu benchmark docs site notebooks interop interop-short sbx lint dist clean

# Makes .venv in the checkout and installs the project into it, editable.
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

# All tests, the slow statistical ones included; says why any is skipped.
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -rs

# The commands that README and docs print, shortened as tests/test_snippets.py says.
snippets: setup
	$(BIN)/python -m pytest --snippets tests/test_snippets.py tests/test_docs.py

# Before a commit: style, types, and the first case of each test that is not slow.
check: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -rs --quick

# The quick tests with the lowest versions that pyproject.toml allows, in an environment of its own.
# It holds gigabytes: only the newest PyTorch comes without CUDA.
lowest:
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet uv
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python \
	  --resolution lowest-direct -e ".[dev]"
	build/lowest/bin/python -m pytest -n $(WORKERS) --dist worksteal -rs --quick

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

# The documentation site in build/site; a warning, a dead link among them, is an error.
site: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	rm -rf build/api build/site
	$(BIN)/python -m pip install --quiet --no-deps --target build/api .
	$(BIN)/python -m mkdocs build --quiet --strict

# The notebooks, one after the other, as scripts; minutes.
notebooks: setup
	for one in notebooks/*.py; do \
	  echo "$$one"; MPLBACKEND=agg $(BIN)/python "$$one" || exit 1; \
	done

# The examples with other libraries, RLlib in an environment of its own, and the table of their page.
interop:
	$(PYTHON) -m venv build/interop
	build/interop/bin/python -m pip install --quiet -c constraints.txt -r examples/requirements.txt
	build/interop/bin/python examples/run_all.py
	$(PYTHON) -m venv build/rllib
	build/rllib/bin/python -m pip install --quiet -c constraints.txt \
	  -r examples/requirements-rllib.txt
	build/rllib/bin/python examples/run_all.py --only rllib_ppo
	build/rllib/bin/python examples/run_all.py --table

# An environment $(1) that has what .venv has, and on top of it the requirements $(2).
define layer
$(PYTHON) -m venv $(1)
$(BIN)/python -c "import site; print(site.getsitepackages()[0])" \
  > $$($(1)/bin/python -c "import site; print(site.getsitepackages()[0])")/base.pth
$(1)/bin/python -m pip install --quiet -c constraints.txt -r $(2)
endef

# What `make test` skips because its libraries pin others: short runs of these examples.
interop-short: setup
	$(call layer,build/layer,examples/requirements.txt)
	build/layer/bin/python -m pytest -rs tests/test_interop.py tests/test_flat_info.py \
	  -k "torchrl or tianshou or minari"
	$(call layer,build/layer-rllib,examples/requirements-rllib.txt)
	build/layer-rllib/bin/python -m pytest -rs tests/test_interop.py -k rllib

# Training with SBX, which needs JAX: what "oncogym[sbx]" brings on top of .venv.
sbx: setup
	$(call layer,build/layer-sbx,examples/requirements-sbx.txt)
	build/layer-sbx/bin/python -m pytest -rs tests/test_more_algorithms.py -k "sbx or jax"

# Style on the sources, types on the installed package.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types
	$(BIN)/python -m pip install --quiet --no-deps --target build/types .
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml \
	  --cache-dir ../../.mypy_cache -p oncogym

# Wheel and source archive in dist/, each tried in a fresh environment outside the checkout.
dist: setup
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python .ci/try_distributions.py dist

clean:
	rm -rf $(VENV) build dist *.egg-info
	find envs agents -name '*.nb[ic]' -delete
