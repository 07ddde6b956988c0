class Skipped(Exception):
    """A test that this machine cannot run, and why."""
