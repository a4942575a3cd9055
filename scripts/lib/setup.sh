# What scripts/run and scripts/test share: tools, the target directory, saying what goes on. Sourced, never run.

readonly RUST_MIN=1.94.0

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The build goes where MILLPOND_TARGET_DIR says; in CI to a cache outside the clone, so that the next run finds it; else where cargo puts it.
choose_target_dir() {
  if [[ -n "${MILLPOND_TARGET_DIR:-}" ]]; then
    export CARGO_TARGET_DIR="$MILLPOND_TARGET_DIR"
  elif [[ "${CI:-}" == true && -z "${CARGO_TARGET_DIR:-}" ]]; then
    export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/millpond/target"
  fi
  if [[ -n "${CARGO_TARGET_DIR:-}" ]]; then
    mkdir -p "$CARGO_TARGET_DIR"
  fi
}

# Prints the target directory, wherever cargo's own configuration puts it.
target_dir() {
  cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# version_ok FOUND MINIMUM
version_ok() { [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

cargo_ok() {
  command -v cargo >/dev/null && command -v rustc >/dev/null || return 1
  version_ok "$(rustc --version 2>/dev/null | awk '{ print $2 }')" "$RUST_MIN"
}

# One line for each Debian package that is missing. Arguments: the tools wanted beside those of every build.
missing_packages() {
  local tool
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || echo build-essential
  # RocksDB's bindings are generated with libclang.
  compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*/libclang*.so*' >/dev/null || echo libclang-dev
  command -v clang >/dev/null || echo clang
  command -v pkg-config >/dev/null || echo pkg-config
  # librdkafka: TLS and OAuth tokens.
  pkg-config --exists openssl 2>/dev/null || echo libssl-dev
  pkg-config --exists libcurl 2>/dev/null || echo libcurl4-openssl-dev
  for tool in "$@"; do
    case "$tool" in
      psql) command -v psql >/dev/null || echo postgresql-client ;;
      xz) command -v xz >/dev/null || echo xz-utils ;;
      *) command -v "$tool" >/dev/null || echo "$tool" ;;
    esac
  done
}

# RocksDB is compiled by scripts/lib/toolchain/clang++, in about a quarter of the time. It is found by name, so that cargo sees no other compiler than
# in a plain `cargo build`, and takes neither's work for stale.
batch_rocksdb() {
  if command -v clang++ >/dev/null && command -v flock >/dev/null; then
    PATH="$PWD/scripts/lib/toolchain:$PATH"
  fi
}

apt_install() {
  say "installing with apt: $*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 || die "apt-get update failed: is this machine online?"
  apt-get install -y -qq --no-install-recommends "$@" >&2 || die "apt-get could not install: $*"
}

# Sees to it that everything a build needs is there. Arguments as for missing_packages.
ensure_tools() {
  local -a missing=()
  mapfile -t missing < <(missing_packages "$@")
  if (( ${#missing[@]} > 0 )); then
    command -v apt-get >/dev/null || die "these are missing (Debian's names): ${missing[*]}. Install them and start again."
    if (( EUID != 0 )); then
      die "these packages are missing: ${missing[*]}
Install them and start again:  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
    fi
    apt_install ca-certificates "${missing[@]}"
  fi
  ensure_rust
  batch_rocksdb
}

ensure_rust() {
  if [[ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ]]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  cargo_ok && return
  local found="no Rust"
  command -v rustc >/dev/null && found="Rust $(rustc --version 2>/dev/null | awk '{ print $2 }')"
  say "millpond needs Rust $RUST_MIN or newer, and this machine has $found"
  if ! command -v rustup >/dev/null && (( EUID == 0 )) && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 || true
    # Debian 13, Ubuntu 24.04 and later have it; older ones do not.
    if apt-cache show rustup >/dev/null 2>&1; then
      # Debian's rustup package conflicts with its own, older rustc.
      apt_install rustup
      hash -r
    fi
  fi
  if command -v rustup >/dev/null; then
    say "installing the stable Rust toolchain with rustup"
    rustup toolchain install stable --profile minimal --component rustfmt --component clippy >&2 && rustup default stable >&2
    hash -r
    cargo_ok && return
  fi
  die "no suitable Rust. Install rustup as the Rust project describes under \"Install Rust\", then:
  rustup toolchain install stable --profile minimal --component rustfmt --component clippy
  rustup default stable
and start again in a new shell."
}

# Says what a build is going to take, before a long silence.
announce_build() {
  local what=$1 minutes=$2 directory
  directory=$(target_dir)
  if [[ -d "$directory/release/deps" ]] && compgen -G "$directory/release/deps/libdatafusion-*.rlib" >/dev/null; then
    say "building $what (the libraries are there already)"
  else
    say "building $what: the first time takes $minutes minutes on 2 cores, most of it DataFusion and RocksDB; later builds take seconds"
  fi
}
