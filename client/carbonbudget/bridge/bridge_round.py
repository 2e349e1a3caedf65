"""One round of the bridge: which runs of a tracker get which figures. Each is written provisional once and final once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from collections.abc import Callable

from carbonbudget.bridge.json_http import Away, Refused
from carbonbudget.bridge.run_figures import FINAL, PROVISIONAL, CarbonServer, RunFigures
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
    """A tracker and a server; `say` gets a line for each thing that went wrong, once for as long as it stays the same."""

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
        known: dict[tuple[str, str], RunFigures | None] = {}
        for run in runs:
            key = (run.namespace, run.run)
            try:
                if run.state != FINAL and run.run and key not in known:
                    known[key] = self.server.figures(*key)
                self._one(run, known.get(key), sharers[key], outcome)
            except Away as away:
                return self._away(str(away), outcome)
        return outcome

    def _one(self, run: TrackerRun, figures: RunFigures | None, shared_by: int, outcome: Outcome) -> None:
        if run.state == FINAL:
            outcome.unchanged += 1
        elif reason := self._obstacle(run, figures):
            self._fail(run, reason, outcome)
        elif figures is not None and figures.state == run.state:
            outcome.unchanged += 1
        elif figures is not None:
            try:
                self.tracker.write(run, figures, shared_by)
            except Refused as refused:
                self._fail(run, str(refused), outcome)
                return
            outcome.provisional += figures.state == PROVISIONAL
            outcome.final += figures.state == FINAL

    def _obstacle(self, run: TrackerRun, figures: RunFigures | None) -> str:
        if run.taken and not run.ours:
            return f"the name {run.taken} is taken by something else; it stays as it is"
        if not run.run:
            return "its pod had no run: put the label carbonbudget.dev/run on the pod template"
        if figures is None:
            return f"the server knows no run {run.namespace}/{run.run}, or this token may not read it"
        return ""

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
