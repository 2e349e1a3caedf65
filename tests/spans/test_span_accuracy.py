"""How exact a span's energy is: synthetic pods whose use of each 10 ms is known, in windows as agents make them.

The reference divides each window's energy by the true counter. What a span differs from it is the error of the division
alone: that a second of CPU time has more energy in one window than in another is no error.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate

import pytest
from tests.spans.worlds import HOUR_MS, NOON

from carbonbudget_operator.spans.pod_windows import PodWindow
from carbonbudget_operator.spans.span_division import divide
from carbonbudget_operator.spans.span_record import Span

STEP_MS = 10


@dataclass(frozen=True)
class Training:
    """Epochs with pauses after them, at a pace that changes each half second, as on a busy node.

    `late_ms` is by how much the agent's samples are late on average, `unlike` by how much the energy of a CPU second
    differs between windows, `others` what other containers of the pod use for each second of the one that trains.
    """

    window_ms: int = 10_000
    epochs: int = 3
    epoch_s: float = 25
    pause_s: float = 3
    late_ms: int = 0
    unlike: float = 0
    others: float = 0
    began_ms: int = NOON

    def worst_errors(self, seeds: int) -> list[float]:
        """The worst error of an epoch in each of so many worlds, in per cent of its own energy."""
        return sorted(max(self._errors(random.Random(seed))) for seed in range(seeds))

    def _errors(self, chance: random.Random) -> list[float]:
        begins, at_ms = [], self.began_ms + chance.randrange(5_000, 25_000)
        for _ in range(self.epochs):
            end_ms = at_ms + round(self.epoch_s * 1000 * chance.uniform(0.8, 1.2))
            begins.append((at_ms, end_ms))
            at_ms = end_ms + round(self.pause_s * 1000)
        use = [0] * ((at_ms - self.began_ms) // STEP_MS + 2 * self.window_ms // STEP_MS)
        for start_ms, end_ms in begins:
            pace = 800
            for index in range((start_ms - self.began_ms) // STEP_MS, (end_ms - self.began_ms) // STEP_MS):
                pace = chance.choice((250, 400, 600, 800, 800, 800)) if index % 50 == 0 else pace
                use[index] = pace * STEP_MS
        sums = list(accumulate(use, initial=0))

        def counter_us(when_ms: int) -> int:
            index, rest_ms = divmod(min(when_ms - self.began_ms, (len(use) - 1) * STEP_MS), STEP_MS)
            return sums[index] + use[index] * rest_ms // STEP_MS

        edges = [self.began_ms + at for at in range(0, len(use) * STEP_MS, self.window_ms)]
        sampled = [at + (int(chance.expovariate(1 / self.late_ms)) if self.late_ms else 0) for at in edges]
        windows = []
        for index in range(len(edges) - 1):
            cpu_us = counter_us(sampled[index + 1]) - counter_us(sampled[index])
            pod_us = round(cpu_us * (1 + self.others))
            energy_uj = round(pod_us * (1 + chance.uniform(-self.unlike, self.unlike)))
            windows.append(PodWindow(edges[index], edges[index + 1], {"cpu": energy_uj}, {}, pod_us))
        spans = [
            Span(f"{name}{step}", name, step, first, last, (counter_us(first), counter_us(last)))
            for step, (start_ms, end_ms) in enumerate(begins)
            for name, first, last in (
                ("epoch", start_ms, end_ms),
                ("pause", end_ms, end_ms + round(self.pause_s * 1000)),
            )
        ]
        found = divide(windows, spans).spans
        return [
            abs(found[f"epoch{step}"].energy_uj / self._true_uj(counter_us, sampled, windows, bounds) - 1) * 100
            for step, bounds in enumerate(begins)
        ]

    @staticmethod
    def _true_uj(
        counter_us: Callable[[int], int], sampled: list[int], windows: list[PodWindow], bounds: tuple[int, int]
    ) -> float:
        """The energy of the windows by the true counter."""
        energy_uj = 0.0
        for index, window in enumerate(windows):
            first, last = max(bounds[0], sampled[index]), min(bounds[1], sampled[index + 1])
            all_us = counter_us(sampled[index + 1]) - counter_us(sampled[index])
            if first < last and all_us:
                energy_uj += window.energy_uj["cpu"] * (counter_us(last) - counter_us(first)) / all_us
        return energy_uj


@pytest.mark.parametrize(
    ("training", "worst"),
    [
        (Training(), 0.1),
        (Training(late_ms=60), 0.1),
        (Training(late_ms=60, unlike=0.25), 0.3),
        (Training(late_ms=60, unlike=0.1, epochs=20, pause_s=0), 1),
        (Training(late_ms=60, unlike=0.1, epochs=20, epoch_s=4), 1),
        (Training(window_ms=60_000, epochs=10, epoch_s=10), 0.1),
        (Training(window_ms=60_000, epochs=10, epoch_s=120, late_ms=60, unlike=0.1), 1),
        (Training(epochs=20, others=0.05, unlike=0.1), 5),
    ],
    ids=[
        "even windows", "late samples", "unlike windows", "no pauses", "spans shorter than a window",
        "short spans in minutes", "minutes", "a second container",
    ],
)  # fmt: skip
def test_an_epoch_has_the_energy_that_the_true_counter_gives_it(training: Training, worst: float) -> None:
    errors = training.worst_errors(20)
    assert errors[-1] < worst, errors


@pytest.mark.parametrize(
    ("window_ms", "windows_before", "epoch_s"),
    [(10_000, 1, 8), (10_000, 3, 8), (10_000, 2, 4), (60_000, 1, 15), (60_000, 2, 70)],
)
def test_a_full_hour_costs_no_accuracy_wherever_in_the_training_it_falls(
    window_ms: int, windows_before: int, epoch_s: float
) -> None:
    """Each hour is divided by itself, so the readings beside it count in it as in the hour that they are of."""
    short = Training(window_ms=window_ms, epoch_s=epoch_s, pause_s=2, late_ms=20)
    crossing = replace(short, began_ms=NOON + HOUR_MS - window_ms * windows_before)
    errors = crossing.worst_errors(60)
    assert errors[-1] < 0.5, errors
    assert errors == pytest.approx(short.worst_errors(60), abs=0.05)


def test_a_counter_that_starts_anew_after_the_hour_costs_the_hour_before_nothing() -> None:
    """A container that was restarted: the readings beside the hour count only as far as the counter did not fall."""
    windows = [PodWindow(NOON + at, NOON + at + 60_000, {"cpu": 600}, {}, 600) for at in range(0, 2 * HOUR_MS, 60_000)]
    last_ms = NOON + HOUR_MS
    before = [
        Span("a", "epoch", 1, last_ms - 170_000, last_ms - 110_000, (1_000, 1_700)),
        Span("b", "epoch", 2, last_ms - 110_000, last_ms - 50_000, (1_700, 2_200)),
    ]
    after = [Span("c", "epoch", 1, last_ms + 10_000, last_ms + 70_000, (5, 605))]
    alone, both = divide(windows, before).spans, divide(windows, before + after).spans
    assert [both[name].energy_uj for name in "ab"] == [alone[name].energy_uj for name in "ab"]


def test_samples_that_are_a_third_of_a_second_late_cost_at_most_some_per_cent() -> None:
    """A node so busy that its agent samples late: windows then hold what was used after their end."""
    errors = Training(late_ms=300).worst_errors(20)
    assert errors[-1] < 4, errors
    assert errors[len(errors) // 2] < 0.1, errors
