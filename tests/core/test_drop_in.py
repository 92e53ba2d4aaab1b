"""A module is added by adding its folder, without any other change."""

import gc
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from fastapi import FastAPI

from backend.core.app import create_app
from backend.core.context import Context
from backend.core.module import Module
from backend.core.principal import SYSTEM
from backend.db.base import Base
from backend.db.schema.migrations import FOLDER, alembic_config
from backend.modules.roles import service as roles
from tests import architecture, databases
from tests.actors import ActorFactory, Client
from tests.applications import MODULES, make_context
from tests.dropped_modules import discovered_with
from tests.samples import sample
from tests.test_security_document import RECORDED

FILES = {
    "__init__": '"""Jots: texts that only their author sees."""\n',
    "manifest": """
from backend.core.context import Inclusion
from backend.core.module import Module
from backend.core.features import Feature
from backend.core.personal_data import by_cascade, counts, owned
from backend.modules.made_jots import queries, service
from backend.modules.made_jots.router import router
from backend.modules.made_jots.schemas import MadeJotOut
from backend.modules.made_jots.settings import MadeJotSettings

module = Module(
    router=router,
    depends_on=("users",),
    features=(
        Feature(
            "made_jots",
            "Texts that only their author sees.",
            {"read": "See jots.", "write": "Write jots."},
            granted_to={"member": ("read", "write"), "viewer": ("read",)},
        ),
    ),
    settings=MadeJotSettings,
    export={"made_jots": owned(queries.JOTS, "author")},
    erase=by_cascade,
    statistics=counts(queries.JOTS, "author", made_jots=None),
    inclusions=(Inclusion("users", "made_jots", MadeJotOut, service.jots_of),),
)
""",
    "settings": """
from pydantic import Field

from backend.core.settings import SettingsBase


class MadeJotSettings(SettingsBase):
    made_jots_per_user: int = Field(100, ge=1, description="How many jots a user may have.")
""",
    "models": """
from uuid import UUID

from sqlmodel import Field

from backend.db.base import Base, Identified, Timestamped


class MadeJot(Base, Identified, Timestamped, table=True):
    __tablename__ = "made_jots"

    text: str = Field(max_length=1000)
    author_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
""",
    "schemas": """
from typing import Annotated
from uuid import UUID

from backend.core.schemas import Schema, Trimmed


class MadeJotCreate(Schema):
    text: Annotated[str, Trimmed(1000)]


class MadeJotOut(Schema):
    id: UUID
    text: str
    author_id: UUID
""",
    "exceptions": """
from backend.core.errors import AppError


class TooManyMadeJotsError(AppError):
    status = 409
    code = "TOO_MANY_MADE_JOTS"
    detail = "You have as many jots as you may have; delete one first."
""",
    "queries": """
from sqlmodel import col

from backend.core.lists import list_spec
from backend.modules.made_jots.models import MadeJot
from backend.modules.made_jots.schemas import MadeJotOut

JOTS = list_spec(
    MadeJot, MadeJotOut, scopes={"author": lambda author: col(MadeJot.author_id) == author}
)
""",
    "service": """
from uuid import UUID

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.errors import PermissionDeniedError
from backend.core.lists import ListQuery, Page, read_page
from backend.core.principal import Principal
from backend.db.query_runner import QueryRunner
from backend.modules.made_jots import queries
from backend.modules.made_jots.exceptions import TooManyMadeJotsError
from backend.modules.made_jots.models import MadeJot
from backend.modules.made_jots.schemas import MadeJotCreate, MadeJotOut


async def list_jots(reader: QueryRunner, by: Principal, query: ListQuery) -> Page[MadeJotOut]:
    by.must("made_jots:read")
    return await read_page(reader, queries.JOTS, query, author=by.user_id)


async def jots_of(
    reader: QueryRunner, by: Principal, user_id: UUID, query: ListQuery
) -> Page[MadeJotOut]:
    if user_id != by.user_id:
        raise PermissionDeniedError
    return await list_jots(reader, by, query)


async def create_jot(
    session: AsyncSession, by: Principal, new: MadeJotCreate, *, limit: int
) -> MadeJotOut:
    by.must("made_jots:write")
    count = select(func.count()).where(col(MadeJot.author_id) == by.user_id)
    if (await session.exec(count)).one() >= limit:
        raise TooManyMadeJotsError(f"You have {limit} jots already; delete one first.")
    jot = MadeJot(text=new.text, author_id=by.user_id)
    session.add(jot)
    await session.flush()
    return MadeJotOut.from_row(jot.model_dump())
""",
    "router": '''
from typing import Annotated

from backend.core.errors import error_responses
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.authorization import require
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.modules.made_jots import queries, service
from backend.modules.made_jots.exceptions import TooManyMadeJotsError
from backend.modules.made_jots.schemas import MadeJotCreate, MadeJotOut
from backend.modules.made_jots.settings import MadeJotSettings

router = Router(prefix="/made-jots", tags=["made_jots"])
MayRead = Annotated[Principal, require("made_jots:read")]
MayWrite = Annotated[Principal, require("made_jots:write")]
NoteQuery = Annotated[ListQuery, list_parameters(queries.JOTS)]


@router.get("")
async def list_jots(by: MayRead, reader: Reader, query: NoteQuery) -> Page[MadeJotOut]:
    """The caller's jots."""
    return await service.list_jots(reader, by, query)


@router.post(
    "", status_code=201, location="/made-jots/{id}", responses=error_responses(TooManyMadeJotsError)
)
async def create_jot(
    by: MayWrite, session: Session, context: CurrentContext, new: MadeJotCreate
) -> MadeJotOut:
    """Write a jot."""
    limit = context.settings_of(MadeJotSettings).made_jots_per_user
    return await service.create_jot(session, by, new, limit=limit)
''',
}
JOTS = "/api/v1/made-jots"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dropped") / "made_jots"
    made.mkdir()
    for name, text in FILES.items():
        (made / f"{name}.py").write_text(text)
    return made


