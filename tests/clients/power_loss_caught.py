"""The power loss test is itself tested: nodes whose fdatasync does nothing, of all files or of segments only, must fail it.
Needs root, /dev/fuse and a C compiler."""

import contextlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import layer
import power_loss
from skipped import Skipped

SOURCE = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int fdatasync(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0 && (path[length] = 0, strstr(path, SKIPPED))) return 0;
    return syscall(SYS_fdatasync, file);
}
"""


def broken(directory, skipped):
    """The test on nodes that skip the sync of files whose path contains this: what it said, None if it passed."""
    library = directory / "skip.so"
    subprocess.run(["cc", "-shared", "-fPIC", f'-DSKIPPED="{skipped}"', "-x", "c", "-", "-o", str(library)], input=SOURCE.encode(), check=True)
    os.environ["LD_PRELOAD"] = str(library)
    # With the journal few records need a sync of their segment in time.
    os.environ["OTTLA_LOG_FLUSH_STRATEGY"] = "plain" if skipped == ".log" else "journal"
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            power_loss.main()
        return None
    except (AssertionError, RuntimeError) as error:
        return str(error)
    finally:
        del os.environ["LD_PRELOAD"], os.environ["OTTLA_LOG_FLUSH_STRATEGY"]
        for kept in re.findall(r"are kept in (\S+)", said.getvalue()):
            shutil.rmtree(kept)


def main():
    reason = layer.missing() or (None if shutil.which("cc") else "there is no C compiler")
    if reason is not None:
        raise Skipped(reason)
    power_loss.BACK_MAX = 20.0
    with tempfile.TemporaryDirectory() as directory:
        for what, skipped in (("any file", "/"), ("segments", ".log"), ("the Raft log", "/raft/"), ("the marks journal", "marks")):
            said = broken(pathlib.Path(directory), skipped)
            assert said is not None, f"nodes that do not sync {what} pass the test"
            print(f"  no sync of {what}: {said.strip().splitlines()[-1][:150]}", flush=True)


if __name__ == "__main__":
    main()
