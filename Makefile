# Every target does its own set-up: a fresh machine needs Python 3.11 or newer, make, and a network to install from.
# The first target that runs makes .venv and installs into it what it needs, at the versions of requirements.lock;
# later ones find it there. The stamps below say what is installed, and are remade when a requirement changes.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3 python,$(shell command -v $(name))))
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# First what others wrote, each file of it checked by its hash; then the project itself, which needs nothing more.
# Bytecode is compiled now: where PYTHONDONTWRITEBYTECODE is set, every start would otherwise compile torch again.
INSTALL = $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes --constraint requirements.lock \
	--requirements pyproject.toml
INSTALL_SELF = $(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .

export UV_HTTP_TIMEOUT ?= 300
export UV_HTTP_RETRIES ?= 8

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help sample demo test test-security lint format notebooks bench docs space lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

sample: $(VENV)/installed  ## Write samples.png: 64 images from the bundled Fashion-MNIST model
	$(BIN)/spikevae sample fashion-mnist --count 64 --seed 0 --out samples.png

demo: $(VENV)/installed-app  ## Serve the web page on http://127.0.0.1:7860
	$(BIN)/spikevae demo

test: lint  ## Lint, then run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-security: $(VENV)/installed-dev  ## Attack the demo for some minutes; print what was measured
	$(BIN)/python -m pytest -m security_slow -s tests/test_security_slow.py

lint: $(VENV)/installed-dev  ## Check style, types and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

format: $(VENV)/installed-dev  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(VENV)/installed-dev  ## Run every notebook (NBMAKE=--overwrite saves what they print and draw)
	PYTHONWARNINGS="ignore:IProgress not found" $(BIN)/python -m pytest --nbmake --nbmake-timeout=1800 $(NBMAKE) notebooks

bench: $(VENV)/installed-dev  ## Measure speed and memory
	$(BIN)/python -m benchmarks

docs: $(VENV)/installed-dev  ## Build the documentation into build/site; check links, spelling and reading ease
	$(BIN)/python docs/check.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

space: $(BIN)/uv  ## Fill build/space with a Hugging Face Space of the page (app/space/README.md says how to send it)
	rm -rf build/space
	$(BIN)/uv build --wheel --python $(BIN)/python --out-dir build/space
	cp app/space/README.md app/space/app.py app/space/requirements.txt build/space
	rm -f build/space/.gitignore

lock: $(BIN)/uv  ## Resolve requirements.lock anew (UPGRADE=--upgrade takes the newest versions)
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --all-extras --python-version 3.11 \
		--no-emit-index-url --generate-hashes --custom-compile-command "make lock" --output-file requirements.lock $(UPGRADE)
	{ echo '# Direct dependencies at the versions of requirements.lock, PyTorch for CPUs; written by `make lock`.'; \
	  echo '--extra-index-url https://download.pytorch.org/whl/cpu'; \
	  $(BIN)/uv pip compile pyproject.toml --quiet --extra app --no-deps --no-header --no-annotate --python-version 3.11 \
		--constraint requirements.lock --no-emit-index-url; } > app/space/requirements.txt

clean:  ## Remove all that make has made, .venv included
	rm -rf $(VENV) build dist samples.png .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.11 or newer, or name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/installed: pyproject.toml requirements.lock | $(BIN)/uv
	$(INSTALL)
	$(INSTALL_SELF)
	@touch $@

$(VENV)/installed-app: pyproject.toml requirements.lock | $(BIN)/uv
	$(INSTALL) --extra app
	$(INSTALL_SELF)
	@touch $@ $(VENV)/installed

$(VENV)/installed-dev: pyproject.toml requirements.lock | $(BIN)/uv
	$(INSTALL) --extra app --extra export --extra notebooks --extra docs --extra dev
	$(INSTALL_SELF)
	@touch $@ $(VENV)/installed $(VENV)/installed-app
