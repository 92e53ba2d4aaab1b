"""The registry refuses modules that do not account for the data of users that they hold."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from backend.core.registry import RegistryError, discover
from backend.db.base import Base

USERS = """
from backend.core.module import Module
from backend.core.personal_data import by_cascade
from backend.modules.users.models import User

module = Module(users_table=User, export={{}}, erase={erase})
"""
MANIFEST = """
from backend.core.context import Counts
from backend.core.module import Module
from backend.core.personal_data import by_cascade
from made_{unique}.diaries.models import Diary


async def erase(context, session, user_id): ...


module = Module(depends_on=("users",), {declared})
"""
MODELS = """
from uuid import UUID

from sqlmodel import Field

from backend.db.base import Base, Identified


class Diary(Base, Identified, table=True):
    __tablename__ = "made_diaries"

    {column}
"""
FOREIGN_KEY = 'written_by: UUID = Field(foreign_key="users.id"{action})'
CASCADING = FOREIGN_KEY.format(action=', ondelete="CASCADE"')
RESTRICTING = FOREIGN_KEY.format(action="")
BARE = "owner_id: UUID"


class Diaries:
    """A package with the modules `users` and `diaries`; the latter has one table."""

    def __init__(self, folder: Path) -> None:
        self.unique = uuid4().hex
        self.name = f"made_{self.unique}"
        self.folder = folder / self.name
        for name in ("", "users", "diaries"):
            (self.folder / name).mkdir()
            (self.folder / name / "__init__.py").write_text("")

    def refusal(
        self, column: str, declared: str, *, erases_users: str = "by_cascade"
    ) -> str | None:
        users = USERS.format(erase=erases_users)
        manifest = MANIFEST.format(unique=self.unique, declared=declared)
        (self.folder / "users" / "manifest.py").write_text(users)
        (self.folder / "diaries" / "manifest.py").write_text(manifest)
        (self.folder / "diaries" / "models.py").write_text(MODELS.format(column=column))
        try:
            discover(self.name)
        except RegistryError as error:
            return str(error)
        return None


@pytest.fixture
def diaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Diaries]:
    made = Diaries(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield made
    diary = sys.modules[f"{made.name}.diaries.models"].Diary
    Base.metadata.remove(diary.__table__)
    Base._sa_registry._dispose_cls(diary)
    for name in [each for each in sys.modules if each.partition(".")[0] == made.name]:
        del sys.modules[name]
    del diary
    # SQLAlchemy lists a mapped class until it is garbage collected. Those of other test files with
    # modules of this kind may stay, so that the name `diaries` is used here only.
    gc.collect()


@pytest.mark.parametrize(
    ("column", "declared", "missing"),
    [
        (CASCADING, "", "`export` and `erase`"),
        (CASCADING, "export={}", "`erase`"),
        (CASCADING, "erase=by_cascade", "`export`"),
        (BARE, "", "`export` and `erase`"),
        ("user_id: UUID", "erase=erase", "`export`"),
        ("actor_id: UUID", "export={}", "`erase`"),
    ],
)
def test_tables_that_refer_to_users_need_both(
    diaries: Diaries, column: str, declared: str, missing: str
) -> None:
    named = column.partition(":")[0]
    assert diaries.refusal(column, declared) == (
        f"Module 'diaries' has tables that refer to users (made_diaries.{named}): "
        f"declare {missing} in its manifest; see backend.core.personal_data."
    )


def test_other_tables_need_nothing(diaries: Diaries) -> None:
    assert diaries.refusal("text: str", "") is None


@pytest.mark.parametrize("column", [BARE, RESTRICTING])
def test_without_a_cascade_an_eraser_is_needed(diaries: Diaries, column: str) -> None:
    named = column.partition(":")[0]
    assert diaries.refusal(column, "export={}, erase=by_cascade") == (
        f"Module 'diaries' leaves erasure to foreign keys, but made_diaries.{named} has none with "
        "ON DELETE CASCADE: add one, or declare an `erase` function."
    )


@pytest.mark.parametrize(
    ("column", "eraser"), [(CASCADING, "by_cascade"), (BARE, "erase"), (RESTRICTING, "erase")]
)
def test_both_are_enough(diaries: Diaries, column: str, eraser: str) -> None:
    assert diaries.refusal(column, f"export={{}}, erase={eraser}") is None


def test_the_module_of_users_declares_both_too(diaries: Diaries) -> None:
    refusal = diaries.refusal("text: str", "", erases_users="None")
    assert refusal is not None
    assert refusal.startswith("Module 'users' has tables that refer to users (user_roles.user_id)")


def test_no_two_modules_count_the_same(diaries: Diaries) -> None:
    cats = diaries.folder / "cats"
    cats.mkdir()
    (cats / "__init__.py").write_text("")
    (cats / "manifest.py").write_text(
        "from backend.core.context import Counts\n"
        "from backend.core.module import Module\n"
        'module = Module(statistics=Counts(("things",), None, "owner"))\n'
    )
    counting = 'export={}, erase=by_cascade, statistics=Counts(("things",), None, "owner")'
    assert diaries.refusal(CASCADING, counting) == (
        "Modules 'cats' and 'diaries' both have a number of the statistics 'things'."
    )
