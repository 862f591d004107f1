#!/usr/bin/env bash
# All of scripts/test, and what takes longer or needs more tools: documentation, licences and advisories,
# the oldest Rust, the static build. A tool that is not there is named, not installed.
. "$(dirname "$0")/common.sh"

failed=()
step() {
  local name=$1; shift
  say "$name"
  "$@" || failed+=("$name")
}

step "tests" scripts/test
RUSTDOCFLAGS="-D warnings" step "documentation" cargo doc -q --no-deps --document-private-items
if cargo deny --version >/dev/null 2>&1; then
  step "licences and advisories" cargo deny check
else
  say "skipped: licences and advisories (cargo install cargo-deny)"
fi
if rustup run "1.$RUST_MINOR" cargo --version >/dev/null 2>&1; then
  step "Rust 1.$RUST_MINOR" rustup run "1.$RUST_MINOR" cargo check -q --target-dir target/oldest
else
  say "skipped: the oldest Rust (rustup toolchain install 1.$RUST_MINOR --profile minimal)"
fi
musl=$(uname -m)-unknown-linux-musl
if rustc --print target-libdir --target "$musl" 2>/dev/null | xargs -r ls >/dev/null 2>&1 && command -v musl-gcc >/dev/null; then
  step "static build" cargo build -q --release --target "$musl"
else
  say "skipped: the static build (rustup target add $musl; apt-get install musl-tools)"
fi

if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
say "all is well"
