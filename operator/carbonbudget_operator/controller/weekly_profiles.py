"""Asks for each budget's weekly profile in the background, so that no evaluation waits for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, HourlyAnswers
from carbonbudget_operator.budgets.forecast import MOST_HOURS, WeeklyProfile, weekly_profile
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.budget_queries import period_query
from carbonbudget_operator.controller.prepared_budget import PreparedBudget
from carbonbudget_operator.controller.question_batches import BatchQuestions, batches_by_size
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_log = logging.getLogger(__name__)
_HOUR = 3600
_LOOK_SECONDS = 60
_AT_ONCE = 50  # questions in one request: four weeks of hours each


@dataclass(frozen=True, slots=True)
class _Known:
    uid: str
    counted_hash: str
    asked_at: int
    week: WeeklyProfile | None


class WeeklyProfiles:
    """Filled by its own task, read by the evaluation; one event loop, so no lock."""

    def __init__(self, server: ServerClient, now: Callable[[], float] = time.time) -> None:
        self._server, self._now = server, now
        self._known: dict[str, _Known] = {}
        self._wanted: dict[str, PreparedBudget] = {}
        self._failing = False

    def want(self, all_prepared: Iterable[PreparedBudget]) -> None:
        """Set the budgets to ask for. A budget per workload has no forecast and is left out."""
        self._wanted = {
            prepared.key: prepared
            for prepared in all_prepared
            if prepared.namespaces and not prepared.budget_limit.per_workload
        }
        self._known = {key: known for key, known in self._known.items() if key in self._wanted}

    def week(self, prepared: PreparedBudget) -> WeeklyProfile | None:
        """The budget's profile; None without an answer for what it counts now, or without two weeks of data."""
        known = self._known.get(prepared.key)
        return known.week if known is not None and _is_of(known, prepared) else None

    async def run(self) -> None:
        """Runs for ever: asks once an hour for each budget, and within a minute for one that counts something new."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.refresh()
            except Exception:
                _log.exception("hourly use not asked for; the next minute tries again")

    async def refresh(self) -> None:
        """Ask for the profiles that are due."""
        now = int(self._now())
        due = [prepared for prepared in self._wanted.values() if self._is_due(prepared, now)]
        of_key = {prepared.key: prepared for prepared in due}
        asking = BatchQuestions()
        for batch in batches_by_size((_question(prepared, now) for prepared in due), _AT_ONCE):
            try:
                found = await asking.ask(batch, self._server.hourly)
            except ServerUnavailable as error:
                if not self._failing:
                    _log.warning("%s; forecasts use the last known weekly profiles", error)
                self._failing = True
                return
            self._failing = False
            weeks = dict(_weeks(batch, found.answers))
            for query in batch:  # one that is refused has no profile, and is asked for again in an hour
                prepared = of_key[query.id]
                counted = prepared.budget_limit.counted_hash
                self._known[query.id] = _Known(prepared.stored.uid, counted, now, weeks.get(query.id))

    def _is_due(self, prepared: PreparedBudget, now: int) -> bool:
        known = self._known.get(prepared.key)
        return known is None or not _is_of(known, prepared) or now - known.asked_at >= _HOUR


def _is_of(known: _Known, prepared: PreparedBudget) -> bool:
    return (known.uid, known.counted_hash) == (prepared.stored.uid, prepared.budget_limit.counted_hash)


def _weeks(asked: Sequence[BudgetQuery], found: Iterable[HourlyAnswers]) -> Iterator[tuple[str, WeeklyProfile | None]]:
    """The profile of each query that was answered, with the change of the grid that its source forecasts."""
    queries = {query.id: query for query in asked}
    for answers in found:
        for answer in answers.answers:
            week = weekly_profile(answer.first_hour, answer.used_ug)
            if week is not None and _changes_with_grid(queries[answer.id]):
                week = week.changed(answers.change_from, answers.change_permille)
            yield answer.id, week


def _question(prepared: PreparedBudget, now: int) -> BudgetQuery:
    """The question for the last four weeks of whole hours."""
    end = now // _HOUR * _HOUR
    query = period_query(prepared, prepared.key, Period(end - MOST_HOURS * _HOUR, end))
    return query.model_copy(update={"workloads": 0})


def _changes_with_grid(query: BudgetQuery) -> bool:
    """Whether all that is counted is the grid's: embodied emissions and bought energy are not."""
    return query.accounting == "LocationBased" and "Embodied" not in query.include
