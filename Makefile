# Ottla. `make help` lists the commands. Two are enough: `make run` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Everything that outlives one clone (RocksDB's library, build products, test clients) is kept here.
CACHE ?= $(or $(OTTLA_CACHE),$(HOME)/.cache/ottla)
export CARGO_TARGET_DIR ?= $(CACHE)/target
BIN = $(CARGO_TARGET_DIR)/release/ottla
DATA ?= $(CURDIR)/data
VENV = $(CACHE)/clients
KAFKA ?= $(CACHE)/kafka-4.3.1

ROCKSDB = ROCKSDB_LIB_DIR="$$(deploy/rocksdb-cache.sh '$(CACHE)')" ROCKSDB_STATIC=1
CARGO = $(ROCKSDB) cargo

.PHONY: help deps build run test test-rust test-clients check fix fuzz sim bench bench-client bench-failover bench-instructions bench-flush bench-idle bench-growth test-tools compat faults test-hostile test-disk-full power-loss test-network soak kafka clients clean test-sim sim-broken sim-coverage

help: ## This list
	@echo "Ottla: a Kafka-protocol cluster in one binary"; echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

deps: ## Check for compiler, make and libclang; install them where that is allowed
	@deploy/preflight.sh
	@# Cargo names the crates of every clone alike: what another clone built here must not pass for this one's.
	@mkdir -p "$(CARGO_TARGET_DIR)"; if [ "$$(cat "$(CARGO_TARGET_DIR)/clone" 2>/dev/null)" != "$(CURDIR)" ]; then \
	  find crates proto -type f -exec touch {} + && echo "$(CURDIR)" > "$(CARGO_TARGET_DIR)/clone"; fi

build: deps ## Build the release binary
	@$(CARGO) build --release --locked -p ottla -p powerloss

run: build ## Build, start a three-node cluster and say how to use it (data in ./data)
	@"$(BIN)" demo --data-dir "$(DATA)" $(DEMO)

test: deps test-rust test-sim test-clients ## All tests that need no Java and no root

test-rust: deps
	@$(CARGO) test --workspace --exclude sim --locked

# Optimised: a simulated minute takes a second so, and half a minute otherwise.
test-sim: deps ## 100 seeds of the simulator, and the rules left out: the quick ones there, the others in the cores and adapters
	@SIM_SEEDS=$(or $(SIM_SEEDS),100) $(CARGO) test --profile sim --locked -p sim --features broken
	@$(CARGO) test --profile sim --locked -p sim -p replica -p logstore -p metadata -p raft \
		--features sim/broken,replica/broken,logstore/broken,metadata/broken,raft/broken \
		--test model --test crashes --test invariants --test three_nodes

test-clients: build clients
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/clients/run.py
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/compat/run.py --quick
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/faults/run.py --quick

check: deps ## Formatting, clippy, layering, licences; writes nothing
	@cargo fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(CARGO) test --locked -q -p xtask
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check licenses bans; \
	 else echo "skipped: cargo deny is not installed (cargo install --locked cargo-deny)"; fi

fix: ## Format and apply clippy's suggestions
	@cargo fmt --all
	@$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

MINUTES ?= 30
fuzz: deps ## Fuzz every target in turn for MINUTES=30 in all, or one: make fuzz TARGET=request-fetch
	@$(ROCKSDB) tests/fuzz/run.sh "$(CACHE)" "$(MINUTES)" "$(TARGET)"

SEEDS ?= 200
sim: deps ## Run SEEDS=200 simulated clusters, or replay one: make sim SEED=7
	@$(CARGO) run --profile sim --locked -p sim --features broken -- $(if $(SEED),--seed $(SEED) --trace,--seeds $(SEEDS))

BROKEN ?= all
sim-broken: deps ## Leave out one rule after the other, or BROKEN=name: within how many of SEEDS=200 that is noticed
	@$(CARGO) run --profile sim --locked -p sim --features broken -- --broken $(BROKEN) --seeds $(SEEDS)

sim-coverage: deps ## Line coverage of replica, logstore, metadata and api by SEEDS=40 of the simulator alone
	@$(ROCKSDB) tests/sim/coverage.sh $(if $(filter command line,$(origin SEEDS)),$(SEEDS),40)

