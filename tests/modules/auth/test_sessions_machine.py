"""Random sequences of session requests agree with a model."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import Any, TypeVar, cast

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from backend.core.principal import SYSTEM
from backend.modules.users import service as users
from tests.actors import PASSWORD, Client
from tests.applications import make_app, make_context
from tests.examples import examples
from tests.sessions import (
    LOGIN,
    LOGOUT,
    LOGOUT_ALL,
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REUSED,
    SESSIONS,
    Tokens,
    age,
    bearer,
    execute,
    outcome,
    refresh,
)

# Time passes in whole minutes, so that the seconds the test itself takes make no difference.
MINUTE, DAY = 60, 86_400
GRACE, IDLE, ABSOLUTE, MOST = MINUTE, 60 * MINUTE, 90 * MINUTE, 2
GOOD, DONE = (200, None), (204, None)
BOUNDED = settings(
    max_examples=examples(50),
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    # No shrinking: thirty steps are short enough to read, and shrinking takes minutes.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
T = TypeVar("T")
USERS = st.integers(0, 1)
# Whether the session must be alive (mostly), and how many sign-ins ago it began.
Choice = tuple[bool, int]
SESSION = st.tuples(st.sampled_from([True, True, True, False]), st.integers(0, 3))
# How many generations before the current one.
BACK = st.sampled_from([0, 0, 0, 1, 1, 2])


@dataclass
class World:
    """One application for all examples; each example creates its own accounts."""

    url: str
    client: Client
    runner: asyncio.Runner
    numbers: Iterator[int] = field(default_factory=count)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


@dataclass
class User:
    id: str
    email: str
    password: str = PASSWORD
    enabled: bool = True


@dataclass
class Session:
    """The tokens that a client has received, and the expected state of the session."""

    user: User
    received: list[Tokens]
    created: int
    # The time of the last use, and its number among the uses of all sessions.
    used: tuple[int, int] = (0, 0)
    expires: int = 0
    over: bool = False

    @property
    def id(self) -> str:
        session_id: str = self.received[0]["session_id"]
        return session_id


class Ending(Enum):
    LOG_OUT = auto()
    BY_REFRESH_TOKEN = auto()
    BY_ID = auto()
    EVERYWHERE = auto()
    PASSWORD = auto()


class Machine(RuleBasedStateMachine):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.now = 0
        self.numbers = count()
        self.users: list[User] = []
        self.sessions: list[Session] = []
        self.reuses = 0

    @initialize()
    def begin(self) -> None:
        for who in range(2):
            email = f"user{next(self.world.numbers)}@example.com"
            body = {"email": email, "password": PASSWORD}
            answer = self.ask("POST", "/api/v1/auth/register", json=body)
            assert answer.status_code == 201
            self.users.append(User(answer.json()["id"], email))
            for _ in range(MOST):
                self.log_in(who)

    @rule(who=USERS)
    def log_in(self, who: int) -> None:
        user = self.users[who]
        answer = self.log_in_as(user.email, user.password)
        if not user.enabled:
            assert outcome(answer) == (403, "ACCOUNT_DISABLED")
            return
        assert outcome(answer) == GOOD
        for each in sorted(self.alive_of(user), key=lambda each: each.used)[: -(MOST - 1)]:
            each.over = True
        session = Session(user, [answer.json()], created=self.now)
        self.use(session)
        self.sessions.append(session)

    @rule(who=USERS)
    def crowd_out(self, who: int) -> None:
        """Exceed the limit of sessions when the oldest session is the most recently used one."""
        user = self.users[who]
        if user.enabled:
            for _ in range(MOST - len(self.alive_of(user))):
                self.log_in(who)
            self.rotate(self.alive_of(user)[0])
            self.log_in(who)

    @rule(which=SESSION, times=st.integers(1, 3))
    def refresh(self, which: Choice, times: int) -> None:
        session, _ = self.pick(which)
        for _ in range(times):
            self.rotate(session)

    def rotate(self, session: Session) -> None:
        answer = self.refresh_with(session.received[-1])
        self.check_refresh(session, len(session.received) - 1, answer)

    @rule(which=SESSION, back=st.integers(1, 3))
    def replay(self, which: Choice, back: int) -> None:
        session, generation = self.pick(which, back)
        self.check_refresh(session, generation, self.refresh_with(session.received[generation]))

    @rule(which=SESSION, back=BACK, own=st.booleans(), other=SESSION, other_back=BACK)
    def refresh_beside(
        self, which: Choice, back: int, own: bool, other: Choice, other_back: int
    ) -> None:
        """Refresh with an access token of the same session or of another one."""
        session, generation = self.pick(which, back)
        beside, shown = self.pick(which if own else other, other_back)
        token = beside.received[shown]["access_token"]
        answer = self.refresh_with(session.received[generation], token)
        if beside is session and generation - shown in (0, 1):
            self.check_refresh(session, generation, answer)
        else:
            assert outcome(answer) == NO_ACCESS

    def check_refresh(self, session: Session, generation: int, answer: httpx.Response) -> None:
        last = len(session.received) - 1
        if not self.is_alive(session):
            assert outcome(answer) == NO_REFRESH
        elif generation == last:
            assert outcome(answer) == GOOD
            assert answer.json()["refresh_token"] not in [
                each["refresh_token"] for each in session.received
            ]
            session.received.append(answer.json())
            self.use(session)
        elif generation == last - 1 and self.now - session.used[0] < GRACE:
            assert outcome(answer) == GOOD
            assert answer.json()["refresh_token"] == session.received[-1]["refresh_token"]
        else:
            assert outcome(answer) == REUSED
            session.over = True
            self.reuses += 1
        if answer.status_code == 200:
            assert answer.json()["session_id"] == session.id
            left = session.expires - self.now
            assert left - MINUTE < answer.json()["expires_in"] <= left

    @rule(which=SESSION, back=BACK)
    def refresh_with_a_changed_token(self, which: Choice, back: int) -> None:
        session, generation = self.pick(which, back)
        token = session.received[generation]["refresh_token"]
        changed = token[:60] + ("A" if token[60] != "A" else "B") + token[61:]
        assert outcome(self.refresh_with({"refresh_token": changed})) == NO_REFRESH

    @rule(which=SESSION, back=BACK)
    def use_access_token(self, which: Choice, back: int) -> None:
        session, generation = self.pick(which, back)
        answer = self.ask("GET", ME, session, generation)
        assert outcome(answer) == (GOOD if self.is_alive(session) else NO_ACCESS)

    @rule(which=SESSION)
    def list_sessions(self, which: Choice) -> None:
        session, generation = self.pick(which)
        answer = self.ask("GET", SESSIONS, session, generation)
        if not self.is_alive(session):
            assert outcome(answer) == NO_ACCESS
            return
        rows = {row["id"]: row["current"] for row in answer.json()["data"]}
        assert rows == {each.id: each is session for each in self.alive_of(session.user)}

    @rule(which=SESSION, back=BACK, other=SESSION, how=st.sampled_from(Ending))
    def end(self, which: Choice, back: int, other: Choice, how: Ending) -> None:
        """End sessions by one rule for all ways, so that sessions live for a while."""
        session, generation = self.pick(which, back)
        answer, ended = self.end_by(how, session, generation, other)
        if not self.is_alive(session):
            refused = NO_REFRESH if how is Ending.BY_REFRESH_TOKEN else NO_ACCESS
            assert outcome(answer) == refused
        elif how is Ending.BY_ID and not ended:
            assert outcome(answer) == (404, "SESSION_NOT_FOUND")
        else:
            assert outcome(answer) == DONE
            for each in ended:
                each.over = True

    def end_by(
        self, how: Ending, session: Session, generation: int, other: Choice
    ) -> tuple[httpx.Response, list[Session]]:
        """Return the response, and the sessions that end if this session is alive."""
        siblings = self.alive_of(session.user)
        match how:
            case Ending.LOG_OUT:
                return self.ask("POST", LOGOUT, session, generation), [session]
            case Ending.BY_REFRESH_TOKEN:
                body = {"refresh_token": session.received[generation]["refresh_token"]}
                return self.ask("POST", LOGOUT, json=body), [session]
            case Ending.BY_ID:
                target, _ = self.pick(other)
                answer = self.ask("DELETE", f"{SESSIONS}/{target.id}", session, generation)
                return answer, [target] if target in siblings else []
            case Ending.EVERYWHERE:
                return self.ask("POST", LOGOUT_ALL, session, generation), siblings
            case Ending.PASSWORD:
                others = [each for each in siblings if each is not session]
                return self.change_password(session, generation), others

    def change_password(self, session: Session, generation: int) -> httpx.Response:
        new = f"a password of my own, the {next(self.numbers)}th"
        body = {"current_password": session.user.password, "new_password": new}
        answer = self.ask("PUT", f"{ME}/password", session, generation, json=body)
        if answer.status_code == 204:
            session.user.password = new
        return answer

    @rule(who=USERS)
    def disable_or_enable(self, who: int) -> None:
        user = self.users[who]
        user.enabled = not user.enabled
        # Sign in for each change, because the sessions of the administrator expire, too.
        admin = self.log_in_as("root@example.com", PASSWORD).json()["access_token"]
        where, body = f"/api/v1/users/{user.id}", {"is_active": user.enabled}
        answer = self.ask("PATCH", where, json=body, headers=bearer(admin))
        assert answer.status_code == 200
        if not user.enabled:
            for each in self.alive_of(user):
                each.over = True

    @rule(minutes=st.sampled_from([1, 20, 45]))
    def let_time_pass(self, minutes: int) -> None:
        self.world.run(age(self.world.url, minutes * MINUTE))
        self.now += minutes * MINUTE

    def teardown(self) -> None:
        """Compare the sessions with the database, then sign out of each."""
        statement = (
            "SELECT id::text, generation, (SELECT count(*) FROM audit_events"
            " WHERE action = 'auth.refresh_reuse' AND target_id = sessions.id::text) AS reuses"
            " FROM sessions WHERE id = ANY(%s)"
        )
        ids = [each.id for each in self.sessions]
        rows = self.world.run(execute(self.world.url, statement, [ids]))
        assert {row["id"]: row["generation"] for row in rows} == {
            each.id: len(each.received) - 1 for each in self.sessions
        }
        assert sum(row["reuses"] for row in rows) == self.reuses
        for each in self.sessions:
            body = {"refresh_token": each.received[-1]["refresh_token"]}
            answer = self.ask("POST", LOGOUT, json=body)
            assert outcome(answer) == (DONE if self.is_alive(each) else NO_REFRESH)

    def pick(self, which: Choice, back: int = 0) -> tuple[Session, int]:
        """Return a session and one of its generations."""
        living, ago = which
        if living and not any(self.is_alive(each) for each in self.sessions):
            if not self.users[0].enabled:
                self.disable_or_enable(0)
            self.log_in(0)
        found = [each for each in self.sessions if self.is_alive(each) or not living]
        session = found[-1 - ago % len(found)]
        return session, max(0, len(session.received) - 1 - back)

    def use(self, session: Session) -> None:
        session.used = self.now, next(self.numbers)
        session.expires = min(self.now + IDLE, session.created + ABSOLUTE)

    def is_alive(self, session: Session) -> bool:
        return not session.over and self.now < session.expires

    def alive_of(self, user: User) -> list[Session]:
        return [each for each in self.sessions if each.user is user and self.is_alive(each)]

    def log_in_as(self, name: str, password: str) -> httpx.Response:
        return self.ask("POST", LOGIN, json={"email": name, "password": password})

    def refresh_with(self, tokens: Tokens, shown: str | None = None) -> httpx.Response:
        return self.world.run(refresh(self.world.client, tokens["refresh_token"], access=shown))

    def ask(
        self,
        method: str,
        path: str,
        session: Session | None = None,
        generation: int = 0,
        **options: Any,
    ) -> httpx.Response:
        """Send a request, with an access token of this session if one is given."""
        if session is not None:
            options["headers"] = bearer(session.received[generation]["access_token"])
        return self.world.run(self.world.client.request(method, path, **options))


@contextmanager
def world(url: str) -> Iterator[World]:
    context = make_context(
        url,
        refresh_grace=GRACE,
        # Longer than any session, so that the session's lifetime limits the token's.
        access_token_ttl=DAY,
        session_idle_ttl=IDLE,
        session_absolute_ttl=ABSOLUTE,
        max_sessions_per_user=MOST,
    )

    async def begin() -> Client:
        context.state.started = True
        password_hash = await users.hash_new_password(context, PASSWORD, names=())
        async with context.database.transaction() as session:
            await users.add_user(
                session,
                SYSTEM,
                email="root@example.com",
                password_hash=password_hash,
                roles=("admin",),
            )
        return Client(make_app(context))

    # A separate event loop, which does not become the current one of other tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        client = runner.run(begin())
        try:
            yield World(url, client, runner)
        finally:
            runner.run(client.aclose())
            runner.run(context.database.close())


@pytest.mark.slow
@pytest.mark.timeout(600)  # a busy machine needs more than two minutes
@pytest.mark.hypothesis
def test_the_model_and_the_api_agree(own_database_url: str) -> None:
    with world(own_database_url) as made:
        # Any callable that returns a machine is accepted, though the annotation is narrower.
        run_state_machine_as_test(cast(Any, lambda: Machine(made)), settings=BOUNDED)