@pytest.fixture(scope="module")
def modules(folder: Path) -> Iterator[tuple[Module, ...]]:
    """The modules discovered with the new folder; afterwards it is removed."""
    with discovered_with(folder) as found:
        jot = sys.modules["backend.modules.made_jots.models"].MadeJot
        yield found
    Base.metadata.remove(jot.__table__)
    Base._sa_registry._dispose_cls(jot)
    # Error classes are found through their base class until they are garbage collected.
    gc.collect()


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest, modules: tuple[Module, ...], folder: Path) -> Iterator[str]:
    """An existing database, after the module's migration was generated and applied."""
    assert modules
    versions = folder.parent / "versions"
    with databases.cloned_database(databases.server_url(request.config)) as made:
        with migrating(made, versions) as config:
            command.revision(config, "add made jots", autogenerate=True, version_path=str(versions))
        with migrating(made, versions) as config:
            command.upgrade(config, "head")
        yield made


@contextmanager
def migrating(url: str, versions: Path) -> Iterator[Config]:
    """Alembic with a second folder of migrations, so that the project's is not changed."""
    with alembic_config(url) as config:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", f"{FOLDER / 'versions'}\n{versions}")
        yield config


@pytest.fixture(scope="module")
async def grown(url: str, modules: tuple[Module, ...]) -> AsyncIterator[Context]:
    """The context of the application after its first start with the new module."""
    context = make_context(url, modules, made_jots_per_user=2)
    for module in modules:
        if module.startup:
            await module.startup(context)
    context.state.started = True
    yield context
    await context.database.close()


@pytest.fixture(scope="module")
def app(grown: Context, modules: tuple[Module, ...]) -> FastAPI:
    return create_app(grown, modules)


@pytest.fixture
async def actor(app: FastAPI, grown: Context) -> AsyncIterator[ActorFactory]:
    cast = ActorFactory(app, grown)
    async with cast.stack:
        yield cast


def test_the_folder_is_found(modules: tuple[Module, ...]) -> None:
    names = {module.name for module in modules}
    assert names == {module.name for module in MODULES} | {"made_jots"}


