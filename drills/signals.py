"""The signals of an installation: metrics of the API and of the worker, and events of its logs."""

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

# A statement counts as slow from here; a bound of the histogram.
SLOW_SECONDS = 2.5


class Snapshot(NamedTuple):
    """All samples and all log events at one moment."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]
    events: Counter[str]

    def sum(self, name: str, **labels: str) -> float:
        return sum(
            value
            for (sample, found), value in self.samples.items()
            if sample == name and labels.items() <= dict(found).items()
        )


def scraped(ports: Iterable[int]) -> list[Metric]:
    """Return the metrics that are served at these ports."""
    families: list[Metric] = []
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            families += text_string_to_metric_families(response.read().decode())
    return families


def snapshot(ports: Iterable[int], logs: Iterable[str]) -> Snapshot:
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in scraped(ports):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            samples[key] = samples.get(key, 0) + sample.value
    events: Counter[str] = Counter()
    for log in logs:
        for line in re.findall(r"^\{.*\}$", log, re.MULTILINE):
            event = json.loads(line)
            # A job that fails because of a mail is a matter of mail.
            about_mail = event.get("error") == "MailError"
            events[f"{event['event']}{' of a mail' if about_mail else ''}"] += 1
    return Snapshot(samples, events)


def slow_statements(now: Snapshot) -> float:
    name = "trellis_database_statement_duration_seconds"
    return now.sum(f"{name}_count") - now.sum(f"{name}_bucket", le=str(SLOW_SECONDS))


def waits_for_connections(now: Snapshot) -> float:
    return now.sum("trellis_database_pool_wait_seconds_count")


def failed_mails(now: Snapshot) -> float:
    return now.sum("trellis_mails_total", outcome="failed")


def failed_jobs(now: Snapshot) -> float:
    """Return the failed attempts at jobs, without those that failed because of a mail."""
    name = "trellis_job_duration_seconds_count"
    attempts = now.sum(name, outcome="failed") + now.sum(name, outcome="dead")
    return attempts - failed_mails(now)


class Signal(NamedTuple):
    """A number of the metrics that rises, and the log event that tells more, if there is one."""

    measure: Callable[[Snapshot], float]
    event: str | None = None


def suspended_replicas(now: Snapshot) -> float:
    return now.sum("trellis_replica_suspended")


# By the fault that raises it. The panels that docs/observability.md names show the same numbers,
# but that of slow statements begins at half a second.
SIGNALS = {
    "slow statement": Signal(slow_statements, "slow_statement"),
    "pool too small": Signal(waits_for_connections),
    "lagging replica": Signal(suspended_replicas, "replica_suspended"),
    "dead mail server": Signal(failed_mails, "mail_waits"),
    "failing job": Signal(failed_jobs, "job_failed"),
}


def risen(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the names of the faults whose metric has risen."""
    return {
        fault for fault, signal in SIGNALS.items() if signal.measure(after) > signal.measure(before)
    }


def logged(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the names of the faults whose event was logged meanwhile."""
    return {
        fault
        for fault, signal in SIGNALS.items()
        if signal.event and after.events[signal.event] > before.events[signal.event]
    }
