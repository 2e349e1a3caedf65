"""`track`: spans as context managers and as decorators of functions, coroutines and generators."""

from __future__ import annotations

import functools

from carbonbudget.client_notices import notice, notice_error
from carbonbudget.tracked_span import OPEN_SPANS, TrackedSpan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])

    @overload
    def track(name: str, step: int | None = None) -> Tracking: ...
    @overload
    def track(name: F) -> F: ...
    def track(name: Any, step: int | None = None) -> Any:
        """At run time it is the one below: `typing` takes longer to import than all of the client."""
else:

    def track(name, step=None):
        """A span called `name`: `with track("epoch", step=3) as span:`, `@track("load")`, or `track("fit").start()`.

        `@track` without a name takes the function's: else its first call would fail, in the midst of a training.
        """
        if callable(name) or isinstance(name, (staticmethod, classmethod)):
            inner = getattr(name, "__func__", name)
            return Tracking(getattr(inner, "__name__", type(inner).__name__), step)(name)
        return Tracking(name, step)


class Tracking:
    """What `track` returns. It may be entered again, also while it is open: each time is a span of its own."""

    __slots__ = ("_name", "_spans", "_step")

    def __init__(self, name: str, step: int | None) -> None:
        self._name, self._step = name, step
        self._spans: list[TrackedSpan] = []

    def start(self) -> TrackedSpan:
        """Start a span. Whoever starts it calls its `end`."""
        return TrackedSpan(self._name, self._step)

    def again(self) -> Tracking:
        """One like it for a single call: calls of a function in other threads and contexts cannot be mixed up."""
        return Tracking(self._name, self._step)

    def __enter__(self) -> TrackedSpan:
        span = TrackedSpan(self._name, self._step)
        self._spans.append(span)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Threads that share this object each end their own: the last one of it that is open in this context.
            spans = self._spans
            for span in reversed(OPEN_SPANS.get()):
                if span in spans:
                    spans.remove(span)
                    break
            else:
                span = spans.pop()
            span.end()
        except Exception as failed:
            notice_error("track", failed)

    async def __aenter__(self) -> TrackedSpan:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """The function with a span around each call; around the whole iteration if it is a generator."""
        import inspect

        if isinstance(function, (staticmethod, classmethod)):
            # A method object of Python 3.9 cannot be called itself.
            method: F = type(function)(self(function.__func__))
            return method
        if inspect.isclass(function) or not callable(function):
            notice("decorator", f"track decorates functions; {function!r} is none and stays as it is")
            return function
        wrap = _of_function
        for is_kind, other in (
            (inspect.iscoroutinefunction, _of_coroutine),
            (inspect.isasyncgenfunction, _of_async_generator),
            (inspect.isgeneratorfunction, _of_generator),
        ):
            if is_kind(function):
                wrap = other
        tracked: F = wrap(function, self)
        return tracked


def _of_function(function: Any, tracking: Tracking) -> Any:
    @functools.wraps(function)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        with tracking.again():
            return function(*args, **kwargs)

    return tracked


def _of_coroutine(function: Any, tracking: Tracking) -> Any:
    @functools.wraps(function)
    async def tracked(*args: Any, **kwargs: Any) -> Any:
        with tracking.again():
            return await function(*args, **kwargs)

    return tracked


def _of_generator(function: Any, tracking: Tracking) -> Any:
    @functools.wraps(function)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        with tracking.again():
            return (yield from function(*args, **kwargs))

    return tracked


def _of_async_generator(function: Any, tracking: Tracking) -> Any:
    @functools.wraps(function)
    async def tracked(*args: Any, **kwargs: Any) -> Any:
        with tracking.again():
            generator = function(*args, **kwargs)
            try:
                value = await generator.__anext__()
                while True:
                    try:
                        sent = yield value
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as error:
                        value = await generator.athrow(error)
                    else:
                        value = await generator.asend(sent)
            except StopAsyncIteration:
                return

    return tracked
