"""Parsing of rate limit rules, and the choice of the storage."""

from typing import Any

import pytest
from pydantic import SecretStr

from backend.core.settings import Settings, SettingsError, load_settings
from backend.ratelimit.rules import Rule, parse_rules


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("60/minute;1000/hour", [(60, 60, "minute"), (1000, 3600, "hour")]),
        ("1000/hour; 60/minute", [(60, 60, "minute"), (1000, 3600, "hour")]),
        ("10/5 minutes", [(10, 300, "5-minutes")]),
        ("10/5minutes", [(10, 300, "5-minutes")]),
        ("1/second", [(1, 1, "second")]),
        (" 7 / 2 Days ", [(7, 172_800, "2-days")]),
        ("5/90 seconds", [(5, 90, "90-seconds")]),
        ("5/60 seconds", [(5, 60, "minute")]),
        ("1000000000/366 days", [(1_000_000_000, 31_622_400, "366-days")]),
    ],
)
def test_rules_are_read(text: str, rules: list[tuple[int, int, str]]) -> None:
    found = parse_rules(text)
    assert [(each.limit, each.window, each.name) for each in found] == rules


@pytest.mark.parametrize(
    "text",
    [
        *("60", "60/", "/minute", "60/fortnight", "60 minute", "a/minute", "-1/minute", "1.5/hour"),
        *("0/minute", "5/0 minutes", "60/minute;", "60/minute,1000/hour", "1e3/hour", "٣/minute"),
        *("60/minute;70/minute", "60/minute;70/60 seconds", "1000000001/minute", "1/367 days"),
        "9" * 5000 + "/minute",
    ],
)
def test_what_is_no_rule_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        parse_rules(text)
    monkeypatch.setenv("RATE_LIMIT_DEFAULT", text)
    with pytest.raises(SettingsError) as refused:
        load_settings([])
    (problem,) = refused.value.problems
    assert problem.startswith("RATE_LIMIT_DEFAULT: must ")


def test_rules_compare_by_value() -> None:
    assert parse_rules("5/minute") == (Rule(5, 60, "requests"),)


@pytest.mark.parametrize(
    ("given", "storage"),
    [
        ({"environment": "development"}, "memory"),
        ({"environment": "test"}, "memory"),
        ({"environment": "staging"}, "postgres"),
        ({"environment": "production"}, "postgres"),
        ({"environment": "development", "redis_url": "redis://cache"}, "redis"),
        ({"environment": "production", "redis_url": "rediss://cache"}, "redis"),
        ({"redis_url": "unix:///run/redis.sock", "rate_limit_storage": "postgres"}, "postgres"),
        ({"environment": "production", "rate_limit_storage": "Memory"}, "memory"),
    ],
)
def test_where_requests_are_counted(given: dict[str, Any], storage: str) -> None:
    assert Settings(_env_file=None, **given).limit_storage == storage


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://wrong"),
        ("REDIS_URL", "wrong:6379"),
        ("REDIS_URL", "redis://:wrong@host:port/0"),
        ("RATE_LIMIT_STORAGE", "wrong"),
        ("RATE_LIMIT_STORAGE", "redis"),
        ("RATE_LIMIT_ENABLED", "wrong"),
    ],
)
def test_an_invalid_value_is_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings([])
    (problem,) = refused.value.problems
    assert problem.startswith(f"{name}: ")
    assert "wrong" not in problem


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_limits_cannot_be_switched_off_in_earnest(environment: Any) -> None:
    settings = Settings(_env_file=None, environment=environment, rate_limit_enabled=False)
    problems = [each for each in settings.unsafe() if each.startswith("RATE_LIMIT_ENABLED ")]
    assert len(problems) == 1
    on = Settings(_env_file=None, environment=environment)
    assert "RATE_LIMIT" not in str(on.unsafe())


def test_the_url_of_redis_does_not_show() -> None:
    settings = Settings(_env_file=None, redis_url=SecretStr("redis://:concealed@cache/0"))
    assert "concealed" not in repr(settings)
