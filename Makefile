# All a person must know: `make help`. Tools that are missing are installed by scripts/needs, which says what it does.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
SOAK_TARGET := $(or $(CARGO_TARGET_DIR),target)/soak
PURE := --no-default-features --features pure-rust
BINARY := $(or $(CARGO_TARGET_DIR),target)/release/rvpn
NEEDS := scripts/needs

.PHONY: help run test check build install uninstall pages deb packaging
.PHONY: fmt clippy unit docs deny netns kernel kernel-short interop fuzz asan miri sim soak aead dudect
.PHONY: bench bench-quick bench-flood callgrind pictures

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

run: ## see a tunnel work between two network namespaces of this machine, then tidy up
	@$(NEEDS) run
	@$(MAKE) --no-print-directory -s build
	@IMPL=$(abspath $(BINARY)) tests/netns/demo.sh

test: ## everything a change must pass
	@$(NEEDS) test
	@STRICT=1 $(MAKE) --no-print-directory fmt clippy unit docs deny build packaging netns kernel-short callgrind

check: fmt clippy ## the quick part of it: format, lints, unit tests
	$(CARGO) test --quiet --workspace

netns: build ## the tests in network namespaces; CASE=basic runs one
	$(CARGO) build --release --locked --example flood
	@IMPL="$${IMPL:-$(abspath $(BINARY))}" tests/netns/run $(CASE)

kernel: build ## against the kernel's own driver, in an emulated machine; CASE=roaming runs one; minutes
	@$(NEEDS) kernel
	$(CARGO) build --release --locked --example flood
	@IMPL="$(abspath $(BINARY))" tests/kernel/run $(CASE)

kernel-short: build
	@$(NEEDS) kernel
	@IMPL="$(abspath $(BINARY))" tests/kernel/run short

interop: build ## every implementation against every other, in docs/interop.md; half an hour; PEERS="rvpn gotatun" those
	@$(NEEDS) interop
	@IMPL="$(abspath $(BINARY))" tests/interop/matrix $(or $(PEERS),--docs)

BENCH = $(if $(FIGURES),--figures $(FIGURES)) $(if $(IMPLS),--impls $(IMPLS)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	$(if $(SECONDS_EACH),--seconds $(SECONDS_EACH))

bench: examples build ## measure it beside its peers: FIGURES=tcp1,ping IMPLS=rvpn,null-aead ROUNDS=3
	@$(NEEDS) bench
	@tests/bench/bench.py $(if $(FIGURES)$(IMPLS),,--docs) $(BENCH)

bench-quick: examples build ## the figures of every day, in three minutes
	@$(NEEDS) bench
	@tests/bench/bench.py --quick $(BENCH)

bench-flood: examples build ## what a flood of initiations costs established peers; docs/reliability.md
	@$(NEEDS) test
	@tests/bench/flood.py --docs $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(IMPLS),--impls $(IMPLS))

sim: ## 10,000 virtual hours of bad network, clocks and luck, in five minutes: HOURS=100
	RVPN_SIM_HOURS=$(or $(HOURS),10000) $(CARGO) test --profile simulation --quiet --locked --test simulation seeds -- --nocapture

soak: ## an hour at line rate, new keys every six seconds, trouble every minute: MINUTES=60
	@$(NEEDS) soak
	@tests/soak/test_losses.py 2>&1 | tail -n 1
	CARGO_TARGET_DIR=$(SOAK_TARGET) RUSTFLAGS="$${RUSTFLAGS:-} --cfg fast_timers" \
		$(CARGO) build --quiet --release --locked --bin rvpn
	@IMPL=$(abspath $(SOAK_TARGET))/release/rvpn tests/soak/soak.py --minutes $(or $(MINUTES),60) \
		--samples $(abspath $(SOAK_TARGET))/samples.csv $(if $(DOCS),--docs docs/reliability.md)

callgrind: examples ## instructions per packet against their budget; RECORD=1 makes this the budget
	@$(NEEDS) callgrind
	@tests/bench/callgrind.py $(if $(RECORD),--record)

pictures: build ## draw `rvpn top` as docs/top-80x24.svg and docs/top-160x50.svg, with three peers and traffic
	@$(NEEDS) pictures
	@IMPL=$(abspath $(BINARY)) tests/pictures/top.sh

