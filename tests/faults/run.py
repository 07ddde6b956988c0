"""Every fault of the catalogue that this machine can make, on real processes. `run.py NAME|NUMBER …` makes some, `--quick` the
selection for `make test`, `--list` says which there are. The last line counts them."""

import importlib
import os
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent / "clients"), str(HERE.parent / "golden")]

import catalogue  # noqa: E402
import netns  # noqa: E402
import scene  # noqa: E402

# Each registers its faults.
for module in ("processes", "links", "disks", "clocks", "operations", "coordinators", "scale"):
    importlib.import_module(module)

DONE = "OTTLA_FAULTS_DONE"
RACKS = ["a", "a", "b", "b", "c"]


def selected(arguments):
    if "--quick" in arguments:
        return [f for f in catalogue.FAULTS if f.quick]
    wanted = {a for a in arguments if not a.startswith("--")}
    found = [f for f in catalogue.FAULTS if not wanted or f.name in wanted or wanted & set(map(str, f.numbers))]
    missing = wanted - {f.name for f in found} - {str(n) for f in found for n in f.numbers}
    if missing:
        raise SystemExit(f"no such fault: {', '.join(sorted(missing))}; --list says which there are")
    return found


class Stages:
    """Keeps a cluster for the next fault that wants the same kind."""

    def __init__(self, prefix):
        self.prefix, self.kind, self.stage = prefix, None, None

    def get(self, kind):
        if self.kind != kind:
            self.end(keep=False)
            nodes = 5 if kind == "five" else 3
            self.stage = scene.Stage(nodes, self.prefix, racks=RACKS if kind == "five" else None)
            self.kind = kind
            self.stage.start()
        return self.stage

    def end(self, keep):
        if self.stage:
            stage, self.stage, self.kind = self.stage, None, None
            stage.stop(keep)


def make(fault, stages):
    """What it says of itself; `scene.Skipped` where it cannot be made."""
    if fault.links and not stages.prefix:
        raise scene.Skipped("breaking links and disks needs root and network namespaces")
    if fault.stage is None:
        stages.end(keep=False)
        return fault.function()
    return fault.function(stages.get(fault.stage))


def main():
    arguments = sys.argv[1:]
    faults = selected(arguments)
    if "--list" in arguments:
        for fault in faults:
            print(f"{', '.join(map(str, fault.numbers)):>7}  {fault.name}: {fault.title}")
        return
    prefix = os.environ.get(netns.PREFIX)
    if prefix is None and any(f.links or f.stage for f in faults):
        done = pathlib.Path(f"/tmp/ottla-faults-{os.getpid()}")
        os.environ[DONE] = str(done)
        netns.inside(__file__, nodes=5)
        if done.exists():
            done.unlink()
            return
    passed = failed = skipped = 0
    stages = Stages(prefix)
    for fault in sorted(faults, key=lambda f: (f.stage or "", f.numbers)):
        print(f"{', '.join(map(str, fault.numbers))} {fault.name}: {fault.title}", flush=True)
        started = time.monotonic()
        try:
            said = make(fault, stages)
            passed += 1
            print(f"{fault.name}: ok, {time.monotonic() - started:.0f} s{': ' + said if said else ''}", flush=True)
        except scene.Skipped as why:
            skipped += 1
            print(f"{fault.name}: skipped, {why}", flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"{fault.name}: FAILED, {time.monotonic() - started:.0f} s", flush=True)
            stages.end(keep=True)
    stages.end(keep=False)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if DONE in os.environ and prefix:
        pathlib.Path(os.environ[DONE]).touch()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
