"""The results of one part of a run: a table, goals, and panels of the plot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Curve:
    name: str
    points: list[tuple[float, float]]
    # A reference that nothing measured.
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One diagram; axes with `log` have a logarithmic scale, the others begin at 0."""

    title: str
    x_title: str
    curves: list[Curve]
    log_x: bool = True
    log_y: bool = False
    # The values between which a curve counts as flat.
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class Goal:
    text: str
    measured: str
    met: bool


@dataclass
class Part:
    """One part of a run: `rows` begins with the heads of the columns."""

    name: str
    conditions: str
    rows: list[list[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def lines(part: Part) -> Iterator[str]:
    """Yield the lines of the report, as Markdown."""
    yield f"**{part.name}.** {part.conditions}"
    yield ""
    if part.rows:
        yield from table(part.rows)
        yield ""
    if part.goals:
        verdicts = [
            [goal.text, goal.measured, "met" if goal.met else "missed"] for goal in part.goals
        ]
        yield from table([["goal", "measured", ""], *verdicts])
        yield ""
    for error in part.errors:
        yield f"Errors: {error}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *rest = rows
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rest:
        yield "| " + " | ".join(row) + " |"