# What `install` makes, below $(DESTDIR)$(PREFIX), and `uninstall` removes. The shells look in these places on their own.
SHARE := $(DESTDIR)$(PREFIX)/share
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system
INSTALLED := $(DESTDIR)$(PREFIX)/bin/rvpn $(SHARE)/man/man8/rvpn.8 $(SHARE)/man/man5/rvpn.conf.5 \
	$(SHARE)/bash-completion/completions/rvpn $(SHARE)/zsh/site-functions/_rvpn \
	$(SHARE)/fish/vendor_completions.d/rvpn.fish $(UNITS)/rvpn@.service $(UNITS)/rvpn@.socket
PAGES := target/pages

install: pages ## program, manual, completions and systemd unit to PREFIX (/usr/local), below DESTDIR
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/rvpn
	install -D -m 644 -t $(SHARE)/man/man8 $(PAGES)/rvpn.8
	install -D -m 644 -t $(SHARE)/man/man5 $(PAGES)/rvpn.conf.5
	install -D -m 644 $(PAGES)/rvpn.bash $(SHARE)/bash-completion/completions/rvpn
	install -D -m 644 -t $(SHARE)/zsh/site-functions $(PAGES)/_rvpn
	install -D -m 644 -t $(SHARE)/fish/vendor_completions.d $(PAGES)/rvpn.fish
	install -D -m 644 -t $(UNITS) packaging/systemd/rvpn@.service packaging/systemd/rvpn@.socket
	sed -i 's|/usr/bin/rvpn|$(PREFIX)/bin/rvpn|' $(UNITS)/rvpn@.service
	mkdir -p $(SHARE)/doc/rvpn
	cp -r packaging/examples $(SHARE)/doc/rvpn/

uninstall: ## the opposite
	rm -f $(INSTALLED)
	rm -rf $(SHARE)/doc/rvpn

pages: build ## manual pages and completions, in target/pages
	@mkdir -p $(PAGES)
	@$(BINARY) manual rvpn.8 > $(PAGES)/rvpn.8
	@$(BINARY) manual rvpn.conf.5 > $(PAGES)/rvpn.conf.5
	@$(BINARY) completions bash > $(PAGES)/rvpn.bash
	@$(BINARY) completions zsh > $(PAGES)/_rvpn
	@$(BINARY) completions fish > $(PAGES)/rvpn.fish

deb: pages ## a Debian package, in target/debian
	@$(NEEDS) deb
	@scripts/deb

packaging: pages ## do pages, completions, units and package hold what they promise?
	@$(NEEDS) packaging
	@tests/packaging/run

build: ## the release binary
	$(CARGO) build --release --locked --bin rvpn

.PHONY: examples
examples:
	$(CARGO) build --release --locked --examples

fmt: ## is everything formatted?
	$(CARGO) fmt --all --check

clippy: ## lints, with either set of primitives
	$(CARGO) clippy --quiet --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --quiet --locked --workspace --all-targets $(PURE) -- -D warnings

unit: ## unit and integration tests, with either set of primitives
	$(CARGO) test --quiet --locked --workspace
	$(CARGO) test --quiet --locked --workspace $(PURE)

aead: ## AEAD_BATCHES (10 million) random batches against two libraries; minutes
	AEAD_BATCHES=$${AEAD_BATCHES:-10000000} AEAD_SEED=$${AEAD_SEED:-$$RANDOM} \
		$(CARGO) test --release --locked --lib aead::tests::random_batches -- --nocapture

dudect: ## does the time of sealing and opening depend on secrets? statistics, a minute or two
	$(CARGO) bench --locked --bench dudect

fuzz: ## look for what breaks a promise: T=datagrams SECONDS=600; without T all, a line each; KEEP=1 keeps what it met
	@$(NEEDS) fuzz
	@CARGO="$(CARGO)" SECONDS_EACH="$(SECONDS)" KEEP="$(KEEP)" scripts/fuzz $(T)

# RUSTC_BOOTSTRAP lets the stable compiler do what is for nightly ones: a sanitizer is no part of the language.
ASAN = RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CARGO_PROFILE_DEV_DEBUG=line-tables-only $(CARGO) test --quiet \
	--locked $(PURE) --target $(shell rustc -vV | sed -n 's/^host: //p') --target-dir target/asan

asan: ## system calls, the sealing of many packets and the corpora of fuzzing under AddressSanitizer
	$(ASAN) --lib -- aead:: platform::linux::
	$(ASAN) --test aead_guard --test fuzz_corpus --test linux

miri: ## the bytes that are read by hand, under an interpreter that sees undefined behaviour, where there is one
	@scripts/miri

docs: ## the documentation builds without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --workspace --no-deps --document-private-items

deny: ## licences, advisories and sources of the dependencies
	@$(NEEDS) deny
