"""Settings from the environment and `.env`; no other file reads them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend.addresses.web_origins import allows_origin
from backend.core.setting_types import (
    DatabaseURL,
    Hosts,
    Networks,
    Origins,
    PathPrefix,
    ProductName,
    RedisURL,
)
from backend.product import TITLE
from backend.ratelimit.rules import Storage, parse_rules

Environment = Literal["development", "test", "staging", "production"]
Pooler = Literal["session", "transaction"]
CacheStorage = Literal["none", "memory", "redis"]
LOCAL: frozenset[Environment] = frozenset({"development", "test"})
SECRET_KEY_BYTES = 32


class SettingsError(Exception):
    """Invalid settings. `str()` lists the problems, one a line, without values."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(["The settings are not usable:", *(f"  {p}" for p in problems)]))


def _is_weak(key: str) -> bool:
    # Repeated patterns and placeholders have few distinct characters.
    return len(key.encode()) < SECRET_KEY_BYTES or len(set(key)) < 10 or "change" in key.lower()


class SettingsBase(BaseSettings):
    """Base of the application's and of each module's settings."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    def unsafe(self) -> list[str]:
        """Return the problems in staging and production; each sentence names the variable."""
        return []

    def conflicts(self, core: "Settings") -> list[str]:
        """Return the problems beside the settings of the core, in the same form."""
        return []


class Settings(SettingsBase):
    """The settings of the core. Modules declare their own settings in their folders."""

    environment: Environment = Field(
        "development", description="Selects defaults and safety checks."
    )
    product_name: ProductName = Field(
        TITLE,
        max_length=100,
        description="Name of the product in mails and in the API's documentation.",
    )
    database_url: DatabaseURL | None = Field(
        None,
        description="`postgresql://user:password@host/name`; in the password `@` is written "
        "`%40`, as in any URL. Unset: an embedded PostgreSQL, in development and test only.",
    )
    database_replica_url: DatabaseURL | None = Field(
        None, description="A read replica for reads outside transactions."
    )
    replica_max_lag: float = Field(
        10,
        gt=0,
        description="Maximal lag of the replica in seconds; reads use the primary if the lag is "
        "larger or the replica is unavailable.",
    )
    request_timeout: float = Field(
        30,
        gt=0,
        le=600,
        description="Maximal seconds of a request, without its COMMIT; then 503.",
    )
    database_pooler: Pooler = Field(
        "session",
        description="`transaction` if DATABASE_URL and DATABASE_REPLICA_URL lead to pgbouncer, RDS "
        "Proxy or another pooler that assigns a server session per transaction.",
    )
    database_direct_url: DatabaseURL | None = Field(
        None,
        description="URL of the server itself, or of a pooler that keeps sessions, for migrations "
        "and the worker's notifications. Unset: DATABASE_URL.",
    )
    database_pool_size: int = Field(
        20,
        ge=2,
        le=200,
        description="Connections of one process: half of them for transactions, half for reads.",
    )
    database_pool_timeout: float = Field(
        5, gt=0, description="Seconds to wait for a free connection; then 503."
    )
    database_statement_timeout: float = Field(
        15, gt=0, description="Maximal seconds of a statement; then 503."
    )
    database_expensive_read_timeout: float = Field(
        3,
        gt=0,
        description="Maximal seconds of a statement of a search, a count or another expensive "
        "read, unless DATABASE_STATEMENT_TIMEOUT is shorter; then 503.",
    )
    database_slow_statement: float = Field(
        0.5, gt=0, description="Seconds from which a statement is logged as slow, by its name."
    )
    redis_url: RedisURL | None = Field(
        None,
        description="Redis for counts of requests, cached responses and temporary values: "
        "`redis://user:password@host:6379/0`, `rediss://` for TLS, or `unix://`.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="At least 32 bytes; signs tokens and cursors and keys the password hashes. "
        "Change it together with SECRET_KEY_PREVIOUS. Unset: generated once per data folder, in "
        "development and test only.",
    )
    secret_key_previous: SecretStr | None = Field(
        None,
        description="Former values of SECRET_KEY, comma separated, newest first: their tokens and "
        "passwords remain valid, and are renewed with SECRET_KEY when used. With several servers, "
        "first add the new key here on all of them, then swap the two.",
    )
    data_dir: Path = Field(Path("data"), description="Embedded database, generated secrets.")
    cors_origins: Annotated[Origins, NoDecode] = Field(
        (),
        description="Origins whose pages may call the API, comma separated or a JSON list: "
        "`https://app.example.com`. In development, `http://localhost` and `http://127.0.0.1` with "
        "any port may call, too.",
    )
    allowed_hosts: Annotated[Hosts, NoDecode] = Field(
        (),
        description="Host names to serve, comma separated or a JSON list; `*.example.com` stands "
        "for all subdomains. Unset in development: addresses, names without a dot, `*.localhost`.",
    )
    trusted_proxies: Annotated[Networks, NoDecode] = Field(
        (),
        description="Addresses and networks of proxies, comma separated, whose `X-Forwarded-For` "
        "and `X-Forwarded-Proto` are used, and without ROOT_PATH also `X-Forwarded-Prefix`.",
    )
    root_path: PathPrefix = Field(
        "",
        description="Path prefix below which a proxy serves the API, such as `/backend`; all paths "
        "in responses begin with it. The proxy may remove it from requests or keep it.",
    )
    keep_alive: int = Field(
        75,
        ge=1,
        le=3600,
        description="Maximal idle seconds of a connection; must exceed those of the load balancer.",
    )
    max_connections: int = Field(
        1000,
        ge=10,
        le=100_000,
        description="Connections of one process; at the limit the longest idle one is closed, and "
        "if none is idle, new ones get 503.",
    )
    rate_limit_enabled: bool = Field(
        True,
        description="`false` disables all limits, including those on password guessing; in "
        "development and test only.",
    )
    rate_limit_default: str = Field(
        "60/minute;1000/hour",
        description="Requests per user, or per address if not signed in; also `10/5 minutes`.",
    )
    rate_limit_storage: Storage | None = Field(
        None,
        description="Storage of the counts: memory (single worker only), postgres or redis. "
        "Unset: redis with REDIS_URL, else memory for a single worker in development and test, "
        "else postgres.",
    )
    cache_storage: CacheStorage | None = Field(
        None,
        description="Storage of cached responses to anonymous callers: none, memory (of each "
        "process) or redis. Unset: redis with REDIS_URL, else none in development and test, else "
        "memory.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level to log."
    )
    log_format: Literal["json", "console"] | None = Field(
        None, description="Unset: console in development, JSON elsewhere."
    )
    instance: str | None = Field(
        None,
        max_length=100,
        description="Name of this installation's machine or container in JSON log lines. Unset: "
        "the host name.",
    )
    docs_enabled: bool | None = Field(
        None,
        description="Whether to serve /docs, /redoc and /openapi.json. Unset: not in production.",
    )
    compression_enabled: bool = Field(
        False,
        description="Whether to compress responses of at least 1 KiB, but none that carry secrets, "
        "for clients that accept zstd, br or gzip; for servers without a proxy that compresses.",
    )
    shutdown_delay: float | None = Field(
        None,
        ge=0,
        le=300,
        description="Seconds between reporting not ready and stopping. Unset: 0 in development and "
        "test, else 5.",
    )

    @field_validator(
        "environment",
        "log_level",
        "log_format",
        "rate_limit_storage",
        "cache_storage",
        "database_pooler",
        mode="before",
    )
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_direct_url")
    @classmethod
    def _is_beside_another(
        cls, value: SecretStr | None, others: ValidationInfo
    ) -> SecretStr | None:
        if value is not None and others.data.get("database_url", value) is None:
            raise ValueError("needs a DATABASE_URL, of the same database")
        return value

    @field_validator("rate_limit_default")
    @classmethod
    def _rules(cls, value: str) -> str:
        parse_rules(value)
        return value

    @field_validator("rate_limit_storage", "cache_storage")
    @classmethod
    def _has_redis(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value == "redis" and others.data.get("redis_url", "unusable") is None:
            raise ValueError("redis needs a REDIS_URL")
        return value

    @property
    def session_url(self) -> SecretStr | None:
        """The database URL for migrations and the worker, which need sessions of their own."""
        return self.database_direct_url or self.database_url

    @property
    def is_local(self) -> bool:
        """Whether this is development or test, where insecure defaults are allowed."""
        return self.environment in LOCAL

    @property
    def is_development(self) -> bool:
        return self.environment == "development"

    def allows_origin(self, origin: str) -> bool:
        """Return whether pages of this origin may call the API, also with cookies."""
        return allows_origin(origin, self.cors_origins, local=self.is_development)

    @property
    def hsts(self) -> bool:
        """Whether responses have the header Strict-Transport-Security."""
        return not self.is_development

    @property
    def shows_docs(self) -> bool:
        return self.environment != "production" if self.docs_enabled is None else self.docs_enabled

    @property
    def limit_storage(self) -> Storage:
        """The storage of the rate limits; with several workers it must not be memory."""
        if self.rate_limit_storage is not None:
            return self.rate_limit_storage
        if self.redis_url is not None:
            return "redis"
        return "memory" if self.is_local else "postgres"

    @property
    def response_storage(self) -> CacheStorage:
        """The storage of cached responses."""
        if self.cache_storage is not None:
            return self.cache_storage
        if self.redis_url is not None:
            return "redis"
        return "none" if self.is_local else "memory"

    @property
    def drain_seconds(self) -> float:
        if self.shutdown_delay is None:
            return 0 if self.is_local else 5
        return self.shutdown_delay

    def unsafe(self) -> list[str]:
        problems = []
        if self.database_url is None:
            problems.append("DATABASE_URL is missing: there is no embedded database here.")
        if self.secret_key is None:
            problems.append("SECRET_KEY is missing: make one with `openssl rand -base64 48`.")
        elif _is_weak(self.secret_key.get_secret_value()):
            problems.append(
                "SECRET_KEY is guessable (it needs 32 random bytes): make one with "
                "`openssl rand -base64 48`."
            )
        if not self.rate_limit_enabled:
            problems.append(
                "RATE_LIMIT_ENABLED must be true: without limits passwords are guessed."
            )
        if self.secret_key and "," in self.secret_key.get_secret_value():
            problems.append("SECRET_KEY must hold no comma: they separate SECRET_KEY_PREVIOUS.")
        if not self.allowed_hosts or "*" in self.allowed_hosts:
            problems.append("ALLOWED_HOSTS must list the host names that this server serves.")
        if "*" in self.cors_origins:
            problems.append(
                "CORS_ORIGINS must name origins: `*` lets every site call with cookies."
            )
        return problems


def load_settings(
    kinds: Iterable[type[SettingsBase]],
) -> dict[type[SettingsBase], SettingsBase]:
    """Read each kind of settings; raise `SettingsError` with the problems of all of them.

    In staging and production, unsafe values are problems too.
    """
    loaded = {}
    problems: dict[str, str] = {}
    wanted: list[type[SettingsBase]] = [Settings, *kinds]
    for kind in wanted:
        loaded[kind], refused = _read(kind)
        problems |= refused
    core = loaded[Settings]
    assert isinstance(core, Settings)
    for settings in loaded.values():
        unsafe = [] if core.is_local else settings.unsafe()
        for sentence in (*unsafe, *settings.conflicts(core)):
            problems.setdefault(sentence.partition(" ")[0], sentence)
    if problems:
        raise SettingsError(list(problems.values()))
    return loaded


def _read(
    kind: type[SettingsBase], defaults: Mapping[str, Any] = MappingProxyType({})
) -> tuple[SettingsBase, dict[str, str]]:
    """Return settings with invalid values replaced by defaults, and the problem of each."""
    try:
        return kind(**defaults), {}
    except ValidationError as error:
        refused, replaced = {}, dict(defaults)
        for problem in error.errors(include_input=False):
            name, message = str(problem["loc"][0]), problem["msg"].removeprefix("Value error, ")
            refused[name.upper()] = f"{name.upper()}: {message.rstrip('.')}."
            replaced[name] = kind.model_fields[name].get_default()
        # A value that is valid beside an invalid one may be invalid beside its default.
        settings, more = _read(kind, replaced)
        return settings, refused | more
