#!/bin/sh
# Checks what a build needs and installs it where it may (Debian or Ubuntu, as root); elsewhere it prints the
# exact command. Usage: deploy/preflight.sh [install]
set -u
missing="" packages=""
need() { missing="$missing
  - $1"; packages="$packages $2"; }

command -v cargo >/dev/null 2>&1 || {
    echo "ottla: cargo is missing. Install Rust 1.92 or newer: https://rustup.rs" >&2
    exit 1
}
command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || need "a C++ compiler (RocksDB)" "g++"
command -v make >/dev/null 2>&1 || need "make" "make"
# RocksDB's bindings are generated with libclang.
libclang=$(ls "${LIBCLANG_PATH:-/nonexistent}"/libclang*.so* /usr/lib/*/libclang-[0-9]*.so* /usr/lib/llvm-*/lib/libclang*.so* \
    /usr/lib64/libclang*.so* /usr/lib/libclang*.so* /opt/homebrew/opt/llvm/lib/libclang.dylib 2>/dev/null | head -n 1)
headers=$(ls -d /usr/lib/clang/*/include /usr/lib/llvm-*/lib/clang/*/include /usr/lib64/clang/*/include /opt/homebrew/opt/llvm/lib/clang/*/include 2>/dev/null | head -n 1)
if [ -z "$libclang" ] || [ -z "$headers" ]; then
    version=14
    if command -v apt-cache >/dev/null 2>&1; then
        found=$(apt-cache search --names-only '^libclang1-[0-9]+$' 2>/dev/null | sed 's/^libclang1-\([0-9]*\) .*/\1/' | sort -n | tail -n 1)
        [ -n "$found" ] && version=$found
    fi
    need "libclang and its headers (bindings of RocksDB)" "libclang1-$version libclang-common-$version-dev"
fi
[ -z "$missing" ] && exit 0

echo "ottla: the build needs:$missing" >&2
install="apt-get install -y --no-install-recommends$packages"
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "ottla: installing: $install" >&2
    apt-get update -qq >&2 || true
    # shellcheck disable=SC2086
    if DEBIAN_FRONTEND=noninteractive $install >&2; then exit 0; fi
    echo "ottla: that failed; install these by hand and run the command again." >&2
    exit 1
fi
if command -v apt-get >/dev/null 2>&1; then
    echo "ottla: run: sudo apt-get update && sudo $install" >&2
elif command -v dnf >/dev/null 2>&1; then
    echo "ottla: run: sudo dnf install -y gcc-c++ make clang-libs clang-devel" >&2
elif command -v brew >/dev/null 2>&1; then
    echo "ottla: run: brew install llvm" >&2
else
    echo "ottla: install them with the system's package manager and run the command again." >&2
fi
exit 1
