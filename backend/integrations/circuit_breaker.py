"""A circuit breaker: calls of a service that is down fail at once instead of waiting for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CircuitOpenError(Exception):
    """A call that was not made. `seconds` is the time until the next one may be made."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not called for {seconds:.0f} s")
        self.seconds = seconds


class CircuitBreaker:
    """The state of one service, in one event loop.

    It opens after `failures` failed calls in succession and then admits none for `seconds`. After
    that it is half open: it admits one call at a time, whose success closes it and whose failure
    opens it again. A cancelled call says nothing about the service.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._admits_at: float | None = None
        self._is_probed = False

    def remaining(self) -> float:
        """Return the seconds until a call may be made; 0 if one may be made now."""
        if self._admits_at is None:
            return 0
        # A probe that is under way has a result soon.
        return max(self._admits_at - self._clock(), float(self._is_probed))

    @contextmanager
    def guarding(self, is_failure: Callable[[Exception], bool]) -> Iterator[None]:
        """Admit the call in the block or raise `CircuitOpenError`.

        Exceptions for which `is_failure` is true are failures of the service; all others, and none,
        show that it responds.
        """
        if seconds := self.remaining():
            raise CircuitOpenError(seconds)
        is_probe = self._is_probed = self._admits_at is not None
        try:
            yield
        except Exception as error:
            if is_failure(error):
                self._fail(is_probe)
            else:
                self._close()
            raise
        else:
            self._close()
        finally:
            if is_probe:
                self._is_probed = False

    def _fail(self, is_probe: bool) -> None:
        self._failures += 1
        # Calls that began before it opened prolong nothing.
        if is_probe or (self._admits_at is None and self._failures >= self._limit):
            self._admits_at = self._clock() + self._seconds

    def _close(self) -> None:
        self._failures = 0
        self._admits_at = None
