# Every target sets up what it needs first; `tools/setup.py` says what it does and does it once.
PYTHON ?= python3
BIN := .venv/bin
REPORT ?=
SECONDS ?= 10
WORKERS ?= 2
export VIRTUAL_ENV := $(CURDIR)/.venv

.PHONY: help setup demo ui wheel test-ui browser clients test test-rust test-python test-long check bench-core bench-proofs bench-killpoints bench-product bench-stoq bench-trustchain fuzz status lock cometbft clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make the virtual environment, the sandbox program and the extension, where missing
	@$(PYTHON) tools/setup.py

demo: setup ## Run the main job: three nodes, four proofs, leases, memory, jobs, settlement
	@$(BIN)/hm demo --data demo-data $(DEMO_ARGS)

ui: ## Build the dashboard into src/hypermesh/_ui (needs npm; setup does it where npm is there)
	@$(PYTHON) tools/setup.py dashboard

wheel: setup ui ## Build the wheel, with the dashboard inside, into dist/
	$(BIN)/maturin build --release --locked --quiet --out dist

test-ui: setup ## Test the dashboard's pure parts (needs npm; the pages are tested in tests/web)
	cd web && npm run --silent check && npm test --silent

browser:
	@$(PYTHON) tools/setup.py browser

clients:
	@$(PYTHON) tools/setup.py clients

test: setup browser clients test-rust test-python ## Run the tests

test-rust:
	cargo test --release --quiet --workspace --exclude hm-native

test-python:
	$(BIN)/python tools/tests.py $(WORKERS)

test-long: setup browser clients cometbft ## Run the long suites (kill points, the BFT engine)
	$(BIN)/pytest -q -m long --timeout=3600

check: setup ## Formatting, lints, types and import contracts
	$(BIN)/ruff format --check src tests tools benches examples fuzz
	$(BIN)/ruff check src tests tools benches examples fuzz
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	cargo fmt --all --check
	cargo clippy --release --quiet --workspace --all-targets -- -D warnings
	$(BIN)/python tools/openapi.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/status.py --check
	$(BIN)/python tools/claims.py --check
	$(BIN)/python tools/performance.py --check

bench-core: setup ## Measure the main job; writes benches/results/core.json (or REPORT=FILE)
	$(BIN)/python benches/core.py $(if $(REPORT),--report $(REPORT))

bench-proofs: setup ## Measure the four proofs; writes benches/results/proofs.json (or REPORT=FILE)
	$(BIN)/python benches/proofs.py $(if $(REPORT),--report $(REPORT))

bench-killpoints: setup ## Cut the power at every instant; writes benches/results/killpoints.json (or REPORT=FILE)
	$(BIN)/python -m benches.killpoints $(if $(REPORT),--report $(REPORT))

bench-product: setup ui ## Measure the product, 20 minutes of soak among it; writes benches/results/product*.json (or REPORT=FILE)
	$(BIN)/python benches/product.py $(if $(REPORT),--report $(REPORT))

bench-stoq: setup ## Measure STOQ beside other transports (needs root); writes benches/results/stoq.json (or REPORT=FILE)
	cargo build --release --quiet --locked --workspace --exclude hm-native --bins
	$(BIN)/python benches/stoq.py $(if $(REPORT),--report $(REPORT))

bench-trustchain: setup ## Measure TrustChain; writes benches/results/trustchain.json (or REPORT=FILE)
	cargo build --release --quiet --locked -p hm-dns --example quic_load
	$(BIN)/python benches/trustchain.py $(if $(REPORT),--report $(REPORT))

fuzz: setup ## Give every decoder altered inputs, SECONDS each (10); REPORT=FILE keeps the result
	$(BIN)/python -m fuzz.run --seconds $(SECONDS) $(if $(REPORT),--report $(REPORT))

status: setup ## Write STATUS.md, docs/claims.md, docs/performance.md and docs/reference anew
	$(BIN)/python tools/status.py
	$(BIN)/python tools/claims.py
	$(BIN)/python tools/performance.py
	$(BIN)/python tools/reference.py

lock: setup ## Resolve the Python dependencies anew, with hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --output-file requirements.txt

cometbft: setup ## Build the pinned BFT engine into .tools/
	@$(BIN)/python tools/cometbft.py

clean: ## Remove what was built (demo data stays)
	rm -rf .venv .tools target dist
