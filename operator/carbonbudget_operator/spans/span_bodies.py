"""Bodies of the pods' own requests under /v1/self and of the import of spans, with all bounds on what a pod may send.

A request whose shape is wrong is refused as a whole. A span or count that is wrong is refused alone, with one sentence,
so that one bad line costs none of the others.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from carbonbudget_operator.spans.span_record import Span

MAX_SPANS: Final = 1_000
MAX_BYTES: Final = 256 * 1024
MAX_RESULTS: Final = 1_000
MAX_SPAN_MS: Final = 31 * 86_400_000
# A count is stored by hour, so its length is what it costs. The client cuts longer ones: it posts what was counted
# since the last call, which may be an epoch of many hours.
MAX_COUNT_MS: Final = 86_400_000
MAX_AHEAD_MS: Final = 60_000
ID_PATTERN: Final = r"[A-Za-z0-9._-]{1,64}"
_MAX_INTEGER: Final = 2**60  # as node reports bound theirs; far below a database's 2**63 - 1

_Instant = Annotated[int, Field(strict=True, ge=0, le=2**50)]
_Counter = Annotated[int, Field(strict=True, ge=0, le=_MAX_INTEGER)]
_Id = Annotated[str, Field(strict=True, pattern=f"^{ID_PATTERN}$")]
_Name = Annotated[str, Field(strict=True, min_length=1, max_length=120)]
_RunName = Annotated[str, Field(strict=True, min_length=1, max_length=250)]


class _Body(BaseModel):
    """Fields of a later client are ignored, as those of a line: a refusal would lose up to 1,000 spans."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class SpanBody(BaseModel):
    """One span as a pod sends it. Fields of a later client are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: _Id = Field(description="Chosen by the client; the same id again is the same span")
    name: _Name = Field(description="Printable text")
    step: Annotated[int, Field(strict=True, ge=0, le=_MAX_INTEGER)] | None = None
    start_ms: _Instant = Field(description="UTC milliseconds")
    end_ms: _Instant
    cpu_us: tuple[_Counter, _Counter] | None = Field(
        default=None, description="Cumulative CPU time of the container at start and end, in microseconds"
    )
    gpu_uj: tuple[_Counter, _Counter] | None = Field(
        default=None, description="Cumulative energy of the visible GPUs at start and end, in microjoules"
    )

    def span(self) -> Span:
        """The record of it."""
        return Span(self.id, self.name, self.step, self.start_ms, self.end_ms, self.cpu_us, self.gpu_uj)


class PostedSpans(_Body):
    """POST /v1/self/spans. The spans are read one by one: `span_lines.py`."""

    run: _RunName | None = None
    spans: list[Any] = Field(max_length=MAX_SPANS)


class ImportedSpans(_Body):
    """POST /v1/spans/import: spans of a pod that another one sends, with the verb `import` in its namespace."""

    namespace: str = Field(min_length=1, max_length=63)
    pod_uid: str = Field(max_length=128, pattern=r"^[A-Za-z0-9._-]+$")
    run: _RunName | None = None
    spans: list[Any] = Field(max_length=MAX_SPANS)


class UnitBody(BaseModel):
    """How many of a functional unit (inferences, tokens) were made in [start_ms, end_ms)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: _Id
    name: _Name
    count: _Counter
    start_ms: _Instant
    end_ms: _Instant


class PostedUnits(_Body):
    """POST /v1/self/units. The counts are read one by one: `span_lines.py`."""

    units: list[Any] = Field(max_length=MAX_SPANS)


class PostedProgress(_Body):
    """POST /v1/self/progress: how many steps are done of how many."""

    done: Annotated[int, Field(strict=True, ge=0, le=2**40)]
    total: Annotated[int, Field(strict=True, ge=1, le=2**40)]
    unit: _Name = "step"
    at_ms: _Instant


class RefusedLine(BaseModel):
    """A span or count that was not taken, and why. `id` is empty where it has none that can be shown."""

    id: str
    reason: str


class PostedAnswer(BaseModel):
    """The answer to posted spans and units."""

    accepted: int
    refused: list[RefusedLine]


class SpanResult(BaseModel):
    """One span's figures as integers; null where they are not known yet."""

    id: str
    name: str
    step: int | None
    start_ms: int
    end_ms: int
    energy_uj: int | None = Field(description="Exclusive: these add up to the pod, with the rest")
    inclusive_energy_uj: int | None = Field(description="With all spans inside it; never to be added")
    emissions_ug: int | None = Field(description="Of the exclusive energy and its part of idle and overhead")
    market_emissions_ug: int | None
    embodied_ug: int | None
    low_ug: int | None = Field(description="The range of `emissions_ug`")
    high_ug: int | None
    inclusive_emissions_ug: int | None = Field(default=None, description="Of the inclusive energy; never to be added")
    measured_permille: int | None
    resolution: Literal["window", "weighted", "prorated"]
    state: Literal["provisional", "final"]


class SelfAnswer(BaseModel):
    """The answer to GET /v1/self: the pod's energy in the window and its spans, newest last."""

    namespace: str
    pod: str
    pod_uid: str
    run: str | None
    tracked: bool
    capped: bool = Field(description="Whether the namespace has more tracked pods than are stored; this one is not")
    windows_until_ms: int
    energy_uj: int
    rest_uj: int
    spans: list[SpanResult]


class PredictionBody(BaseModel):
    """Energy and emissions of all that is done and left, with a range."""

    covers: Literal["run", "pod"] = Field(description="`run`: all pods of the namespace with the pod's run label")
    run: str | None = Field(description="The run that is covered; null where it is the pod alone")
    energy_uj: int
    low_uj: int
    high_uj: int
    emissions_ug: int
    low_ug: int
    high_ug: int
    ends_at_ms: int
    state: Literal["provisional"] = "provisional"


class ProgressAnswer(BaseModel):
    """The answer to posted progress; null while too little is known."""

    prediction: PredictionBody | None