def test_names_of_tests_leave_those_of_new_modules_free() -> None:
    """The tests add tables, routes, modules and features whose names begin with `made`.

    Otherwise a new module of the same name would fail them.
    """
    create = r"CREATE TABLE (?:IF NOT EXISTS )?"
    patterns = (
        rf'(?:{create}|__tablename__ = )"?(?!made_)([a-z]\w*)',
        r'\bRouter\(\s*(?:prefix=)?"/(?!made-)([a-z]\w*)',
        r'\b(?:Module|Feature)\(\s*(?:name=)?"(?!made(?:_|"))([a-z]\w*)',
    )
    # Tables of the project that no model has.
    own = re.compile(r"procrastinate_\w+|alembic_version|rate_limits|pristine")
    known = {*Base.metadata.tables, *RECORDED}
    found = {
        (path.relative_to(architecture.ROOT).as_posix(), name)
        for path in (architecture.ROOT / "tests").rglob("*.py")
        if not _may_use_any_name(path)
        for pattern in patterns
        for name in re.findall(pattern, path.read_text("utf-8"))
        if name not in known and not own.fullmatch(name)
    }
    assert found == set()


def _may_use_any_name(path: Path) -> bool:
    """Return whether a file has modules of its own alone, or those of a team."""
    parts = path.relative_to(architecture.ROOT / "tests").parts
    if parts[0] == "modules" and len(parts) > 2:
        return parts[1] not in RECORDED
    return parts == ("core", "test_registry.py")


def test_it_follows_the_rules_of_the_house() -> None:
    sources = [architecture.Source(f"backend.modules.made_jots.{k}", v) for k, v in FILES.items()]
    for violations in (
        architecture.layer_violations(sources),
        architecture.module_violations(sources, {"made_jots": ["users"]}),
        architecture.vocabulary_violations(sources),
        architecture.direction_violations(sources),
        architecture.http_violations(sources),
        architecture.commit_violations(sources),
        architecture.environment_violations(sources),
        architecture.size_violations(sources),
    ):
        assert list(violations) == []


@pytest.mark.usefixtures("url")
def test_its_table_is_found_by_autogenerate_and_nothing_else_is(folder: Path) -> None:
    (migration,) = (folder.parent / "versions").glob("*_add_made_jots.py")
    text = migration.read_text()
    assert text.count("op.create_table(") == 1
    assert (
        'op.create_table(\n        "made_jots",' in text or "op.create_table('made_jots'," in text
    )
    assert "fk_made_jots_author_id_users" in text
    assert "ix_made_jots_author_id" in text
    assert "sqlmodel" not in text
    assert "down_revision = None" not in text


@pytest.mark.usefixtures("app", "url")
def test_nothing_was_written_into_the_house() -> None:
    assert not (architecture.ROOT / "backend/modules/made_jots").exists()
    assert not list((FOLDER / "versions").glob("*made_jots*"))


async def test_its_permissions_reach_the_built_in_roles(grown: Context) -> None:
    granted: dict[str, set[str]] = {}
    async with grown.database.transaction() as session:
        for role in ("admin", "editor", "member", "viewer"):
            held = await roles.permissions_of(session, SYSTEM, [role])
            granted[role] = {each for each in held if each.startswith("made_jots:")}
    both = {"made_jots:read", "made_jots:write"}
    assert granted == {"admin": both, "editor": set(), "member": both, "viewer": {"made_jots:read"}}


async def test_an_administrator_needs_nothing_to_use_it(actor: ActorFactory) -> None:
    admin = await actor("root", roles=("admin",))
    assert (await admin.post(JOTS, json={"text": "Milk"})).status_code == 201
    listed = (await admin.get("/api/v1/permissions", params={"limit": 100})).json()["data"]
    (jots,) = [each for each in listed if each["feature"] == "made_jots"]
    assert [each["permission"] for each in jots["actions"]] == [
        "made_jots:read",
        "made_jots:write",
    ]
    role = {"name": "jot-taker", "permissions": ["made_jots:read", "made_jots:write"]}
    assert (await admin.post("/api/v1/roles", json=role)).status_code == 201
    taker = await actor("tara", roles=("jot-taker",))
    assert (await taker.get(JOTS)).status_code == 200


def test_its_routes_and_errors_are_in_openapi(app: FastAPI) -> None:
    operations: dict[str, Any] = app.openapi()["paths"][JOTS]
    assert operations.keys() == {"get", "post"}
    assert "`made_jots:write`" in operations["post"]["description"]
    examples = operations["post"]["responses"]["409"]["content"]["application/problem+json"]
    assert examples["examples"].keys() == {"TOO_MANY_MADE_JOTS", "IDEMPOTENCY_IN_PROGRESS"}


