"""The list that `run.py` goes through: numbers and names as in the catalogue of faults, and on which cluster each is made."""

FAULTS = []


class Fault:
    def __init__(self, function, numbers, stage, links, quick):
        self.function, self.numbers, self.stage, self.links, self.quick = function, numbers, stage, links, quick
        self.name = function.__name__

    @property
    def title(self):
        return " ".join(self.function.__doc__.split())


def fault(*numbers, stage="three", links=False, quick=False):
    """Registers a function of a `scene.Stage` (of nothing, for `stage=None`: it starts what it needs). `links`: it wants
    machines whose network and disks can be broken, which takes root. It answers a sentence of what it saw."""
    def register(function):
        FAULTS.append(Fault(function, numbers, stage, links, quick))
        return function
    return register
