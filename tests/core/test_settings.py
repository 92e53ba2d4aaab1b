"""Settings are read once from the environment and `.env`; all problems are reported together."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.core.settings import Settings, SettingsBase, SettingsError, load_settings
from backend.modules.users.settings import UserSettings
from backend.product import TITLE
from tests.applications import MODULES, setting_kinds
from tests.architecture import ROOT

KINDS = [module.settings for module in MODULES if module.settings]
GOOD_KEY = "q4Zt0vXGm1b8nKcR7sYw2LpEoHdUfJiA9x3T5k6="
SAFE = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://app:hidden@db/app",
    "SECRET_KEY": GOOD_KEY,
    "ALLOWED_HOSTS": "api.example.com",
    "SMTP_URL": "smtp://app:concealed@mail.example.com",
    "EMAIL_FROM": "Trellis <no-reply@example.com>",
    "FRONTEND_URL": "https://app.example.com",
}


class Env:
    """The environment of one test: these variables, and a folder of its own for `.env`."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch, self.folder = patch, folder

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self.patch.setenv(name, value)

    def file(self, text: str) -> None:
        (self.folder / ".env").write_text(text)

    def load(self) -> Settings:
        settings = load_settings(KINDS)[Settings]
        assert isinstance(settings, Settings)
        return settings

    def problems(self) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load_settings(KINDS)
        lines = str(caught.value).splitlines()
        assert lines == ["The settings are not usable:", *(f"  {p}" for p in caught.value.problems)]
        return caught.value.problems


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Env:
    monkeypatch.chdir(tmp_path)
    for kind in setting_kinds():
        for name in kind.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
    return Env(monkeypatch, tmp_path)


def names(problems: list[str]) -> list[str]:
    return [problem.partition(" ")[0].rstrip(":") for problem in problems]


def test_development_needs_nothing(env: Env) -> None:
    settings = env.load()
    assert settings.environment == "development"
    assert settings.is_local
    assert settings.database_url is settings.secret_key is None
    assert settings.cors_origins == settings.allowed_hosts == ()
    assert settings.shows_docs
    assert settings.drain_seconds == 0


def test_outside_of_development_defaults_differ(env: Env) -> None:
    env.set(**SAFE)
    production = env.load()
    assert not production.is_local
    assert not production.shows_docs
    assert production.drain_seconds == 5
    env.set(ENVIRONMENT="staging")
    assert env.load().shows_docs
    env.set(ENVIRONMENT="production", DOCS_ENABLED="true", SHUTDOWN_DELAY="0")
    assert env.load().shows_docs
    assert env.load().drain_seconds == 0


def test_the_environment_wins_over_the_file(env: Env) -> None:
    env.file("LOG_LEVEL=debug\nENVIRONMENT=test\n# a comment\nSOMETHING_ELSE=1\n")
    assert (env.load().log_level, env.load().environment) == ("debug", "test")
    env.set(LOG_LEVEL="error")
    assert (env.load().log_level, env.load().environment) == ("error", "test")


def test_a_module_reads_its_own_settings(env: Env) -> None:
    env.file("PASSWORD_MIN_LENGTH=12")
    settings = load_settings(KINDS)[UserSettings]
    assert isinstance(settings, UserSettings)
    assert settings.password_min_length == 12


def test_empty_is_unset(env: Env) -> None:
    env.set(DATABASE_URL="", LOG_LEVEL="", DOCS_ENABLED="", CORS_ORIGINS="", BCRYPT_COST="")
    assert env.load() == Settings()


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a.example", ("a.example",)),
        ("a.example,b.example", ("a.example", "b.example")),
        (" a.example ,, b.example , ", ("a.example", "b.example")),
        (",", ()),
    ],
)
def test_lists_are_comma_separated(env: Env, text: str, hosts: tuple[str, ...]) -> None:
    env.set(ALLOWED_HOSTS=text)
    assert env.load().allowed_hosts == hosts


def test_an_origin_has_no_slash_at_the_end(env: Env) -> None:
    env.set(CORS_ORIGINS="https://a.example/, http://localhost:5173")
    assert env.load().cors_origins == ("https://a.example", "http://localhost:5173")


