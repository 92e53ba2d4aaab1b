"""The measurement of growing cost runs, judges its goals and draws the plot."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.growth.connections import goals, in_turn
from bench.growth.findings import Curve, Panel
from bench.growth.plot import svg
from bench.growth.workers import goal
from bench.load import Result
from bench.measure import Series
from tests.bench_runs import bench_output

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"


def measured(rates: dict[int, tuple[float, float]]) -> dict[int, Series]:
    """Return series of one round; `rates` has requests per second and p99 in milliseconds."""
    return {
        count: Series(str(count), [Result(100, per_second=rate, p99=p99)])
        for count, (rate, p99) in rates.items()
    }


def test_a_rate_that_stays_and_a_p99_of_the_waiting_time_meet_the_goals() -> None:
    met = measured({1: (100, 30), 10: (500, 20), 100: (460, 300), 500: (490, 1500)})
    assert [goal.met for goal in goals("me", met)] == [True, True]


def test_a_rate_that_falls_and_a_p99_beyond_the_waiting_time_miss_them() -> None:
    missed = measured({1: (100, 10), 10: (500, 20), 100: (440, 500)})
    rate, p99 = goals("me", missed)
    assert (rate.met, rate.measured) == (False, "peak with 10 connections; 88% of it with 100")
    assert (p99.met, p99.measured) == (False, "at most 2.2 times, with 100 connections")


def test_the_first_connections_belong_to_different_callers() -> None:
    assert in_turn([["a1", "a2"], ["b1", "b2"]]) == ["a1", "b1", "a2", "b2"]


def test_the_cost_of_workers_names_the_part_of_fewer_connections() -> None:
    met = goal("me", {1: 1, 2: 1.1, 4: 1.2}, {2: 1.05, 4: 1.15})
    assert met.met
    assert met.measured == "1.20 times with 4 workers; 1.15 times with 1 and 16 connections"
    assert not goal("me", {1: 1, 2: 1.3}, {2: 1.2}).met


def test_the_plot_places_values_on_its_axes() -> None:
    panel = Panel(
        "p99 < 1 & more",
        "items",
        [
            Curve("me", [(1000, 10), (10_000, 100), (100_000, 1000)]),
            Curve("me, mean", [(1000, 10), (100_000, 10)], dashed=True),
        ],
        log_y=True,
    )
    root = ET.fromstring(svg("Cost", "quiet", [panel]))  # noqa: S314  # our own document
    curve, mean = (
        [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        for line in root.iter(f"{SVG}polyline")
    )
    (left, bottom), (middle, centre), (right, top) = curve
    assert (middle, centre) == ((left + right) / 2, (bottom + top) / 2)
    assert left < right
    assert bottom > top
    assert mean == [(left, bottom), (right, bottom)]
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {"p99 < 1 & more", "1,000", "10,000", "100,000", "100", "me", "items"} <= texts


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_run_prints_the_tables_and_draws_the_plot(tmp_path: Path) -> None:
    report, plot = tmp_path / "report.json", tmp_path / "plot.svg"
    options = ["--items", "100,200", "--connections", "1,40", "--workers", "1,2"]
    options += ["--minutes", "0.03", "--seconds", "0.3", "--rounds", "1"]
    options += ["--json", str(report), "--plot", str(plot)]
    output = bench_output("bench.growth", *options, folder=tmp_path)
    figures = {part["name"]: part for part in json.loads(report.read_text())}
    assert [len(part["goals"]) for part in figures.values()] == [4, 6, 2, 1]
    assert not any(part["errors"] for part in figures.values())
    assert [row[:2] for row in figures["Items"]["rows"][1:3]] == [
        ["first page", "100"],
        ["first page", "200"],
    ]
    for part in figures.values():
        for each in part["goals"]:
            assert f"| {each['text']} | {each['measured']} |" in output
    curves = list(ET.parse(plot).iter(f"{SVG}polyline"))  # noqa: S314  # our own document
    assert len(curves) == 4 + (3 + 6) + 2 + 1
    assert sorted(tmp_path.iterdir()) == [plot, report]
