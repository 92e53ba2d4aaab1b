"""Public service functions refuse principals without permissions.

The tests call every public function of every `service.py`, including those in `__all__`, with a
principal without permissions. Functions with further checks are also called with insufficient
permissions. All calls must be refused.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from types import ModuleType
from typing import Any, get_origin
from uuid import UUID, uuid4

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import AppError, PermissionDeniedError
from backend.core.principal import Principal, System
from backend.db.lists.specs import ListQuery
from backend.modules.accounts import service as accounts
from backend.modules.accounts.exceptions import RegistrationClosedError
from backend.modules.articles.exceptions import ArticleNotFoundError
from backend.modules.articles.schemas import ArticleCreate, ArticleUpdate
from backend.modules.auth.exceptions import SessionNotFoundError
from backend.modules.files.schemas import Upload
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.schemas import ItemCreate, ItemUpdate
from backend.modules.roles.schemas import RoleCreate, RoleUpdate
from backend.modules.users.schemas import InvitedUser, Registration, UserCreate, UserUpdate
from tests.actors import PASSWORD, Actor, ActorFactory
from tests.applications import MODULES, make_context


@dataclass(frozen=True)
class Place:
    """The context and the user that the arguments of a call refer to. `owner` owns all rows."""

    context: Context
    owner: Actor


Arguments = Callable[[Place], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Case:
    """Arguments of a call in addition to `context`, `session`, `reader` and `by`.

    held     permissions that do not suffice: for another user's row, or if only trusted callers
             are allowed
    missing  the module's not-found error, if an invisible row is treated like an absent one
    """

    arguments: Arguments
    held: frozenset[str] = frozenset()
    missing: type[AppError] | None = None


UPLOAD = Upload("k" * 43, "text/plain", 1, None, is_public=False)
FEATURES = tuple(feature for module in MODULES for feature in module.features)
EVERYTHING = frozenset(permission for feature in FEATURES for permission in feature.permissions)
# The permissions of a user who may manage accounts, but has fewer than the owner.
USERS = frozenset(each for each in EVERYTHING if each.startswith("users:"))


def with_user(**more: Any) -> Arguments:
    """Return arguments of a call about the owner's account."""

    async def arguments(place: Place) -> Mapping[str, Any]:
        return {"user_id": place.owner.id, **more}

    return arguments


def with_user_as_owner(**more: Any) -> Arguments:
    """Return arguments of a call that names the owner of a new row."""

    async def arguments(place: Place) -> Mapping[str, Any]:
        return {"owner_id": place.owner.id, **more}

    return arguments


def with_values(**values: Any) -> Arguments:
    async def arguments(_: Place) -> Mapping[str, Any]:
        return values

    return arguments


async def never_called() -> None:
    raise AssertionError


async def session_of_owner(place: Place) -> Mapping[str, Any]:
    return {"session_id": place.owner.session_id}


def with_item(**more: Any) -> Arguments:
    """Return arguments of a call about an item of the owner."""

    async def arguments(place: Place) -> Mapping[str, Any]:
        made = await place.owner.post("/api/v1/items", json={"title": "Milk"})
        return {"item_id": UUID(made.json()["id"]), **more}

    return arguments


def with_article(*, published: bool = False, **more: Any) -> Arguments:
    """Return arguments of a call about an article of the owner."""

    async def arguments(place: Place) -> Mapping[str, Any]:
        article = {"title": "On milk", "content": "White."}
        made = await place.owner.post("/api/v1/articles", json=article)
        if published:
            await place.owner.post(f"/api/v1/articles/{made.json()['id']}/publish")
        return {"article_id": UUID(made.json()["id"]), **more}

    return arguments


async def author_of_a_published_article(place: Place) -> Mapping[str, Any]:
    await PUBLISHED(place)
    return {"author_id": place.owner.id}


def permitted(role: str) -> frozenset[str]:
    """Return the permissions that a built-in role has at first."""
    return frozenset(
        f"{feature.name}:{action}"
        for feature in FEATURES
        for action in feature.granted_to.get(role, ())
    )