def test_the_name_of_the_product(env: Env) -> None:
    assert env.load().product_name == TITLE
    env.set(PRODUCT_NAME="  Tea  &\tCo ")
    assert env.load().product_name == "Tea & Co"
    for bad in ("\x07bell", " \t", "x" * 101):
        env.set(PRODUCT_NAME=bad)
        assert names(env.problems()) == ["PRODUCT_NAME"]


def test_names_and_choices_take_any_case(env: Env) -> None:
    env.set(environment="PRODUCTION".lower(), LOG_LEVEL="WARNING", LOG_FORMAT="Json")
    env.set(**{name: value for name, value in SAFE.items() if name != "ENVIRONMENT"})
    settings = env.load()
    assert settings.environment == "production"
    assert (settings.log_level, settings.log_format) == ("warning", "json")


def test_settings_are_frozen(env: Env) -> None:
    for settings in load_settings(KINDS).values():
        field = next(iter(type(settings).model_fields))
        with pytest.raises(ValidationError):
            setattr(settings, field, "test")
    assert env.load().environment == "development"


def test_secrets_do_not_show(env: Env) -> None:
    env.set(**SAFE, FIRST_ADMIN_PASSWORD="a long enough password")
    shown = repr(load_settings(KINDS))
    for secret in ("hidden", "concealed", GOOD_KEY, "a long enough password"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ENVIRONMENT", value) for value in ("prod", "live", "wrong")),
        *(("DATABASE_URL", value) for value in ("mysql://u:wrong@h/d", "wrong", "sqlite:///wrong")),
        *(("DATABASE_URL", value) for value in ("postgresql+asyncpg://u:wrong@h/d",)),
        ("DATABASE_REPLICA_URL", "http://wrong"),
        *(
            ("DATABASE_POOL_SIZE", value)
            for value in ("0", "1", "201", "-1", "wrong", "1.5", "1e1")
        ),
        *(("DATABASE_POOL_TIMEOUT", value) for value in ("0", "-1", "wrong", "nan", "inf")),
        *(("DATABASE_STATEMENT_TIMEOUT", value) for value in ("0", "wrong", "inf")),
        *(("LOG_LEVEL", value) for value in ("wrong", "trace", "10")),
        ("LOG_FORMAT", "wrong"),
        ("DOCS_ENABLED", "wrong"),
        *(("SHUTDOWN_DELAY", value) for value in ("-1", "301", "wrong", "inf")),
        *(("ACCESS_TOKEN_TTL", value) for value in ("0", "-1", "86401", "wrong", "30m")),
        *(("PASSWORD_MIN_LENGTH", value) for value in ("7", "65", "wrong")),
        *(("BCRYPT_COST", value) for value in ("3", "17", "wrong")),
        ("FIRST_ADMIN_EMAIL", "wrong"),
    ],
)
def test_an_invalid_value_is_named_but_not_shown(env: Env, name: str, value: str) -> None:
    env.set(**{name: value})
    (problem,) = env.problems()
    assert problem.startswith(f"{name}: ")
    assert problem.endswith(".")
    assert "wrong" not in problem
    assert len(problem) > len(name) + 10


def test_all_invalid_values_are_told_at_once(env: Env) -> None:
    env.file("LOG_LEVEL=wrong\nBCRYPT_COST=wrong\n")
    env.set(DATABASE_URL="mysql://app:hidden@db/app", DATABASE_POOL_SIZE="0", ACCESS_TOKEN_TTL="x")
    problems = env.problems()
    assert set(names(problems)) == {
        *("LOG_LEVEL", "BCRYPT_COST", "DATABASE_URL", "DATABASE_POOL_SIZE", "ACCESS_TOKEN_TTL")
    }
    assert len(problems) == 5
    assert "hidden" not in str(problems)


