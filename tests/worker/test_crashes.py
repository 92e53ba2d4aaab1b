"""Crashes of workers lose no job, and no job runs twice at the same time."""

import os
import signal
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from backend.worker.job_execution import PATIENT_ATTEMPTS
from tests.commands import eventually
from tests.worker_process import NOTE, WAIT, RunsTable, Told, run_worker

# A killed worker counts as dead after a second instead of most of a minute.
HASTY = {"heartbeat": 0.2, "dead_after": 1, "poll": 0.1, "first_pause": 0.1}


@pytest.fixture
def ledger(own_database_url: str) -> RunsTable:
    return RunsTable(own_database_url).open()


@pytest.mark.slow
def test_a_killed_workers_job_is_run_by_another(ledger: RunsTable, tmp_path: Path) -> None:
    ledger.enqueue(WAIT, "tea")
    with run_worker(ledger, tmp_path, **HASTY) as victim:
        eventually(lambda: ledger.pids("tea", "begun"))
        victim.kill(signal.SIGKILL)
        victim.wait()
    assert ledger.jobs() == [("doing", 0)]
    ledger.release("tea")
    with run_worker(ledger, tmp_path, **HASTY) as other:
        ledger.wait_until_empty()
        assert "job_abandoned" in other.output
    assert ledger.pids("tea", "begun") == [victim.pid, other.pid]
    assert ledger.pids("tea", "ended") == [other.pid]


def begun_by(ledger: RunsTable, pid: int) -> bool:
    return pid in ledger.pids("tea", "begun")


@pytest.mark.slow
def test_a_job_that_kills_worker_after_worker_is_dead_in_the_end(
    ledger: RunsTable, tmp_path: Path
) -> None:
    ledger.enqueue(WAIT, "tea")
    # A job is retried after one killed worker, even if it allows only one attempt.
    for attempts, left in ((0, "todo"), (PATIENT_ATTEMPTS - 1, "failed")):
        ledger.set_attempts(attempts)
        with run_worker(ledger, tmp_path, **HASTY) as victim:
            eventually(partial(begun_by, ledger, victim.pid))
            victim.kill(signal.SIGKILL)
        with run_worker(ledger, tmp_path, **{**HASTY, "first_pause": 1000}) as other:
            other.wait_for("job_dead" if left == "failed" else "job_abandoned")
            # The event is logged shortly before the state is stored.
            eventually(partial(_are, ledger, (left, attempts + 1)))


def _are(ledger: RunsTable, job: tuple[str, int]) -> bool:
    return ledger.jobs() == [job]


@pytest.mark.slow
def test_an_event_whose_worker_is_killed_is_delivered_again_and_in_order(
    ledger: RunsTable, tmp_path: Path
) -> None:
    """The first worker is killed between the effect of the handler and the end of the job."""
    ledger.publish(Told("tea"), Told("milk"), Told("cake", listener=2))
    ledger.release("milk")
    ledger.release("cake")
    with run_worker(ledger, tmp_path, **HASTY) as victim:
        eventually(lambda: ledger.pids("tea", "begun") and ledger.pids("cake", "ended"))
        victim.kill(signal.SIGKILL)
        victim.wait()
    # The event of the same aggregate waits, also while nobody runs the first one.
    assert ledger.pids("milk", "begun") == []
    with run_worker(ledger, tmp_path, **HASTY), run_worker(ledger, tmp_path, **HASTY):
        eventually(lambda: len(ledger.pids("tea", "begun")) == 2)
        assert ledger.pids("milk", "begun") == []
        ledger.release("tea")
        ledger.wait_until_empty()
    # The id is the same, so the handler can recognise the repetition.
    first, again = ledger.deliveries("tea")
    assert [first] == [again] != ledger.deliveries("milk")
    assert [len(ledger.pids(word, "ended")) for word in ("tea", "milk")] == [1, 1]


@pytest.mark.slow
def test_asked_to_stop_it_finishes_what_runs(ledger: RunsTable, tmp_path: Path) -> None:
    ledger.enqueue(WAIT, "tea")
    with run_worker(ledger, tmp_path) as worker:
        eventually(lambda: ledger.pids("tea", "begun"))
        worker.kill(signal.SIGTERM)
        worker.kill(signal.SIGTERM)
        ledger.enqueue(NOTE, "milk")
        ledger.release("tea")
        assert worker.wait() == 0
    assert ledger.pids("tea", "ended") == [worker.pid]
    # A job that was not started is left to other workers.
    assert ledger.jobs() == [("todo", 0)]


@pytest.mark.slow
def test_what_does_not_finish_in_time_is_given_back(ledger: RunsTable, tmp_path: Path) -> None:
    ledger.enqueue(WAIT, "tea")
    with run_worker(ledger, tmp_path, patience=0.2) as worker:
        eventually(lambda: ledger.pids("tea", "begun"))
        worker.kill(signal.SIGTERM)
        assert worker.wait() == 0
        assert "job_interrupted" in worker.output
    # The job is returned at once, and the attempt does not count.
    assert ledger.jobs() == [("todo", 0)]
    ledger.release("tea")
    with run_worker(ledger, tmp_path) as other:
        ledger.wait_until_empty()
    assert ledger.pids("tea", "ended") == [other.pid]


@pytest.mark.slow
def test_several_workers_share_the_jobs_and_run_none_twice(
    ledger: RunsTable, tmp_path: Path
) -> None:
    words = [f"word {number}" for number in range(200)]
    with ExitStack() as stack:
        workers = [stack.enter_context(run_worker(ledger, tmp_path)) for _ in range(3)]
        for start in range(0, len(words), 20):
            ledger.enqueue(NOTE, *words[start : start + 20])
        ledger.wait_until_empty()
    rows = [(word, what) for word in words for what in ("begun", "ended")]
    assert [len(ledger.pids(*row)) for row in rows] == [1] * len(rows)
    shares = Counter(ledger.pids(word, "begun")[0] for word in words)
    assert shares.keys() <= {worker.pid for worker in workers}
    assert len(shares) > 1


@pytest.mark.slow
def test_a_frozen_worker_loses_its_jobs_and_knows_it(ledger: RunsTable, tmp_path: Path) -> None:
    ledger.enqueue(WAIT, "tea")
    config = {**HASTY, "dead_after": 3, "patience": 0.1}
    with run_worker(ledger, tmp_path, **config) as frozen:
        eventually(lambda: ledger.pids("tea", "begun"))
        os.kill(frozen.pid, signal.SIGSTOP)
        with run_worker(ledger, tmp_path, **config) as other:
            eventually(partial(begun_by, ledger, other.pid))
            os.kill(frozen.pid, signal.SIGCONT)
            frozen.wait_for("worker_waits")
            ledger.release("tea")
            ledger.wait_until_empty()
            assert ledger.pids("tea", "begun") == [frozen.pid, other.pid]
            assert other.pid in ledger.pids("tea", "ended")
            # The frozen worker runs jobs again, registered as a new worker.
            other.kill(signal.SIGTERM)
            other.wait()
            ledger.enqueue(NOTE, "milk")
            ledger.wait_until_empty()
    assert ledger.pids("milk", "ended") == [frozen.pid]