MEMBER = permitted("member")
ROLES = frozenset({"roles:read", "roles:write"})
# Ownership decides whether a draft exists for a caller, and what is allowed for a published
# article.
DRAFT, PUBLISHED = with_article(), with_article(published=True)

# By `module.function`. Functions for trusted callers refuse every principal.
CASES: dict[str, Case] = {
    "articles.archive_article": Case(PUBLISHED, MEMBER),
    "articles.create_article": Case(with_values(new=ArticleCreate(title="On milk"))),
    "articles.delete_article": Case(DRAFT, MEMBER, ArticleNotFoundError),
    "articles.drop_articles_of": Case(author_of_a_published_article, EVERYTHING),
    "articles.publish_article": Case(DRAFT, MEMBER, ArticleNotFoundError),
    "articles.unpublish_article": Case(PUBLISHED, MEMBER),
    "articles.update_article": Case(
        with_article(published=True, changes=ArticleUpdate(title="On tea")), MEMBER
    ),
    "audit.list_events": Case(with_values(query=None)),
    "audit.verify": Case(with_values()),
    "auth.end_session": Case(session_of_owner, EVERYTHING, SessionNotFoundError),
    "auth.end_sessions": Case(with_user(), EVERYTHING),
    "files.add": Case(with_user_as_owner(upload=UPLOAD), EVERYTHING),
    "files.delete": Case(with_values(key="k" * 43), EVERYTHING),
    "files.signed_url": Case(with_values(key="k" * 43), EVERYTHING),
    "files.uploaded": Case(with_values(content=BytesIO(b"x")), EVERYTHING),
    "items.create_item": Case(with_values(new=ItemCreate(title="Milk"))),
    "items.create_items": Case(with_values(new=[ItemCreate(title="Milk")])),
    "items.delete_item": Case(with_item(), MEMBER, ItemNotFoundError),
    "items.get_item": Case(with_item(), MEMBER, ItemNotFoundError),
    "items.items_of": Case(with_user(query=ListQuery(cursor_key=b"")), MEMBER),
    "items.list_items": Case(with_values(query=ListQuery(b"", filters={"owner_id": None})), MEMBER),
    "items.update_item": Case(
        with_item(changes=ItemUpdate(title="Tea")), MEMBER, ItemNotFoundError
    ),
    "jobs.delete_old": Case(with_values(), EVERYTHING),
    "jobs.get_job": Case(with_values(job_id=1)),
    "jobs.list_jobs": Case(with_values(query=None)),
    "jobs.retry_job": Case(with_values(job_id=1), frozenset({"jobs:read"})),
    "mail.deliver": Case(with_values(message=None), EVERYTHING),
    "payments.accept_event": Case(with_values(body=b"", signature=""), EVERYTHING),
    "payments.create_payment": Case(with_values(amount=1, currency="eur", key="k"), EVERYTHING),
    "payments.read_payment": Case(with_values(payment_id="pi_1"), EVERYTHING),
    "roles.create_role": Case(
        with_values(new=RoleCreate(name="drinkers", permissions=["items:read"]), features=FEATURES),
        ROLES,
    ),
    "roles.delete_role": Case(with_values(name="admin"), ROLES),
    "roles.get_role": Case(with_values(name="admin")),
    "roles.list_roles": Case(with_values(query=None)),
    "roles.lock_existing": Case(with_values(names=["admin"]), USERS),
    "roles.permissions_of": Case(with_values(roles=["admin"]), USERS),
    "roles.role_errors": Case(with_values(roles=["admin"]), USERS),
    "roles.sync": Case(with_values(features=FEATURES), EVERYTHING),
    "roles.update_role": Case(
        with_values(name="admin", changes=RoleUpdate(description=None), features=FEATURES), ROLES
    ),
    "storage_quotas.add_rows": Case(with_user(rows=[("Milk",)]), EVERYTHING),
    "storage_quotas.ensure_within_quota": Case(with_values(size=1), EVERYTHING),
    "storage_quotas.update_bytes": Case(with_user(change=1), EVERYTHING),
    "storage_quotas.update_usage": Case(with_user(new=("Milk",)), EVERYTHING),
    "users.add_user": Case(with_values(email="new@example.com"), EVERYTHING),
    "users.create_user": Case(
        with_values(
            new=UserCreate(email="new@example.com", password=PASSWORD), confirm=never_called
        ),
        USERS,
    ),
    "users.create_users": Case(
        with_values(
            new=[InvitedUser(email="new@example.com", roles=["admin"])], confirm=never_called
        ),
        USERS,
    ),
    "users.delete_user": Case(with_user(confirm=never_called), USERS),
    "users.end_sessions": Case(with_user(), USERS),
    "users.export_users": Case(with_values(query=None)),
    "users.find_account": Case(with_values(name="owner@example.com"), EVERYTHING),
    "users.get_account": Case(with_user(), EVERYTHING),
    "users.get_user": Case(with_user()),
    "users.import_users": Case(with_values(lines=(), dry_run=False), EVERYTHING),
    "users.invite_user": Case(with_user(), USERS),
    "users.list_users": Case(with_values(query=None)),
    "users.lock_account": Case(with_user(), EVERYTHING),
    "users.reset_password": Case(with_user(password_hash="made up"), EVERYTHING),
    "users.set_roles": Case(with_user(roles=[]), USERS),
    "users.update_user": Case(
        with_user(changes=UserUpdate(full_name="Eve"), confirm=never_called), USERS
    ),
    "users.user_statistics": Case(with_values(days=1)),
    "users.verify_email": Case(with_user(email="eve@example.com"), EVERYTHING),
}
OWN = "Concerns the principal's own account only."
PURE = "Reads and changes no row."
# Functions that serve every caller, and the reason.
OPEN: dict[str, str] = {
    "accounts.check_registration_open": PURE,
    "accounts.register": "REGISTRATION_MODE decides.",
    "accounts.request_link": "Answers alike for every address.",
    "accounts.reset_password": "The mailed token is the credential.",
    "accounts.verify_email": "The mailed token is the credential.",
    "articles.export_articles": OWN,
    "articles.get_article": "Published articles are public.",
    "articles.list_articles": "Published articles are public.",
    "audit.changes_of": PURE,
    "audit.export_events": OWN,
    "audit.keep_events": PURE,
    "audit.record": "A service records what it does for its caller.",
    "audit.record_all": "A service records what it does for its caller.",
    "audit.record_delete": "A service records what it does for its caller.",
    "audit.record_update": "A service records what it does for its caller.",
    "auth.export_sessions": OWN,
    "repeated_requests.erase": "Core calls it when an account is deleted.",
    "repeated_requests.keep_response": "Core calls it with a response that the caller gets.",
    "auth.list_sessions": OWN,
    "auth.log_out": "The session or its refresh token is the credential.",
    "auth.log_out_everywhere": OWN,
    "auth.needs_verified_email": PURE,
    "auth.refresh": "The refresh token is the credential.",
    "auth.sign_in": "The password is the credential.",
    "files.check_storage": "Readiness checks have no caller.",
    "files.find_file": "The key of a public file, or the signature of a link, is the credential.",
    "files.read_file": "Takes a file that `find_file` has returned.",
    "files.try_storage": "A check of the command line.",
    "health.readiness": "Probes are anonymous.",
    "jobs.check_worker": "Readiness checks have no caller.",
    "mail.empty_mailbox": "The mailbox exists in development only.",
    "mail.read_mailbox": "The mailbox exists in development only.",
    "mail.render": PURE,
    "roles.grants": "A part of statements.",
    "roles.list_permissions": "Shows what the modules declare.",
    "users.access": "A part of statements.",
    "users.attempt_target": PURE,
    "users.author": "Everybody may see this part of an account.",
    "users.authors": "Everybody may see this part of an account.",
    "users.change_password": OWN,
    "users.check_password": "The password is the credential.",
    "users.count_mailed_link": "Counts what the client does.",
    "users.delete_me": OWN,
    "users.export_me": OWN,
    "users.delete_avatar": OWN,
    "users.get_me": OWN,
    "users.hash_new_password": PURE,
    "users.new_account_errors": PURE,
    "users.password_change_errors": OWN,
    "users.password_errors": PURE,
    "users.permission_set": PURE,
    "users.registration_mode": PURE,
    "users.replace_avatar": OWN,
    "users.update_me": OWN,
}


