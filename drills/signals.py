"""The signals of an installation, as operators see them: dashboard, log lines and traces."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.commands import ROOT
from tests.prometheus_servers import query
from tests.receivers import ReceivedSpan

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/trellis.json").read_text())
# A statement counts as slow from here: less is no surprise on a busy machine. The dashboard offers
# this value as well.
SLOW_SECONDS = 2.5


def expressions(title: str, interval: str, slow: float) -> list[str]:
    """Return the expressions of a panel, for a rate interval and the duration of a slow statement.

    Both are variables that Grafana replaces; the second one is the dashboard's own.
    """
    (panel,) = [each for each in DASHBOARD["panels"] if each["title"] == title]
    return [
        target["expr"].replace("$__rate_interval", interval).replace("$slow", str(slow))
        for target in panel["targets"]
    ]


class Observation:
    """The signals between two moments, in Unix time.

    lines        the JSON lines of all logs
    spans        the spans that an OTLP receiver got
    prometheus   the URL of a server that has scraped all processes meanwhile
    """

    def __init__(
        self,
        prometheus: str,
        began: float,
        ended: float,
        lines: Sequence[dict[str, Any]],
        spans: Sequence[ReceivedSpan],
    ) -> None:
        self._prometheus = prometheus
        self._ended = ended
        self.seconds = ended - began
        self.lines = lines
        self.spans = spans

    def panel(self, title: str, **labels: str) -> float:
        """Return the largest value that the panel has at the end for series with these labels."""
        (expression,) = expressions(title, f"{self.seconds * 1000:.0f}ms", SLOW_SECONDS)
        found = query(self._prometheus, expression, at=self._ended)
        return max(
            (
                float(series["value"][1])
                for series in found
                if labels.items() <= series["metric"].items()
            ),
            default=0,
        )

    def events(self, panel: str, **labels: str) -> float:
        """Return about how many events a panel shows that has a number of them per second."""
        return self.panel(panel, **labels) * self.seconds

    def logs(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.lines if each["event"] == event]


class Signal(NamedTuple):
    """How a fault is seen: on a panel, in lines of the log, and in spans of traces."""

    is_shown: Callable[[Observation], bool]
    lines: Callable[[Observation], Sequence[Mapping[str, Any]]]
    is_traced: Callable[[ReceivedSpan], bool]


def _is_slow(span: ReceivedSpan) -> bool:
    return "db.query.summary" in span.attributes and span.seconds >= SLOW_SECONDS


def _job_lines(found: Observation) -> list[dict[str, Any]]:
    # A job that fails because of a mail is a matter of mail.
    return [each for each in found.logs("job_failed") if each["error"] != "MailError"]


def _is_failed_job(span: ReceivedSpan) -> bool:
    is_job = span.failed and span.name.startswith("job ")
    return is_job and span.attributes["error.type"] != "MailError"


# By the fault; docs/observability.md has the same table.
SIGNALS = {
    "slow statement": Signal(
        lambda found: found.events("Slow statements") > 2,
        lambda found: found.logs("slow_statement"),
        _is_slow,
    ),
    "pool too small": Signal(
        lambda found: found.events("Waits for a connection") > 5,
        lambda found: found.logs("pool_busy"),
        lambda span: span.name == "wait for connection",
    ),
    "lagging replica": Signal(
        lambda found: found.panel("Replica suspended") == 1,
        lambda found: found.logs("replica_suspended"),
        lambda span: "trellis.replica.suspended" in span.attributes,
    ),
    "dead mail server": Signal(
        lambda found: found.events("Mails by outcome", outcome="failed") > 0.5,
        lambda found: found.logs("mail_waits"),
        lambda span: span.failed and span.name == "SMTP send",
    ),
    "failing job": Signal(
        lambda found: found.events("Failed attempts without those of mails") > 0.5,
        _job_lines,
        _is_failed_job,
    ),
}


def json_lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in re.findall(r"^\{.*\}$", log, re.MULTILINE)]


def shown(found: Observation) -> set[str]:
    """Return the names of the faults that the dashboard shows."""
    return {fault for fault, signal in SIGNALS.items() if signal.is_shown(found)}


def logged(found: Observation) -> set[str]:
    """Return the names of the faults that the logs tell of."""
    return {fault for fault, signal in SIGNALS.items() if signal.lines(found)}


def traced(found: Observation) -> set[str]:
    """Return the names of the faults that spans tell of."""
    return {
        fault
        for fault, signal in SIGNALS.items()
        if any(signal.is_traced(span) for span in found.spans)
    }
