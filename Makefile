# make dev      fixtures/tiles under `cargo stario watch`
# make test     all tests that this machine can run; what is skipped is named at the end
# make swaps    a hundred swaps of each kind of server under load, and what was counted
# make adopt    fifty swaps of each framework's own example under load, and what was counted
# make bench    from a save to the new answer, under other runners and ours: a quarter of an hour, more the
#               first time. RUN='stario cargo-watch swap': only these runners, these figures
# make bench-pure  the parts that touch nothing: filter, globs, supervisor
# make size     what a tree of 100,000 files and a workspace of 200 packages cost, beside a small one
# make install  cargo-stario into cargo's bin folder

CARGO ?= cargo
APP := fixtures/tiles

.PHONY: dev test swaps adopt bench bench-pure size lint install

dev:
	$(CARGO) build --quiet
	@echo
	@echo '  Once it says "Serving", open the address in two windows and paint. Then edit PICTURE in'
	@echo '  $(APP)/src/board.rs, TITLE in src/page.rs or a colour in src/style.css, save,'
	@echo '  and look at both windows. Ctrl-C ends it.'
	@echo
	@cd $(APP) && PATH="$(CURDIR)/target/debug:$$PATH" $(CARGO) stario watch main:bootstrap

# cargo-nextest runs them side by side where it is installed; cargo test does the same work.
test:
	@mkdir -p target && rm -f target/skipped
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		STARIO_SKIPPED="$(CURDIR)/target/skipped" $(CARGO) nextest run --no-fail-fast && \
		$(CARGO) test --doc --quiet; \
	else \
		STARIO_SKIPPED="$(CURDIR)/target/skipped" $(CARGO) test --no-fail-fast; \
	fi
	@if [ -s target/skipped ]; then echo 'Skipped on this machine:'; sort -u target/skipped; fi

swaps:
	STARIO_SWAPS=$${STARIO_SWAPS:-100} $(CARGO) test --test overlap_load -- --nocapture --test-threads 1

adopt:
	STARIO_SWAPS=$${STARIO_SWAPS:-50} $(CARGO) test --test adopt_load -- --nocapture --test-threads 1

bench:
	$(CARGO) bench --bench runners -- $(RUN)

bench-pure:
	$(CARGO) bench --bench pure

size:
	$(CARGO) bench --bench size

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- --deny warnings
	$(CARGO) clippy --package stario-runtime --all-targets --all-features -- --deny warnings
# The shim is a crate that cargo does not know of: build.rs builds it, on Linux.
	rustfmt --edition 2024 --check shim/lib.rs
	if [ "$$(uname)" = Linux ]; then \
		mkdir -p target && clippy-driver --crate-name stario_shim --crate-type cdylib \
			--edition 2024 -C panic=abort --emit metadata -o target/shim.rmeta \
			--deny warnings --warn clippy::all --warn clippy::pedantic shim/lib.rs; \
	fi
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --no-deps --document-private-items --quiet

install:
	$(CARGO) install --path . --locked
