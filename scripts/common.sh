# Shared by the scripts in this folder: sourced, never run by itself.
# Says before it installs anything; nothing outside the packages and the toolchain named here is changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
PATH=$PATH:/usr/sbin:/sbin

# Oldest Rust that builds the project; rust-version in Cargo.toml.
RUST_MINOR=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' Cargo.toml)

say() { printf '== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# packages PROGRAM=PACKAGE...: installs the Debian packages of the programs that are missing.
packages() {
  local pair missing=() as=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "missing: as root, run  apt-get install ${missing[*]}"
    as=(sudo)
  fi
  command -v apt-get >/dev/null || fail "this is no Debian or Ubuntu; install what gives these: ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  local said
  said=$({ "${as[@]}" apt-get update -q && "${as[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"; } 2>&1) ||
    { printf '%s\n' "$said" >&2; fail "apt-get could not install ${missing[*]}"; }
}

new_enough() {
  local version
  version=$(cargo --version 2>/dev/null) || return 1
  version=${version#cargo 1.}
  [ "${version%%.*}" -ge "$RUST_MINOR" ] 2>/dev/null
}

# rust [COMPONENT...]: a Rust toolchain that is new enough, with cargo and these components.
rust() {
  if ! new_enough; then
    command -v cargo >/dev/null && say "$(cargo --version 2>/dev/null || echo cargo) is older than 1.$RUST_MINOR"
    if ! command -v rustup >/dev/null; then
      packages curl=curl update-ca-certificates=ca-certificates
      say "there is no Rust 1.$RUST_MINOR: installing Rust's own toolchain with rustup (rustup.rs) below $HOME"
      curl -fsS --proto '=https' --tlsv1.2 https://sh.rustup.rs |
        sh -s -- -q -y --profile minimal --no-modify-path >/dev/null || fail "rustup could not be installed"
      PATH=$HOME/.cargo/bin:$PATH
    fi
    if ! new_enough; then
      say "installing the stable Rust toolchain with rustup"
      rustup toolchain install stable --profile minimal >/dev/null
      export RUSTUP_TOOLCHAIN=stable
    fi
    new_enough || fail "cargo is still older than 1.$RUST_MINOR: $(cargo --version)"
  fi
  local component
  for component in "$@"; do
    cargo "$component" --version >/dev/null 2>&1 && continue
    say "installing $component with rustup"
    rustup component add "$( [ "$component" = fmt ] && echo rustfmt || echo "$component" )" >/dev/null ||
      fail "cargo $component is missing"
  done
}