def public_functions(service: ModuleType) -> Iterator[str]:
    """Return the functions that other modules and routers may call."""
    listed = getattr(service, "__all__", ())
    for name, value in vars(service).items():
        if inspect.isclass(value) or get_origin(value) is not None:
            continue
        own = getattr(value, "__module__", None) == service.__name__
        if (name in listed or own) and callable(value) and not name.startswith("_"):
            yield name


def service_of(module: str) -> ModuleType | None:
    try:
        return import_module(f"backend.modules.{module}.service")
    except ModuleNotFoundError:
        return None


FUNCTIONS = {
    f"{module.name}.{name}": getattr(service, name)
    for module in MODULES
    if (service := service_of(module.name))
    for name in public_functions(service)
}


def is_for_system(name: str) -> bool:
    by = inspect.signature(FUNCTIONS[name]).parameters.get("by")
    return by is not None and by.annotation is System


def test_every_public_service_function_is_listed() -> None:
    known = CASES.keys() | OPEN.keys()
    sentences = [
        *(
            f"{name} is new: add its arguments to CASES, or to OPEN the reason why everybody may "
            "call it."
            for name in sorted(FUNCTIONS.keys() - known)
        ),
        *(f"{name} is listed but does not exist." for name in sorted(known - FUNCTIONS.keys())),
        *(f"{name} is in CASES and in OPEN." for name in sorted(CASES.keys() & OPEN.keys())),
        *(
            f"{name} takes no `by`, the principal whose rights it checks."
            for name in sorted(CASES.keys() & FUNCTIONS.keys())
            if "by" not in inspect.signature(FUNCTIONS[name]).parameters
        ),
        *(
            f"{name} is for trusted callers by its type or by its case: annotate `by: System`, and "
            "let its case hold EVERYTHING."
            for name in sorted(CASES.keys() & FUNCTIONS.keys())
            if is_for_system(name) != (CASES[name].held == EVERYTHING and not CASES[name].missing)
        ),
    ]
    assert not sentences, "\n" + "\n".join(sentences)


