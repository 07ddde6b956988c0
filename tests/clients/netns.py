"""Machines for a test: network namespaces on a bridge, and what can go wrong between them. Needs root."""

import os
import subprocess
import sys

PREFIX = "OTTLA_NETNS"
CLIENT = "10.77.0.100"


def run(*command, check=True):
    result = subprocess.run(command, capture_output=True, text=True)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def inside(file, nodes=3):
    """Makes the machines, runs `file` again on the client's, removes them, and exits if that failed. Returns the prefix of
    the machines' names where this is that second run; `None` after the first, or where it cannot be done."""
    if PREFIX in os.environ:
        return os.environ[PREFIX]
    if os.geteuid() != 0:
        print("  skipped: network namespaces need root", flush=True)
        return None
    prefix = f"ottla{os.getpid()}"
    names = [f"{prefix}-client", *(f"{prefix}-{n}" for n in range(nodes))]
    try:
        try:
            make(names)
        except (RuntimeError, OSError) as error:
            print(f"  skipped: no network namespaces here: {error}", flush=True)
            return None
        again = subprocess.run(["ip", "netns", "exec", names[0], sys.executable, file, *sys.argv[1:]],
                               env={**os.environ, PREFIX: prefix})
        if again.returncode != 0:
            raise SystemExit(again.returncode)
    finally:
        for name in names:
            run("ip", "netns", "del", name, check=False)
    return None


def make(names):
    for name in names:
        run("ip", "netns", "add", name)
        within(name, "ip", "link", "set", "lo", "up")
    bridge = names[0]
    within(bridge, "ip", "link", "add", "br0", "type", "bridge")
    within(bridge, "ip", "address", "add", f"{CLIENT}/24", "dev", "br0")
    within(bridge, "ip", "link", "set", "br0", "up")
    for index, name in enumerate(names[1:]):
        within(bridge, "ip", "link", "add", f"v{index}", "type", "veth", "peer", "name", "eth0", "netns", name)
        within(bridge, "ip", "link", "set", f"v{index}", "master", "br0", "up")
        within(name, "ip", "address", "add", f"{address(index)}/24", "dev", "eth0")
        within(name, "ip", "link", "set", "eth0", "up")


def within(name, *command):
    return run("ip", "netns", "exec", name, *command)


def address(index):
    return f"10.77.0.{index + 1}"


class Machines:
    """The nodes' machines, seen from the client's."""

    def __init__(self, prefix, nodes=3):
        self.names = [f"{prefix}-{n}" for n in range(nodes)]
        self.hosts = [address(n) for n in range(nodes)]
        self.within = [["ip", "netns", "exec", name] for name in self.names]

    def drop(self, *indexes):
        """No packet reaches these machines, nor leaves them."""
        for index in indexes:
            self.rule(index, "INPUT", "-i", "eth0")
            self.rule(index, "OUTPUT", "-o", "eth0")

    def drop_one_way(self, source, target, ports=()):
        """No packet of `source` reaches `target`: none to `target`'s `ports` and none from `source`'s, if those are named."""
        at = ("-s", self.hosts[source])
        if not ports:
            self.rule(target, "INPUT", *at)
        for port in ports:
            self.rule(target, "INPUT", *at, "-p", "tcp", "--dport", str(port))
            self.rule(target, "INPUT", *at, "-p", "tcp", "--sport", str(port))

    def rule(self, index, chain, *match):
        within(self.names[index], "iptables", "-w", "-A", chain, *match, "-j", "DROP")

    def heal(self):
        for name in self.names:
            within(name, "iptables", "-w", "-F")
