#!/bin/sh
# Builds RocksDB's C++ once and keeps the library outside the clone, so that check, dev and release builds of
# every clone skip its 1,500 CPU seconds. Prints the directory to use as ROCKSDB_LIB_DIR.
# Usage: deploy/rocksdb-cache.sh CACHE_DIR
set -eu
cache=$1
here=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n '/^name = "librocksdb-sys"/{n;s/version = "\(.*\)"/\1/p;}' "$here/Cargo.lock")
features=$(sed -n 's/^rocksdb = .*features = \[\(.*\)\].*/\1/p' "$here/Cargo.toml" | tr -d '", ')
compiler=$( (c++ -dumpfullversion -dumpversion 2>/dev/null || echo unknown) | head -n 1)
directory="$cache/rocksdb-$version-$features-c++$compiler-$(uname -m)"
if [ ! -s "$directory/librocksdb.a" ]; then
    echo "ottla: building RocksDB $version once for all clones into $directory (about 15 minutes on 2 cores)" >&2
    mkdir -p "$directory"
    build="$cache/rocksdb-build.$$"
    trap 'rm -rf "$build"' EXIT
    (
        cd "$here"
        unset ROCKSDB_LIB_DIR ROCKSDB_STATIC
        CARGO_TARGET_DIR="$build" cargo build --release --locked -p librocksdb-sys >&2 &
        cargo=$!
        # 341 files of C++ compile in silence: count them for the person who waits.
        while kill -0 $cargo 2>/dev/null; do
            sleep 15
            count=$(find "$build" -name '*.o' 2>/dev/null | wc -l)
            kill -0 $cargo 2>/dev/null && echo "ottla: RocksDB: $count of about 341 files compiled" >&2
        done
        wait $cargo
    )
    library=$(find "$build" -name librocksdb.a | head -n 1)
    # Renamed into place: an interrupted copy is never taken for a library.
    cp "$library" "$directory/librocksdb.a.new"
    mv "$directory/librocksdb.a.new" "$directory/librocksdb.a"
fi
echo "$directory"