async def test_its_errors_are_explained(app: FastAPI) -> None:
    async with Client(app) as client:
        explained = await client.get("/errors/TOO_MANY_MADE_JOTS")
    assert explained.status_code == 200
    assert explained.json()["status"] == 409


async def test_a_member_uses_it(actor: ActorFactory) -> None:
    ada, bob = await actor("ada"), await actor("bob")
    written = await ada.post(JOTS, json={"text": " Milk "})
    assert written.status_code == 201
    assert written.headers["location"] == f"{JOTS}/{written.json()['id']}"
    assert written.json()["text"] == "Milk"
    assert (await ada.get(JOTS)).json()["data"] == [written.json()]
    assert (await bob.get(f"{JOTS}/")).json()["data"] == []
    unknown = await ada.post(JOTS, json={"text": "Milk", "colour": "red"})
    assert unknown.json()["errors"][0]["field"] == "body.colour"


async def test_its_setting_counts(actor: ActorFactory) -> None:
    carl = await actor("carl")
    answers = [await carl.post(JOTS, json={"text": "Milk"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert answers[-1].json()["error"] == "TOO_MANY_MADE_JOTS"
    assert answers[-1].json()["detail"] == "You have 2 jots already; delete one first."


async def test_others_use_it_as_their_roles_say(actor: ActorFactory, app: FastAPI) -> None:
    viewer = await actor("vera", roles=("viewer",))
    editor = await actor("edith", roles=("editor",))
    assert (await viewer.get(JOTS)).status_code == 200
    assert (await viewer.post(JOTS, json={"text": "Milk"})).status_code == 403
    assert (await editor.get(JOTS)).status_code == 403
    async with Client(app) as nobody:
        assert (await nobody.get(JOTS)).status_code == 401


async def test_its_rows_are_exported_counted_and_erased(
    actor: ActorFactory, app: FastAPI, url: str
) -> None:
    fred, gina = await actor("fred"), await actor("gina")
    jots = [(await each.post(JOTS, json={"text": "Milk"})).json() for each in (fred, gina)]
    exported = (await fred.get("/api/v1/users/me/export")).json()
    assert exported["made_jots"] == jots[:1]
    assert (await fred.get("/api/v1/users/me/statistics")).json()["made_jots"] == 1
    schemas = app.openapi()["components"]["schemas"]
    assert schemas["AccountExport"]["properties"]["made_jots"]["items"]["$ref"].endswith(
        "/MadeJotOut"
    )
    assert "made_jots" in schemas["AccountStatistics"]["required"]
    assert (await fred.delete("/api/v1/users/me")).status_code == 204
    with psycopg.connect(url) as connection:
        left = connection.execute("SELECT author_id FROM made_jots WHERE text = 'Milk'").fetchall()
    assert (gina.id,) in left
    assert (fred.id,) not in left


async def test_its_rows_are_included_in_their_author(actor: ActorFactory, app: FastAPI) -> None:
    hugo, ines = await actor("hugo"), await actor("ines")
    await hugo.post(JOTS, json={"text": "Milk"})
    own = (await hugo.get(f"/api/v1/users/{hugo.id}?include=made_jots")).json()
    assert own["made_jots"] == (await hugo.get(JOTS)).json()
    assert (await ines.get(f"/api/v1/users/{hugo.id}?include=made_jots")).status_code == 403
    schema = app.openapi()["components"]["schemas"]["UserOutWithInclusions"]
    assert schema["properties"]["made_jots"]["$ref"].endswith("/Page_MadeJotOut_")
    assert "made_jots" not in schema["required"]


async def test_its_rows_are_included_beside_those_of_others(actor: ActorFactory) -> None:
    sample("items.models")
    jane = await actor("jane")
    await jane.post(JOTS, json={"text": "Milk"})
    own = (await jane.get(f"/api/v1/users/{jane.id}?include=items,made_jots")).json()
    assert own["made_jots"] == (await jane.get(JOTS)).json()
    assert own["items"]["data"] == []


async def test_what_was_there_before_works_on(actor: ActorFactory) -> None:
    dora = await actor("dora")
    made = await dora.post("/api/v1/items", json={"title": "Milk"})
    assert (await dora.get(made.headers["location"])).json() == made.json()
