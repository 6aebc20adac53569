# `make help` tells what there is. Everything is installed into .venv here; nothing else on the machine is changed, except
# that `make test` (and only as root, with apt-get) installs the servers that its tests want.
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Try it

.PHONY: demo
demo: $(VENV)/.run ## Two real jobs on a simulated model: a digest and a classification (ends in under a minute)
	@$(BIN)/python hack/demo.py

##@ Develop

.PHONY: test
test: $(VENV)/.dev ## Everything: installs what the tests need, then lint, then every test
	@hack/test-servers.sh
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest $(ARGS)

.PHONY: unit
unit: $(VENV)/.dev ## The fast tests: no sockets, no processes
	@$(BIN)/pytest tests/unit $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## Style, format, types, and which package may import which
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/.dev ## The figures, side by side with bare asyncio + httpx on the same simulated server
	@$(BIN)/python tests/benchmarks/run.py $(ARGS)

.PHONY: crds
crds: $(VENV)/.run ## Generate crds/ from the models
	@$(BIN)/python -m fanout.api.crd crds

.PHONY: venv
venv: $(VENV)/.dev ## Only install, for an editor or a shell: source .venv/bin/activate

.PHONY: clean
clean: ## Remove what make made here: .venv, build, caches, the examples' prepared inputs
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache examples/*/input

##@ Help

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z]+:.*## / {printf "  \033[36m%-8s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamps: installing again only when the list of dependencies, or how it is installed, changed.
$(VENV)/.run $(VENV)/.dev: $(VENV)/.%: pyproject.toml hack/venv.sh
	@hack/venv.sh $(VENV) $*
