"""Both sides in a memory cgroup of the same size: what the brokers hold and their page cache together.

Memory that a virtual machine has given back to its host costs many times as much at the first touch as memory that is in
use again, so without a limit the side that happens to run on fresh pages would look slow. With one, both recycle their own.
"""

import contextlib
import os
import pathlib

MIB = int(os.environ.get("MEMORY_MIB", "6144"))
NAME = f"ottla-bench-{os.getpid()}"


def _groups():
    """(directory of cgroups, its file for the limit), for cgroup v1 or v2; None without one that may be changed."""
    for root, limit in ((pathlib.Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (pathlib.Path("/sys/fs/cgroup"), "memory.max")):
        try:
            group = root / NAME
            group.mkdir(exist_ok=True)
            (group / limit).write_text(str(MIB << 20))
            return group
        except OSError:
            with contextlib.suppress(OSError):
                (root / NAME).rmdir()
    return None


def _own(group):
    """Where this process is now, in the hierarchy that `group` belongs to."""
    root = group.parent
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == ("memory" if root.name == "memory" else ""):
            return root / path.lstrip("/")
    return root


@contextlib.contextmanager
def limited():
    """What is started within is limited, all of it together; answers the MiB, or None where that is not allowed."""
    group = _groups()
    if group is None:
        yield None
        return
    before = _own(group)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield MIB
    finally:
        with contextlib.suppress(OSError):
            (before / "cgroup.procs").write_text(str(os.getpid()))


def remove():
    """When nothing runs in it any more."""
    for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
        with contextlib.suppress(OSError):
            (pathlib.Path(root) / NAME).rmdir()
