"""Lines of each crate that the simulator runs: coverage.py SUMMARY LEAST CRATE..."""

import json
import sys

summary, least, crates = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
files = json.load(open(summary))["data"][0]["files"]
missed = False
for crate in crates:
    here = [f for f in files if f"/crates/{crate}/src/" in f["filename"]]
    covered = sum(f["summary"]["lines"]["covered"] for f in here)
    count = sum(f["summary"]["lines"]["count"] for f in here)
    share = 100 * covered / count if count else 0
    missed |= share < least
    print(f"{crate}: {share:.1f} % of {count} lines")
    here.sort(key=lambda f: f["summary"]["lines"]["covered"] - f["summary"]["lines"]["count"])
    for f in here[:8]:
        lines = f["summary"]["lines"]
        name = f["filename"].split(f"/crates/{crate}/src/")[1]
        print(f"    {lines['count'] - lines['covered']:5} lines of {name} do not run ({lines['percent']:.0f} % do)")
sys.exit(1 if missed else 0)
