# The two commands are `make matrix` and `make test`; each makes the environment if need be.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: help install data matrix test system perf check docs format lock clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(READY)  ## create the environment in .venv

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

data: $(READY)  ## materialise the datasets
	$(BIN)/mlmatrix data materialise

matrix: data  ## train and judge the whole matrix; ARGS go to pytest
	$(BIN)/pytest -m slow_matrix -n 2 $(ARGS)

test: $(READY)  ## run the fast tracks
	$(BIN)/pytest -m "unit or contract or smoke" -n 2 --dist loadscope $(ARGS)

system: $(READY)  ## run whole sessions beside a cluster, a browser and other plugins
	$(BIN)/pytest -m system -n 2 --dist loadscope $(ARGS)

perf: $(READY)  ## hold trainings to their budgets, and keep the timings as a run
	@status=0; $(BIN)/pytest -m perf --benchmark-json=reports/perf.json $(ARGS) || status=$$?; \
	if [ -s reports/perf.json ]; then $(BIN)/mlmatrix import reports/perf.json; fi; exit $$status

check: $(READY)  ## lint, types, floors, file lengths
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@long=$$(git ls-files '*.py' '*.js' '*.css' '*.html' | xargs wc -l | awk '$$2 != "total" && $$1 > 400'); \
	if [ -n "$$long" ]; then echo "over 400 lines:"; echo "$$long"; exit 1; fi; echo "no file over 400 lines"

docs: $(READY)  ## build the documentation into site/, strictly
	$(BIN)/python -c "import material" 2> /dev/null || \
		$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo site/index.html

format: $(READY)  ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## pin the newest versions that fit together into constraints.txt
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check 'torch==2.13.0' -e '.[all,docs]'
	$(VENV)-lock/bin/pip check
	( echo "# Made by \`make lock\`: one set of versions that fit together."; \
	  $(VENV)-lock/bin/pip list --format=freeze --exclude-editable \
	  | grep -v -E '^(pip|setuptools|wheel|pytest-mlmatrix)==' | sed -E 's/\+[a-z0-9.]+$$//' ) > constraints.txt
	rm -rf $(VENV)-lock

clean:  ## remove what was built, not the reports
	rm -rf $(VENV) $(VENV)-lock build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis ml/data/tables
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