@pytest.fixture
async def place(context: Context, actor: ActorFactory) -> Place:
    return Place(context, await actor("owner"))


async def call(name: str, place: Place, by: Principal, session: AsyncSession) -> None:
    values = await CASES[name].arguments(place)
    given = {
        "context": place.context,
        "session": session,
        "reader": place.context.database.primary,
        "by": by,
    }
    wanted = inspect.signature(FUNCTIONS[name]).parameters
    found = FUNCTIONS[name](**{k: v for k, v in given.items() if k in wanted}, **values)
    if isinstance(found, AbstractAsyncContextManager):
        async with found:
            return
    if inspect.isasyncgen(found):
        async for _ in found:
            return
    if inspect.isawaitable(found):
        await found


async def assert_refused(name: str, place: Place, permissions: frozenset[str]) -> None:
    by = Principal(uuid4(), uuid4(), permissions)
    refusals: tuple[type[AppError], ...] = (PermissionDeniedError,)
    if missing := CASES[name].missing:
        refusals += (missing,)
    with pytest.raises(refusals):
        async with place.context.database.transaction() as session:
            await call(name, place, by, session)


@pytest.mark.parametrize("name", CASES)
async def test_a_principal_without_permissions_is_refused(name: str, place: Place) -> None:
    await assert_refused(name, place, frozenset())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.held])
async def test_permissions_that_do_not_suffice_are_refused(name: str, place: Place) -> None:
    await assert_refused(name, place, CASES[name].held)


async def test_registration_that_is_closed_is_closed_for_modules(database_url: str) -> None:
    context = make_context(database_url, registration_mode="closed")
    new = Registration(email="new@example.com", password=PASSWORD)
    async with context.database.transaction() as session:
        with pytest.raises(RegistrationClosedError):
            await accounts.register(context, session, new)
    await context.database.close()
