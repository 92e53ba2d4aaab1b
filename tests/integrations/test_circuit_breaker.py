"""The circuit breaker opens, probes and closes, at the times of a clock that the test sets."""

import asyncio
from contextlib import suppress

import pytest

from backend.integrations.circuit_breaker import CircuitBreaker, CircuitOpenError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def attempt(breaker: CircuitBreaker, error: Exception | None = None) -> None:
    """Make a call that raises `error`; an OSError is a failure of the service."""
    with suppress(OSError, ValueError), breaker.guarding(lambda each: isinstance(each, OSError)):
        if error is not None:
            raise error


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(failures=2, seconds=30, clock=clock)
    for _ in range(2):
        attempt(breaker, OSError())
    return breaker


def test_failures_in_succession_open_it() -> None:
    breaker = CircuitBreaker(failures=2, clock=Clock())
    attempt(breaker, OSError())
    attempt(breaker, ValueError())
    attempt(breaker, OSError())
    attempt(breaker)
    attempt(breaker, OSError())
    assert breaker.remaining() == 0
    attempt(breaker, OSError())
    with pytest.raises(CircuitOpenError) as caught:
        attempt(breaker)
    assert caught.value.seconds == 30


def test_a_successful_probe_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    attempt(breaker)
    attempt(breaker, OSError())
    assert breaker.remaining() == 0


def test_a_failed_probe_opens_it_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    attempt(breaker, OSError())
    clock.now = 59
    with pytest.raises(CircuitOpenError):
        attempt(breaker)
    clock.now = 60
    attempt(breaker)


def test_one_probe_at_a_time() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    with breaker.guarding(lambda _: True), pytest.raises(CircuitOpenError):
        attempt(breaker)
    attempt(breaker)


def test_a_cancelled_probe_leaves_it_half_open() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    with suppress(asyncio.CancelledError), breaker.guarding(lambda _: True):
        raise asyncio.CancelledError
    attempt(breaker, OSError())
    assert breaker.remaining() == 30


def test_calls_from_before_do_not_prolong_it() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=2, seconds=30, clock=clock)
    with suppress(OSError), breaker.guarding(lambda _: True):
        for _ in range(2):
            attempt(breaker, OSError())
        clock.now = 10
        raise OSError
    assert breaker.remaining() == 20
