"""Results: the table, the last run's, and what became worse since."""

import datetime
import json

PASSED, FAILED, NA, SKIPPED = "ok", "FAILED", "n/a", "skipped"


class Matrix:
    """(client, scenario) -> (outcome, text)."""

    def __init__(self, clients, scenarios):
        self.clients, self.scenarios = clients, scenarios
        self.cells = {}
        self.versions = {}

    def set(self, client, scenario, outcome, text=""):
        self.cells[client, scenario] = (outcome, text)

    def outcome(self, client, scenario):
        return self.cells.get((client, scenario), (SKIPPED, ""))[0]

    def count(self, outcome):
        return sum(found == outcome for found, _ in self.cells.values())

    def worse_than(self, last):
        """What passed in the last run and is skipped in this one."""
        return [(c, s) for (c, s), (outcome, _) in self.cells.items()
                if outcome == SKIPPED and last.get(f"{c} / {s}") == PASSED]

    def show(self):
        width = max(map(len, self.scenarios))
        columns = [max(len(c), 7) for c in self.clients]
        lines = [" " * width + "  " + "  ".join(c.ljust(w) for c, w in zip(self.clients, columns))]
        for scenario in self.scenarios:
            row = [self.outcome(c, scenario).ljust(w) for c, w in zip(self.clients, columns)]
            lines.append(scenario.ljust(width) + "  " + "  ".join(row))
        return "\n".join(line.rstrip() for line in lines)

    def save(self, path):
        """Keeps what was not run this time, so that a short run forgets nothing."""
        last = load(path)
        for (client, scenario), (outcome, _) in self.cells.items():
            if outcome != SKIPPED or last.get(f"{client} / {scenario}") != PASSED:
                last[f"{client} / {scenario}"] = outcome
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(last, indent=1, sort_keys=True) + "\n")

    def markdown(self, against):
        today = datetime.datetime.now(datetime.timezone.utc).strftime("%d %B %Y")
        lines = [f"The last full run, of {today}, against {against}: {self.count(PASSED)} passed, {self.count(FAILED)} failed, "
                 f"{self.count(NA)} n/a (the client has no way to do it), {self.count(SKIPPED)} skipped.", "",
                 "| scenario | " + " | ".join(self.versions.get(c, c) for c in self.clients) + " |",
                 "|---|" + "---|" * len(self.clients)]
        lines += [f"| {s} | " + " | ".join(self.outcome(c, s) for c in self.clients) + " |" for s in self.scenarios]
        lines += ["", "What each did:", ""]
        for scenario in self.scenarios:
            for client in self.clients:
                outcome, text = self.cells.get((client, scenario), (SKIPPED, ""))
                if text:
                    lines.append(f"- {scenario}, {client}: {'' if outcome == PASSED else outcome + ': '}{text.splitlines()[0]}")
        return "\n".join(lines) + "\n"


def load(path):
    return json.loads(path.read_text()) if path.exists() else {}
