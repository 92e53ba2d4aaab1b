"""The metrics of a process. Labels have few values, all declared in code, and no personal data."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from backend.product import VERSION
from backend.telemetry.spans import METHODS

# The route of requests for unknown paths, and the values of other labels that are not declared.
UNKNOWN, OTHER = "unknown", "other"
# More names of statements than the code has.
MAX_STATEMENTS = 300
# The outcomes are known before the first event: Prometheus does not notice that a counter which
# appears with the value 1 has risen.
SIGN_INS = (
    *("success", "invalid_credentials", "account_disabled", "email_not_verified"),
    "rate_limited",
)
MAILS = ("sent", "failed", "given_up", "refused")
LOOK_UPS = ("hit", "miss", "unavailable")
SERVICE_CALLS = ("done", "refused", "failed", "suspended")
ATTEMPTS = ("done", "failed", "dead", "interrupted")
WAITS = ("granted", "refused", "timed_out", "cancelled")
REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STATEMENT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
WAIT_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
JOB_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600)


class Buffer:
    """Observations of a histogram that it gets later, all at once.

    With values in files that processes share, an observation takes several microseconds, which is
    a percent of a short request; this one takes a tenth.
    """

    __slots__ = ("_bounds", "_counts", "_histogram", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._bounds = histogram._upper_bounds  # noqa: SLF001  # the library has no method for it
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        self._sum += amount
        self._counts[bisect_left(self._bounds, amount)] += 1

    def flush(self) -> None:
        """Pass on what was observed since the last call."""
        if not any(self._counts):
            return
        buckets = self._histogram._buckets  # noqa: SLF001  # see above
        for bucket, count in zip(buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self._sum)  # noqa: SLF001  # see above
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0


class Metrics:
    """The metrics of one process, in a registry of their own.

    All processes of a server define the same metrics. Methods are for places that are passed often
    or limit the values of labels; other places use the metrics themselves. `flush` is called once
    a second and at the end. Times are in seconds.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests_under_way = 0
        self._requests: dict[tuple[str, str | None, int], Buffer] = {}
        self._statements: dict[str, Buffer] = {}
        self.request_seconds = self._histogram(
            "trellis_http_request_duration_seconds",
            "Requests by method, route template and status; 0 is the status of a request whose "
            "client left before the response.",
            ("method", "route", "status"),
            REQUEST_SECONDS,
        )
        build = self._gauge(
            "trellis_build_info", "1, with the version of the product.", ("version",), "livemax"
        )
        build.labels(VERSION).set(1)
        self.in_flight = self._gauge(
            "trellis_http_requests_in_flight", "Requests that are being processed."
        )
        self.rate_limited = self._counter(
            "trellis_rate_limited_total", "Attempts that a limit has refused.", ("limit",)
        )
        self.sign_ins = self._counter(
            "trellis_sign_ins_total", "Attempts to sign in, by outcome.", ("outcome",)
        )
        self.mails = self._counter(
            "trellis_mails_total",
            "Attempts to send mails: sent; failed, and repeated later; given_up, because the last "
            "attempt has failed; refused, because no server will ever take the mail.",
            ("outcome",),
        )
        self.cache = self._counter(
            "trellis_cache_requests_total",
            "Look-ups in the response cache: hit, miss, or unavailable.",
            ("outcome",),
        )
        for counter, outcomes in (
            (self.sign_ins, SIGN_INS),
            (self.mails, MAILS),
            (self.cache, LOOK_UPS),
        ):
            for outcome in outcomes:
                counter.labels(outcome)
        self._define_database()
        self._define_jobs()
        self._define_services()

    def _define_database(self) -> None:
        self.statement_seconds = self._histogram(
            "trellis_database_statement_duration_seconds",
            "Statements by verb and tables.",
            ("statement",),
            STATEMENT_SECONDS,
        )
        self.database_errors = self._counter(
            "trellis_database_errors_total", "Database errors by the kind of trouble.", ("trouble",)
        )
        self.pool_wait_seconds = self._histogram(
            "trellis_database_pool_wait_seconds",
            "Waits for a connection of a pool without a free one, by outcome.",
            ("pool", "outcome"),
            WAIT_SECONDS,
        )
        self.pool_size = self._gauge(
            "trellis_database_pool_size", "Maximal number of connections.", ("pool",)
        )
        self.pool_in_use = self._gauge(
            "trellis_database_pool_in_use", "Connections in use.", ("pool",)
        )
        self.pool_waiting = self._gauge(
            "trellis_database_pool_waiting", "Tasks that wait for a connection.", ("pool",)
        )
        self.replica_lag = self._gauge(
            "trellis_replica_lag_seconds",
            "Lag of the replica; -Inf if it is unknown.",
            mode="livemax",
        )
        self.replica_suspended = self._gauge(
            "trellis_replica_suspended",
            "1 while reads of the replica use the primary, because it is away or lags behind.",
            mode="livemax",
        )

    def _define_jobs(self) -> None:
        self.job_seconds = self._histogram(
            "trellis_job_duration_seconds",
            "Attempts at jobs by outcome: done; failed, and repeated later; dead; interrupted.",
            ("name", "outcome"),
            JOB_SECONDS,
        )
        self.jobs_waiting = self._gauge(
            "trellis_jobs_waiting", "Jobs that are due and not running yet.", ("name",)
        )
        self.oldest_job_seconds = self._gauge(
            "trellis_jobs_oldest_age_seconds",
            "Time since the longest waiting job became due.",
            ("name",),
        )
        self.jobs_dead = self._gauge(
            "trellis_jobs_dead", "Jobs that have failed for good and are kept.", ("name",)
        )

    def _define_services(self) -> None:
        self._circuits: dict[str, Callable[[], bool]] = {}
        self.service_seconds = self._histogram(
            "trellis_service_call_duration_seconds",
            "Calls of external services, with all attempts: done; refused by the service; failed, "
            "without a usable response; suspended, and not made, because the last ones failed.",
            ("service", "outcome"),
            REQUEST_SECONDS,
        )
        self.circuit_open = self._gauge(
            "trellis_service_circuit_open",
            "1 while calls of the service are not made, because the last ones failed.",
            ("service",),
            mode="livemax",
        )

    def expect_service(self, service: str, is_open: Callable[[], bool]) -> None:
        """Begin the series of calls of this service; `is_open` tells whether none are made."""
        for outcome in SERVICE_CALLS:
            self.service_seconds.labels(service, outcome)
        self._circuits[service] = is_open
        self.sample_circuits()

    def sample_circuits(self) -> None:
        for service, is_open in self._circuits.items():
            self.circuit_open.labels(service).set(is_open())

    def expect_jobs(self, names: Iterable[str]) -> None:
        """Begin the series of jobs with these names."""
        for name in names:
            for outcome in ATTEMPTS:
                self.job_seconds.labels(name, outcome)

    def expect_troubles(self, kinds: Iterable[str]) -> None:
        """Begin the series of these kinds of database errors."""
        for kind in kinds:
            self.database_errors.labels(kind)

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Record a request; `route` is None for an unknown path."""
        if method not in METHODS:
            method = OTHER
        key = (method, route, status)
        found = self._requests.get(key)
        if found is None:
            found = Buffer(self.request_seconds.labels(method, route or UNKNOWN, str(status)))
            self._requests[key] = found
        found.observe(seconds)

    def statement(self, name: str, seconds: float) -> None:
        """Record a statement; see `statement_name`."""
        found = self._statements.get(name)
        if found is None:
            if len(self._statements) >= MAX_STATEMENTS:
                name = OTHER
            found = self._statements.setdefault(name, Buffer(self.statement_seconds.labels(name)))
        found.observe(seconds)

    def flush(self) -> None:
        """Pass on the requests and statements that were recorded since the last call."""
        for buffer in (*self._requests.values(), *self._statements.values()):
            buffer.flush()

    def waits_of(self, pool: str) -> Callable[[float, str], None]:
        """Return a recorder of waits for a connection of this pool, and of their outcomes."""

        waits = {outcome: self.pool_wait_seconds.labels(pool, outcome) for outcome in WAITS}

        def record(seconds: float, outcome: str) -> None:
            waits[outcome].observe(seconds)

        return record

    def _counter(self, name: str, text: str, labels: Collection[str]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(
        self, name: str, text: str, labels: Collection[str] = (), mode: str = "livesum"
    ) -> Gauge:
        # `mode` combines the values of the living processes of a server.
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def _histogram(
        self, name: str, text: str, labels: Collection[str], buckets: Sequence[float]
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)
