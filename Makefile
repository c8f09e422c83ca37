# Every target works in a fresh clone: `setup` makes what is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Fetched compilers come after what the user has.
export PATH := $(PATH):$(CURDIR)/.toolchains/go/go/bin:$(CURDIR)/.toolchains/rust/cargo/bin
STATICCHECK := v0.8.2
PYTHON_CODE := bakeoff reports stub_payment locustfiles benchmarks tests

.PHONY: setup compare ui footprint doctor test lint types check-services fmt contract soak bench images pin-images \
	proto lock clean

setup: $(VENV)/.locked
	@$(BIN)/python -m bakeoff.toolchains

$(VENV)/.locked: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "bakeoff needs Python 3.11 or newer: make setup PYTHON=python3.12" >&2; exit 2; }
	@echo "making $(VENV) with the locked dependencies"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

compare: setup
	@$(BIN)/bakeoff compare $(ARGS)

ui: setup
	@$(BIN)/bakeoff ui $(ARGS)

footprint: setup
	@$(BIN)/bakeoff footprint $(ARGS)

doctor: setup
	@$(BIN)/bakeoff doctor $(ARGS)

# The truth tests run by themselves: they hold the generator against a server, a core each.
TRUTH := tests/integration/test_truth.py
# Half of their time the tests wait, so two cores have work for four. In the order of collection:
# the longest come first.
PARALLEL := -n 4 --no-loadscope-reorder
# Counts are a twentieth of a full run's; BAKEOFF_SCALE=1 has them all, as `make soak` does.
test: setup
	$(BIN)/pytest -q $(PARALLEL) --ignore=$(TRUTH) $(ARGS)
	$(BIN)/pytest -q $(TRUTH)

# The contract's suite alone, against both services; `bakeoff contract URL` is for one elsewhere.
contract: setup
	$(BIN)/pytest -q $(PARALLEL) tests/contract $(ARGS)

# Whole counts, one test after the other, and a summary to keep in results/.
SOAKED := $(TRUTH) tests/integration/test_swarm_centre.py tests/contract tests/model tests/money tests/running tests/stub
SOAK := BAKEOFF_SCALE=1 $(BIN)/python -m pytest -v -p tests.soak --timeout 14400
soak: BEGUN := $(shell date -u +%Y-%m-%dT%H-%M-%S)
soak: setup
	$(SOAK) --summary results/soak-$(BEGUN).md $(SOAKED) $(ARGS)
	BAKEOFF_STUB_ENGINE=grpcio $(SOAK) --summary results/soak-$(BEGUN)-grpcio.md tests/contract

proto: setup
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
		protos/payment/v1/payment.proto
	GOBIN=$(CURDIR)/.toolchains/proto go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(CURDIR)/.toolchains/proto go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	PATH=$(CURDIR)/.toolchains/proto:$$PATH $(BIN)/python -m grpc_tools.protoc -I protos \
		--go_out=services/go --go_opt=module=bakeoff/billing \
		--go-grpc_out=services/go --go-grpc_opt=module=bakeoff/billing payment/v1/payment.proto

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint services/*/Containerfile stub_payment/Containerfile
	$(BIN)/python -m bakeoff.images check
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml

types: setup
	$(BIN)/mypy $(PYTHON_CODE)

# What each service's own language says about its code.
check-services: setup
	@cd services/go && test -z "$$(gofmt -l .)" && go vet ./... && \
		go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) ./...
	@cd services/rust && cargo fmt --check && \
		cargo clippy --quiet --locked --all-targets -- -D warnings

fmt: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

# Builds what can be built, and writes the sizes to results/images.json.
images: setup
	@$(BIN)/python -m bakeoff.images build $(ARGS)

# Writes digests behind the tags of the bases, as the registry says.
pin-images: setup
	@$(BIN)/python -m bakeoff.images pin

# The secrets of compose.yaml, drawn once.
.env:
	@umask 077 && $(PYTHON) -c 'import secrets; print("POSTGRES_PASSWORD=" + secrets.token_hex(24)); \
		print("AUTH_JWT_SECRET=" + secrets.token_hex(32))' > $@

lock: setup
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --all-extras pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header \
		--no-annotate stub_payment/requirements.in --constraint requirements.lock \
		-o stub_payment/requirements.lock

clean:
	rm -rf $(VENV) .toolchains .footprint services/go/bin services/rust/target
