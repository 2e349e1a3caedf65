"""The library's one thread, and how others wake it and wait for it. A daemon: it never keeps a process alive."""

from __future__ import annotations

import threading
import time

from carbonbudget.client_notices import notice_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carbonbudget.client_settings import ClientSettings
    from carbonbudget.delivery import Delivery
    from carbonbudget.tracking_session import TrackingSession


class DeliveryThread:
    """Runs a `Delivery` in a daemon thread and lets others wake it and wait for it."""

    def __init__(self, session: TrackingSession, settings: ClientSettings) -> None:
        self._session, self._settings = session, settings
        self._queue, self._units = session.queue, session.units
        # Not an Event: a signal handler may wake the thread while the code that it interrupts does so.
        self._sleeping = threading.Lock()
        self._sleeping.acquire()
        self.changed = threading.Condition()
        self._asked = self._done = 0
        self._ended = False
        self.delivery: Delivery | None = None
        self.imported = threading.Event()
        self.thread = threading.Thread(target=self._run, name="carbonbudget", daemon=True)

    def wake(self) -> None:
        """Let the thread take a turn now."""
        try:
            self._sleeping.release()
        except RuntimeError:
            pass  # it was woken already

    def end(self) -> None:
        """Let the thread end after a last turn."""
        with self.changed:
            self._ended = True
            self._asked += 1
        self.wake()

    def flush(self, seconds: float) -> bool:
        """Wait for a whole turn up to `seconds`. Whether nothing is left. A listener, in the thread, does not wait."""
        if threading.current_thread() is self.thread:
            return self.delivery is not None and self.delivery.empty
        until_s = time.monotonic() + seconds
        with self.changed:
            self._asked += 1
            asked = self._asked
            self.wake()
            while self._done < asked and (rest_s := until_s - time.monotonic()) > 0 and self.thread.is_alive():
                self.changed.wait(min(rest_s, 0.5))
            return self._done >= asked and self.delivery is not None and self.delivery.empty

    def wait_for_a_turn(self, seconds: float) -> None:
        """Wait until the thread has taken a turn, up to `seconds`."""
        with self.changed:
            self.changed.wait(max(0.0, seconds))

    def _run(self) -> None:
        try:
            # Imported here: TLS and JSON take longer to import than a span may cost. And now, also what is needed
            # later: a process that forks while this thread imports a module leaves its lock held in the child.
            import encodings.ascii

            from carbonbudget.delivery import Delivery
            from carbonbudget.gpu_counter import nvml_module

            server = None
            if self._settings.server_url:
                import encodings.idna  # noqa: F401 - of the name of a host

                from carbonbudget.server_delivery import ServerDelivery

                server = ServerDelivery(self._session, self._settings)
            if self._settings.log.lower().endswith(".csv"):
                import csv  # noqa: F401 - of the log
            nvml_module()
            self.imported.set()
            self.delivery = delivery = Delivery(self._session, self._settings, self._queue, self._units, server)
        except Exception as error:
            notice_error("the delivery thread", error)
            return
        finally:
            self.imported.set()
        while not (self._ended and self._done >= self._asked):
            self._sleeping.acquire(timeout=delivery.wait_s())
            asked = self._asked
            try:
                delivery.turn(asked=asked > self._done)
            except BaseException as error:  # also SystemExit of a listener: this thread is ours
                notice_error("the delivery thread", error)
            with self.changed:
                self._done = max(self._done, asked)
                self.changed.notify_all()
