"""All tests with foreign clients. `run.py NAME …` runs some. The last line counts them."""

import importlib
import sys
import time
import traceback

from skipped import Skipped

TESTS = ["foreign", "admin", "groups", "kill", "duplicates", "lifecycle", "rot", "quorum", "identity", "rolling", "drain", "demo",
         "verify", "bench", "power_loss"]


def main():
    names = sys.argv[1:] or TESTS
    passed = failed = skipped = 0
    for name in names:
        print(f"{name}: {importlib.import_module(name).__doc__.strip().splitlines()[0]}", flush=True)
        started = time.monotonic()
        try:
            importlib.import_module(name).main()
            passed += 1
            print(f"{name}: ok, {time.monotonic() - started:.0f} s", flush=True)
        except Skipped as reason:
            skipped += 1
            print(f"{name}: skipped: {reason}", flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"{name}: FAILED, {time.monotonic() - started:.0f} s", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
