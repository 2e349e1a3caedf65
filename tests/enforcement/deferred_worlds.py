"""Jobs of the tests of deferral, and the terms that they are decided by."""

from __future__ import annotations

from typing import Any

from tests.enforcement.worlds import HOUR, NOW, Body, job_body

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.cleaner_hours.intensity_hours import IntensityFigure, intensity_hours
from carbonbudget_operator.enforcement.deferral_actions import (
    DeferralTerms,
)
from carbonbudget_operator.enforcement.deferral_forecast import DeferralForecast
from carbonbudget_operator.enforcement.job_fields import Job, parse_job

T0 = NOW - NOW % HOUR + HOUR  # the first whole hour after NOW
DEFER = {"carbonbudget.dev/defer": "true"}
START = "carbonbudget.dev/deferred-start"
FORECAST = "carbonbudget.dev/deferred-forecast"
STARTED = "carbonbudget.dev/deferred-started"
HELD = "carbonbudget.dev/deferred-held-by"


def wish(finish_by: int | str = NOW + 12 * HOUR, duration: str = "1h") -> dict[str, str]:
    text = finish_by if isinstance(finish_by, str) else format_time(finish_by)
    return {"carbonbudget.dev/finish-by": text, "carbonbudget.dev/expected-duration": duration}


def deferred_body(name: str = "train", namespace: str = "team-a", **more: Any) -> Body:
    """A Job that was just created suspended; `more` as of job_body, and `marks`: annotations beside the wish."""
    annotations = more.pop("annotations", wish()) | more.pop("marks", {})
    container = {"name": "c", "resources": {"requests": {"cpu": "2"}}}
    given: dict[str, Any] = {
        "labels": DEFER, "suspend": True, "status": {}, "metadata": {"creationTimestamp": format_time(NOW)},
        "annotations": annotations,
    }  # fmt: skip
    body = job_body(name, namespace, **(given | more))
    body["spec"]["template"]["spec"] = {"containers": [container]}
    return body


def deferred(name: str = "train", namespace: str = "team-a", **more: Any) -> Job:
    return parse_job(deferred_body(name, namespace, **more))


def forecast(*mg: int, first: int = T0 - HOUR, made_at: int = NOW) -> DeferralForecast:
    """Of the hours from that of NOW on; by default the fifth hour is the cleanest one."""
    mg = mg or (500_000, 400_000, 400_000, 400_000, 100_000, 400_000)
    figures = (IntensityFigure(first + n * HOUR, "DE", one, one, one, True) for n, one in enumerate(mg))
    return DeferralForecast(intensity_hours(figures, first), made_at)


def terms(now: int = NOW, **more: Any) -> DeferralTerms:
    given: dict[str, Any] = {
        "enabled": True, "enforced": True, "jitter_s": 0, "here_since": NOW - HOUR,
        "exempt": frozenset({"kube-system"}), "forecast": forecast(),
    }  # fmt: skip
    return DeferralTerms(now=now, **(given | more))
