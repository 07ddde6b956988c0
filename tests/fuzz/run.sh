#!/bin/bash
# Fuzzes every target in turn, in rounds of a minute: run.sh CACHE MINUTES [TARGET]
#
# ENGINE=coverage (the default) is libFuzzer over everything compiled anew with coverage counters, which takes a quarter of an
# hour the first time; ENGINE=mutations mutates valid inputs, and is built beside the programs.
#
# CACHE/fuzz/corpus/TARGET     what covered something new; kept from run to run
# CACHE/fuzz/failures/TARGET   inputs that broke a promise. To keep one as a test, copy it to
#                              crates/fuzz/regressions/TARGET/ under a name that says what it is.
# CACHE/fuzz/summary           executions, coverage and failures so far, also while this runs
#
# Stop it at any time with Ctrl-C or SIGTERM: it says what it found. JOBS=2 runs two targets at a time.
set -uo pipefail
cd "$(dirname "$0")/../.."
cache=$1 minutes=${2:-30} only=${3:-} jobs=${JOBS:-1}
work=$cache/fuzz
case ${ENGINE:=coverage} in
coverage)
  export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$cache/target-fuzz}
  host=$(rustc -vV | sed -n 's/^host: //p')
  # LLVM's coverage counters need no nightly compiler; an address sanitizer would, and there is no unsafe code here.
  flags="--cfg tokio_unstable --cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module -Ccodegen-units=16
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
  RUSTFLAGS=$(echo $flags) cargo build --release --locked --manifest-path tests/fuzz/Cargo.toml --target "$host" || exit 1
  runner=$CARGO_TARGET_DIR/$host/release/fuzz-runner ;;
mutations)
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
  cargo build --profile sim --locked -p fuzz || exit 1
  runner=$CARGO_TARGET_DIR/sim/fuzz ;;
*) echo "ENGINE is coverage or mutations"; exit 1 ;;
esac

mkdir -p "$work" && cd "$work" || exit 1
mkdir -p corpus failures logs stats
regressions=$OLDPWD/crates/fuzz/regressions
targets=$("$runner" list) || exit 1
if [ -n "$only" ]; then
  grep -qx -- "$only" <<<"$targets" || { echo "no target $only; there are:"; echo "$targets"; exit 1; }
  targets=$only
fi

# Executions, seconds and coverage of a target so far.
so_far() { cat "stats/$1" 2>/dev/null || echo 0 0 0; }

summary() {
  local target executions taken covered
  {
    printf '%-32s %14s %10s %8s %8s  %s\n' target executions seconds covered corpus failures
    for target in $targets; do
      read -r executions taken covered <<<"$(so_far "$target")"
      printf '%-32s %14s %10s %8s %8s  %s\n' "$target" "$executions" "$taken" "$covered" \
        "$(ls "corpus/$target" 2>/dev/null | wc -l)" "$(ls "failures/$target" 2>/dev/null | wc -l)"
    done
  } > summary.new && mv summary.new summary
}

# Rounds of a target that failed in this run. With three there is enough to look at.
failed() { ls "logs/$1.failure-"* 2>/dev/null | wc -l; }
FAILED_MAX=3

# One round of one target. A failure ends it; the next round goes on from the corpus.
slice() {
  local target=$1 seconds=$2 began=$SECONDS log=logs/$1
  local command=(fuzz "$target")
  [ "$ENGINE" = mutations ] && command=(mutate "$target" "$seconds" "failures/$target")
  BOLERO_LIBFUZZER_ARGS="corpus/$target -max_total_time=$seconds -max_len=65536 -rss_limit_mb=2048 -timeout=20 \
-artifact_prefix=failures/$target/ -print_final_stats=1 -verbosity=1 -close_fd_mask=1" \
    timeout --kill-after=10 $((seconds + 60)) "$runner" "${command[@]}" > "$log" 2>&1 &
  local child=$! stopped=
  trap 'stopped=1; kill $child' TERM
  wait $child
  local code=$? executions seconds_before covered
  # The wait was interrupted; what was done until then counts too.
  [ -n "$stopped" ] && { wait $child; code=0; }
  read -r executions seconds_before covered <<<"$(so_far "$target")"
  local more; more=$(sed -n 's/^stat::number_of_executed_units: //p' "$log" | tail -1)
  local now; now=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  echo "$((executions + ${more:-0})) $((seconds_before + SECONDS - began)) ${now:-$covered}" > "stats/$target"
  if [ $code -ne 0 ]; then
    cp "$log" "logs/$target.failure-$(($(failed "$target") + 1))"
    local input; input=$(ls -t "failures/$target" | head -1)
    echo "$target FAILED (exit $code): $(grep -m1 -A1 -E 'panicked|ERROR: libFuzzer' "$log" | tr '\n' ' ')"
    echo "  $work/failures/$target/$input"
    # What fails at once lets nothing else be tried.
    [ -n "$input" ] && for known in "corpus/$target"/*; do
      cmp -s "$known" "failures/$target/$input" && rm "$known"
    done
  fi
}

finish() {
  trap - EXIT INT TERM
  kill $(jobs -p) 2>/dev/null; wait 2>/dev/null
  summary; echo; cat summary; echo "failures and corpus: $work"
  [ -z "$(ls failures/* 2>/dev/null | grep -v ':$')" ]
  exit $?
}
trap finish EXIT INT TERM

for target in $targets; do
  mkdir -p "corpus/$target" "failures/$target"
  rm -f "logs/$target.failure-"*
  "$runner" seeds "$target" "corpus/$target" || exit 1
  cp "$regressions/$target"/* "corpus/$target/" 2>/dev/null
done
ends=$((SECONDS + minutes * 60)) count=$(wc -w <<<"$targets")
seconds=$((minutes * 60 * jobs / count)); [ "$seconds" -gt 60 ] && seconds=60; [ "$seconds" -lt 5 ] && seconds=5
while [ $SECONDS -lt $ends ]; do
  for target in $targets; do
    [ $SECONDS -lt $ends ] || break
    [ "$(failed "$target")" -lt $FAILED_MAX ] || continue
    slice "$target" "$seconds" &
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    summary
  done
  wait
  summary
  [ -n "$(for t in $targets; do [ "$(failed "$t")" -lt $FAILED_MAX ] && echo "$t"; done)" ] || break
done
