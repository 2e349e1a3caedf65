"""One round of the bridge: which runs of a tracker get which figures. Provisional ones once, and final ones once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from carbonbudget.bridge.json_http import Away, Refused
from carbonbudget.bridge.run_figures import FINAL, PROVISIONAL, CarbonServer, TrackerFigures
from carbonbudget.bridge.tracker import Tracker, TrackerRun

MAX_KNOWN_LINES = 10_000


@dataclass
class Outcome:
    """Counts of one round; `failed` are runs that could not be written, `away` a side that did not answer."""

    provisional: int = 0
    final: int = 0
    unchanged: int = 0
    failed: int = 0
    away: bool = False

    @property
    def done(self) -> bool:
        """Nothing was left undone."""
        return not self.failed and not self.away

    def __str__(self) -> str:
        return f"{self.provisional} provisional, {self.final} final, {self.unchanged} unchanged, {self.failed} failed"


@dataclass
class Bridge:
    """A tracker and a server; `say` gets a line for each thing that went wrong, once."""

    tracker: Tracker
    server: CarbonServer
    say: Callable[[str], None]
    _said: set[str] = field(default_factory=set)

    def round(self, since_ms: int) -> Outcome:
        """Looks at the runs that ended after `since_ms` (Unix milliseconds). Never raises for either side."""
        outcome = Outcome()
        try:
            runs = [run for run in self.tracker.finished_runs(since_ms) if not run.nested]
        except (Away, Refused) as error:
            return self._away(str(error), outcome)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return self._away(f"{self.tracker.name} answers something else than its API ({error!r})", outcome)
        sharers = Counter((run.namespace, run.run) for run in runs)
        known: dict[tuple[str, str], TrackerFigures | str] = {}
        for run in runs:
            try:
                self._one(run, known, sharers[run.namespace, run.run], outcome)
            except Away as away:
                return self._away(str(away), outcome)
        return outcome

    def _one(
        self, run: TrackerRun, known: dict[tuple[str, str], TrackerFigures | str], shared_by: int, outcome: Outcome
    ) -> None:
        if run.state == FINAL:
            outcome.unchanged += 1
            return
        figures = self._figures(run, known)
        if isinstance(figures, str):
            self._fail(run, figures, outcome)
        elif figures.state == run.state:
            outcome.unchanged += 1
        else:
            try:
                self.tracker.write(run, figures, shared_by)
            except Refused as refused:
                self._fail(run, str(refused), outcome)
                return
            outcome.provisional += figures.state == PROVISIONAL
            outcome.final += figures.state == FINAL

    def _figures(self, run: TrackerRun, known: dict[tuple[str, str], TrackerFigures | str]) -> TrackerFigures | str:
        """The run's figures, or why it gets none."""
        if run.taken and not run.ours:
            return f"the name {run.taken} is taken by something else; it stays as it is"
        if not run.run:
            return "its pod had no run: put the label carbonbudget.dev/run on the pod template"
        key = (run.namespace, run.run)
        if key not in known:
            try:
                known[key] = self.server.figures(*key)
            except Refused as refused:
                known[key] = str(refused)
        return known[key]

    def _away(self, reason: str, outcome: Outcome) -> Outcome:
        outcome.away = True
        self._line(reason)
        return outcome

    def _fail(self, run: TrackerRun, reason: str, outcome: Outcome) -> None:
        outcome.failed += 1
        self._line(f"{self.tracker.name} run {run.title} ({run.id}): {reason}")

    def _line(self, line: str) -> None:
        if len(self._said) >= MAX_KNOWN_LINES:
            self._said.clear()
        if line not in self._said:
            self._said.add(line)
            self.say("".join(c if c.isprintable() else "?" for c in line)[:500])