clients: ## Foreign Python clients for the tests, kept outside the clone
	@deploy/test-clients.sh "$(VENV)"

kafka: ## Apache Kafka 4.3.1 from Maven Central: its tools, and a peer cluster (needs Java 17 and Maven)
	@tests/kafka/install.sh "$(KAFKA)"

test-tools: build kafka ## Apache Kafka's own command line tools against Ottla and against Apache Kafka
	@OTTLA="$(BIN)" KAFKA="$(KAFKA)" tests/kafka/dump_log.sh
	@OTTLA="$(BIN)" KAFKA="$(KAFKA)" tests/kafka/tools.sh

COMPAT ?= --write
compat: build clients ## Real clients x scenarios, written to docs/compatibility.md; COMPAT="--client kcat" for some
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/compat/run.py $(COMPAT)

faults: build clients ## The catalogue of faults on real processes, or one: make faults FAULT=ring (most want root; tests/faults)
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/faults/run.py $(FAULT)

test-disk-full: build clients ## A node on a small file system fills it and goes on when there is room (needs root)
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/clients/run.py disk_full

test-network: build clients ## Distant, silent and cut off machines, frozen disks (the latter in network namespaces: needs root)
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/clients/run.py wan network

LOSSES ?= 200
power-loss: build clients ## LOSSES=200 power losses of three nodes under load, nodes that do not sync, disks that fail (needs root and /dev/fuse)
	@OTTLA="$(BIN)" LOSSES="$(LOSSES)" "$(VENV)/bin/python" tests/clients/run.py power_loss power_loss_caught disk_faults

# The profile of this name builds into a directory of this name; brokers are of $(BIN) with either client.
CLIENT ?= bare
CLIENT_BIN = $(if $(filter librdkafka,$(CLIENT)),$(CARGO_TARGET_DIR)/bench-client/ottla,$(BIN))
bench: build clients $(if $(filter librdkafka,$(CLIENT)),bench-client) ## Throughput, CPU and latency beside Apache Kafka: the rows of docs/performance.md, or some: make bench ROW=bulk,sync CLIENT=librdkafka
	@OTTLA="$(BIN)" CLIENT="$(CLIENT)" OTTLA_CLIENT="$(CLIENT_BIN)" KAFKA="$(KAFKA)" "$(VENV)/bin/python" benches/rows.py

bench-client: deps ## The client of make bench CLIENT=librdkafka: `ottla bench` with librdkafka, which no server links
	@$(CARGO) build --profile bench-client --locked -p ottla --features librdkafka

bench-failover: build clients ## kill -9 of the leading broker, 10 times, beside Apache Kafka where Java is there
	@OTTLA="$(BIN)" KAFKA="$(KAFKA)" "$(VENV)/bin/python" benches/failover.py

bench-instructions: build clients ## Instructions of one node for a batch that is produced, and for one that is fetched (needs valgrind)
	@OTTLA="$(BIN)" "$(VENV)/bin/python" benches/instructions.py

bench-idle: build clients ## CPU and memory of an idle cluster, beside Apache Kafka where Java is there
	@OTTLA="$(BIN)" KAFKA="$(KAFKA)" "$(VENV)/bin/python" benches/idle.py

GB ?= 1,20
GROWTH ?= $(CACHE)/growth
bench-growth: deps ## Append, tail reads and restart at 1 and 20 GiB in one log (needs room: GROWTH=directory)
	@mkdir -p "$(GROWTH)" && OTTLA_BENCH_DIR="$(GROWTH)" OTTLA_BENCH_GB="$(GB)" $(CARGO) test --release --locked -p logstore --test growth -- --ignored --nocapture

bench-flush: deps ## Rounds of the flusher over 1 to 1,000 files with new records, through the journal and file by file
	@mkdir -p "$(GROWTH)" && OTTLA_BENCH_DIR="$(GROWTH)" $(CARGO) test --release --locked -p logstore --test flush_rounds -- --ignored --nocapture

soak: build clients ## Ten minutes of saturating load: no election, no fencing
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/clients/soak.py

test-hostile: build clients ## Attacks on a cluster: what a normal client, memory and logs notice of them
	@OTTLA="$(BIN)" "$(VENV)/bin/python" tests/clients/hostile.py

clean: ## Remove the build products of this clone's cache
	@cargo clean
