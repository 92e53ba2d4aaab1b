"""Comparison with another server, which a TOML file describes; speed is not tested."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from bench import comparison
from bench.comparison import ComparisonOptions
from bench.data import Rows
from bench.load import Job
from bench.measure import Series, Variant, generator, measure
from bench.postgres import postgres
from bench.servers import BenchError
from bench.target_file import load_target
from bench.targets import Contender, start_target
from tests.bench_runs import bench_output

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "bench" / "targets" / "full-stack-fastapi-template.toml"
# Of `bench_target.py`.
TINY = """
name = "tiny"
folder = "tests"
command = [PYTHON, "-m", "uvicorn", "bench_target:app", "--port", "{port}"]
ready = "/ready"
ready_seconds = 20

[environment]
SECRET = "{secret}"

[database]
commands = [[PYTHON, "-c", "import os; os.environ['SECRET']"]]
statements = ["CREATE TABLE made_things AS SELECT generate_series(1, {callers}) AS id"]
reset = ["DELETE FROM made_things WHERE id > 1"]

[[requests]]
path = "/ready"

[login]
path = "/login"
form = { name = "caller{caller}", password = "the right one" }
token = "data.token"
header = "Authorization: Token {token}"

[endpoints.me]
path = "/me"

[endpoints.create]
method = "POST"
path = "/things"
json = { title = "{braces}" }
status = 201
""".replace("PYTHON", json.dumps(sys.executable))


def described(folder: Path, old: str = "", new: str = "") -> Path:
    """Write the description with one change."""
    assert old in TINY
    file = folder / "tiny.toml"
    file.write_text(TINY.replace(old, new, 1) if old else TINY)
    return file


def started(stack: ExitStack, file: Path, url: str, checkout: Path | None = ROOT) -> Contender:
    return start_target(load_target(file), stack, file.parent, url, Rows(2), checkout)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("folder =", "foldr =", "foldr is an unknown key; did you mean 'folder'."),
        ("reset =", "zzz =", "database.zzz is an unknown key; the keys are commands, statements"),
        ("[endpoints.me]\npath", "[endpoints.me]\npth", "endpoints.me.pth is an unknown key; did"),
        ("[endpoints.me]", "[endpoints.mee]", "endpoints.mee is an unknown key; did you mean 'me'"),
        ("command =", "#", "command is missing."),
        ('name = "tiny"', 'name = ".."', "name is wrong: string should match pattern"),
        ('path = "/me"', "", "endpoints.me.path is missing."),
        ('path = "/me"', 'path = "me"', "endpoints.me.path is wrong: string should match pattern"),
        ("status = 201", 'status = "201"', "endpoints.create.status is wrong: input should be a"),
        (TINY, 'name = "tiny"', "command is missing."),
        ('name = "tiny"', "name = tiny", "tiny.toml is not TOML: Invalid value"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    file = described(tmp_path, old, new)
    with pytest.raises(BenchError) as raised:
        load_target(file)
    assert sentence in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_missing_file_and_an_empty_table_of_endpoints_are_named(tmp_path: Path) -> None:
    file = described(tmp_path, TINY[TINY.index("[endpoints.me]") :], "[endpoints]")
    with pytest.raises(BenchError, match="endpoints is empty; describe one of health, me, list"):
        load_target(file)
    with pytest.raises(BenchError, match=r"none\.toml cannot be read: No such file"):
        load_target(tmp_path / "none.toml")


def test_servers_of_one_name_are_refused(tmp_path: Path) -> None:
    file = described(tmp_path, 'name = "tiny"', 'name = "application"')
    options = ComparisonOptions(1, 1, 1, (), False, (file,), (), None, None)
    with pytest.raises(BenchError, match="Two servers have the name 'application': change it"):
        comparison.run(options, print)


def test_folders_without_postgresql_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="There is no PostgreSQL in"), postgres(tmp_path):
        pass


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{secret}", "{secrt}", "'{secrt}' contains the unknown {secrt}; known here: {database_"),
        ("{secret}", "{checkout}", "give the folder of the other project, with `make bench"),
        ('folder = "tests"', 'folder = "nowhere"', "tiny: there is no folder"),
        ("os.environ['SECRET']", "1/0", "ended with code 1:\nTraceback"),
        ('commands = [["', 'commands = [["/no', "does not run: [Errno 2] No such file"),
    ],
)
def test_a_wrong_preparation_is_explained(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    (tmp_path / "tests").mkdir()
    file = described(tmp_path, old, new)
    with ExitStack() as stack, pytest.raises(BenchError) as raised:
        started(stack, file, "postgresql://nowhere", checkout=None)
    assert sentence in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("bench_target:app", "bench_target:missing", "not become ready: it ended with code 3. Its"),
        (
            'ready = "/ready"\nready_seconds = 20',
            'ready = "/nothing"\nready_seconds = 2',
            "it responded with 401 instead of 200 to GET /nothing within 2 seconds",
        ),
        (
            "the right one",
            "a wrong one",
            'login: POST /login responded with 401 instead of 200: "wrong password"',
        ),
        ("data.token", "token", "the response to the login has no member 'token': {"),
        (
            "status = 201",
            "status = 202",
            "endpoint 'create': POST /things responded with 201 instead of 202",
        ),
        ("CREATE TABLE", "CREATE TABEL", 'fails: syntax error at or near "TABEL"'),
    ],
)
def test_a_server_that_differs_from_its_description_is_explained(
    tmp_path: Path, own_database_url: str, old: str, new: str, sentence: str
) -> None:
    file = described(tmp_path, old, new)
    with ExitStack() as stack, pytest.raises(BenchError) as raised:
        started(stack, file, own_database_url)
    assert sentence in str(raised.value)


@pytest.mark.slow
def test_a_described_server_is_prepared_and_measured(tmp_path: Path, own_database_url: str) -> None:
    file = described(tmp_path)
    with ExitStack() as stack:
        tiny = started(stack, file, own_database_url)
        with psycopg.connect(own_database_url) as connection:
            assert connection.execute("SELECT id FROM made_things").fetchall() == [(1,)]
        create, me = tiny.calls["create"], tiny.calls["me"]
        assert [request.count("Token caller0") for request in me.requests] == [1, 0]
        assert create.requests[1].endswith('{"title": "{braces}"}')
        load = stack.enter_context(generator(None))
        for calls in (create, me):
            series = Series("tiny")
            job = Job(tiny.server.port, calls.requests, 3, 0.2, str(calls.status))
            measure(Variant("tiny", tiny.server), load, job, series)
            assert series.errors == 0, series.first_error
            assert series.results[0].responses > 0
            assert sys.platform != "linux" or len(series.processor_us) == 1
        wrong = load.run(Job(tiny.server.port, me.requests, 1, 0.1, "201"))
        assert wrong.responses == 0
        assert wrong.first_error.startswith("HTTP/1.1 200 OK")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_comparison_prints_both_servers_and_their_ratio(tmp_path: Path) -> None:
    file = described(tmp_path)
    report = tmp_path / "report.json"
    options = ["--seconds", "0.2", "--rounds", "2", "--connections", "2", "--no-pin"]
    options += ["--json", str(report)]
    against: list[str | Path] = ["--against", file, "--checkout", ROOT]
    output = bench_output("bench", *against, *options, folder=tmp_path)
    lines = [line.split() for line in output.splitlines()]
    rows = [line[:2] for line in lines if line[0] in ("me", "create", "against")]
    assert rows == [
        row
        for name in ("me", "create")
        for row in ([name, "application"], [name, "tiny"], ["against", "tiny:"])
    ]
    for pairs in json.loads(report.read_text())["endpoints"].values():
        for pair in pairs:
            for results in (pair["many"]["results"], pair["one"]["results"]):
                assert [result["errors"] for result in results] == [0, 0]
                assert all(result["responses"] for result in results)
    assert sorted(tmp_path.iterdir()) == [report, file]


def test_the_shipped_description_is_valid() -> None:
    target = load_target(TEMPLATE)
    assert target.endpoints.model_fields_set == {"me", "list", "create"}
