# Everything runs in .venv, made here from pyproject.toml and constraints.txt.
# A fresh machine needs make and Python 3.11 or newer; name another one with PYTHON=...

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check bench messages clean

# Two threads on two shared cores can be far slower than one for tensors as small as these.
export OMP_NUM_THREADS ?= 1

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNS := demo
LOCALE := src/gradfuga/locale
# constraints.txt was made on 3.11, so that one is tried first
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.13 python3

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv and install gradfuga with everything into it

$(STAMP): pyproject.toml constraints.txt
	@for python in $(CANDIDATES); do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found=$$python; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "expected Python 3.11 or newer with its venv module, got none of: $(CANDIDATES)." \
	       "Install one (Debian: apt install python3 python3-venv), or write make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$($$found --version) ..."; \
	$$found -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,report]'
	@touch $@

demo: $(STAMP) ## train a sick network and its healthy twin on real digits, observed
	@rm -rf $(RUNS)/deep_sigmoid_digits $(RUNS)/deep_relu_digits
	@mkdir -p $(RUNS)
	$(BIN)/gradfuga run --report $(RUNS)/deep_sigmoid_digits.html --json $(RUNS)/deep_sigmoid_digits.json \
	  --out $(RUNS)/deep_sigmoid_digits examples/deep_sigmoid_digits.py
	@echo
	@echo "The same network with ReLU and He initialisation, for contrast:"
	$(BIN)/gradfuga run --report $(RUNS)/deep_relu_digits.html --json $(RUNS)/deep_relu_digits.json \
	  --out $(RUNS)/deep_relu_digits examples/deep_relu_digits.py
	@echo
	@echo "Reports that open offline:"
	@echo "  $(CURDIR)/$(RUNS)/deep_sigmoid_digits.html"
	@echo "  $(CURDIR)/$(RUNS)/deep_relu_digits.html"

check: $(STAMP) ## lint, formatting, strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check ## everything that CI runs: the checks, then the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(STAMP) ## measure the observer's cost (minutes; wants an idle machine; PEERS=--install adds other tools)
	$(BIN)/python -m benchmarks.cost $(ARGS)
	$(BIN)/python -m benchmarks.peers $(PEERS)

messages: $(STAMP) ## collect the texts anew, compile the Portuguese, fail if any is missing
	$(BIN)/pybabel -q extract --keyword _n:1,2 --ignore-dirs '.*' --omit-header --add-location file \
	  --output-file $(LOCALE)/gradfuga.pot src/gradfuga
	$(BIN)/pybabel -q update --domain gradfuga --ignore-obsolete --ignore-pot-creation-date \
	  --input-file $(LOCALE)/gradfuga.pot --output-dir $(LOCALE)
	$(BIN)/pybabel -q compile --domain gradfuga --directory $(LOCALE)
	$(BIN)/python -m pytest -q tests/test_locale.py

clean: ## remove .venv and everything that was made
	rm -rf $(VENV) $(RUNS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
