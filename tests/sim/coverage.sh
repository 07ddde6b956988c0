#!/usr/bin/env bash
# Line coverage of the crates that keep records, by the simulator alone: coverage.sh [SEEDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
seeds=${1:-40}
crates="replica logstore metadata api"
least=70

tools="$(rustc --print target-libdir)/../bin"
if [ ! -x "$tools/llvm-profdata" ]; then
  echo "llvm-profdata is missing. Install it with: rustup component add llvm-tools"
  exit 1
fi
out="$CARGO_TARGET_DIR/sim-coverage"
rm -rf "$out" && mkdir -p "$out"
export RUSTC_WORKSPACE_WRAPPER="$PWD/tests/sim/instrument.sh"
LLVM_PROFILE_FILE="$out/build-%p.profraw" cargo build --profile sim --locked -p sim
rm -f "$out"/build-*.profraw
cp "$CARGO_TARGET_DIR/sim/sim" "$out/sim"
LLVM_PROFILE_FILE="$out/run-%p.profraw" "$out/sim" --seeds "$seeds" --quiet
"$tools/llvm-profdata" merge -sparse "$out"/run-*.profraw -o "$out/run.profdata"
"$tools/llvm-cov" export "$out/sim" -instr-profile="$out/run.profdata" -summary-only >"$out/summary.json"
"$tools/llvm-cov" show "$out/sim" -instr-profile="$out/run.profdata" -format=html -output-dir="$out/html" \
  $(for crate in $crates; do find "crates/$crate/src" -name '*.rs'; done) >/dev/null
python3 tests/sim/coverage.py "$out/summary.json" "$least" $crates
echo "line by line: $out/html/index.html"