UNSAFE: dict[str, list[str | None]] = {
    "DATABASE_URL": [None],
    "SECRET_KEY": [None, "short", GOOD_KEY[:31], "ab" * 20, "x" * 64, f"change-me-{GOOD_KEY}"],
    "ALLOWED_HOSTS": [None, "*", "api.example.com,*", ","],
    "SMTP_URL": [None],
    "EMAIL_PROVIDER": ["mailbox"],
    "EMAIL_FROM": [None, f"{TITLE} <no-reply@localhost>"],
    "FRONTEND_URL": [None, "http://app.example.com"],
    "CORS_ORIGINS": ["*", "https://app.example.com,*"],
    "LINK_RESET_PASSWORD": ["http://app.example.com/{token}"],
    "LINK_EMAIL_CHANGE": ["http://app.example.com/{token}"],
    "ACCESS_TOKEN_TTL": ["29", "1"],
    "BCRYPT_COST": ["11", "4"],
    "FIRST_ADMIN_PASSWORD": ["NewUser123!", "x"],
}


@pytest.mark.parametrize("environment", ["production", "staging"])
@pytest.mark.parametrize(
    ("name", "value"), [(name, each) for name, values in UNSAFE.items() for each in values]
)
def test_an_unsafe_value_is_refused(
    env: Env, environment: str, name: str, value: str | None
) -> None:
    env.set(**{**SAFE, "ENVIRONMENT": environment})
    assert env.load().environment == environment
    if value is None:
        env.patch.delenv(name)
    else:
        env.set(**{name: value})
    (problem,) = env.problems()
    assert names([problem]) == [name]
    assert value is None or len(value) < 5 or value not in problem


@pytest.mark.parametrize("environment", ["development", "test"])
def test_convenience_is_allowed_at_home(env: Env, environment: str) -> None:
    env.set(ENVIRONMENT=environment, SECRET_KEY="short", ALLOWED_HOSTS="*", CORS_ORIGINS="*")
    env.set(BCRYPT_COST="4", FIRST_ADMIN_PASSWORD="NewUser123!", ACCESS_TOKEN_TTL="1")
    assert env.load().cors_origins == ("*",)


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_all_that_is_unsafe_or_invalid_is_told_at_once(env: Env, environment: str) -> None:
    env.set(ENVIRONMENT=environment, SECRET_KEY="short", CORS_ORIGINS="*", BCRYPT_COST="5")
    env.set(FIRST_ADMIN_PASSWORD="short", LOG_LEVEL="wrong", DATABASE_URL="mysql://a:hidden@b/c")
    problems = env.problems()
    assert sorted(names(problems)) == [
        *("ALLOWED_HOSTS", "BCRYPT_COST", "CORS_ORIGINS", "DATABASE_URL", "EMAIL_FROM"),
        *("FIRST_ADMIN_PASSWORD", "FRONTEND_URL", "LOG_LEVEL", "SECRET_KEY", "SMTP_URL"),
    ]
    assert not any(value in str(problems) for value in ("hidden", "wrong", "'short'"))


def test_a_value_that_needs_a_refused_one_is_told_as_well(env: Env) -> None:
    env.set(EMAIL_PROVIDER="smtp", SMTP_URL="http://app:concealed@mail.example.com")
    assert names(env.problems()) == ["SMTP_URL", "EMAIL_PROVIDER"]


@pytest.mark.parametrize("folder", ["", "/data", "/data/.."])
def test_a_storage_that_contains_the_data_folder_is_refused(env: Env, folder: str) -> None:
    env.set(STORAGE_URL=f"file://{env.folder}{folder}")
    assert names(env.problems()) == ["STORAGE_URL"]
    env.set(STORAGE_URL=f"file://{env.folder}/data/files")
    env.load()


@pytest.mark.slow
def test_the_program_ends_with_the_list(tmp_path: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "ENVIRONMENT": "production"}
    run = subprocess.run(
        [sys.executable, "-c", "import backend.main"],
        cwd=tmp_path,
        env={**variables, "SECRET_KEY": "guess-this"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert lines[0] == "The settings are not usable:"
    assert {"DATABASE_URL", "SECRET_KEY", "ALLOWED_HOSTS"} <= set(names([t.strip() for t in lines]))
    assert "guess-this" not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_every_variable_belongs_to_one_place_and_is_described() -> None:
    kinds: list[type[SettingsBase]] = setting_kinds()
    counted: Counter[str] = Counter(name for kind in kinds for name in kind.model_fields)
    assert [name for name, count in counted.items() if count > 1] == []
    fields: list[Any] = [field for kind in kinds for field in kind.model_fields.values()]
    assert all(field.description and field.description.endswith(".") for field in fields)
