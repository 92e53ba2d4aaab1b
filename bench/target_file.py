"""Descriptions of other servers, as TOML files: how to start, prepare and call them."""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.servers import BenchError

Path_ = Annotated[str, Field(pattern="^/")]
Status = Annotated[int, Field(ge=100, le=599)]
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Request(Part):
    """A request with a JSON body, the fields of a form, or neither, and its expected status."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Path_
    json_body: Any = Field(None, alias="json")
    form: dict[str, str] | None = None
    status: Status = 200


class Login(Request):
    """The sign-in of a caller: `token` names a member of the response, a dot leads into objects."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    token: str = "access_token"
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+: .*\{token\}")] = (
        "Authorization: Bearer {token}"
    )


class Database(Part):
    """The preparation of the server's database."""

    commands: list[Annotated[list[str], Field(min_length=1)]] = []
    statements: list[str] = []
    # After each measurement, so that the next one finds the same tables.
    reset: list[str] = []


class Endpoints(Part):
    """The counterparts of the application's endpoints."""

    health: Request | None = None
    me: Request | None = None
    list: Request | None = None
    create: Request | None = None


class Target(Part):
    """Another server. The steps of its preparation are in the order of the fields."""

    # Also the name of a folder.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,39}$")]
    folder: str = "."
    environment: dict[str, str] = {}
    database: Database = Database()
    command: Annotated[list[str], Field(min_length=1)]
    ready: Path_
    ready_seconds: Annotated[float, Field(gt=0)] = 60
    requests: list[Request] = []
    login: Login | None = None
    endpoints: Endpoints


def load_target(file: Path) -> Target:
    """Read a description; raise `BenchError` with a sentence for each mistake."""
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BenchError(f"{file} cannot be read: {reason}.") from None
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"{file} is not TOML: {error}.") from None
    try:
        target = Target.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise BenchError("\n".join(f"{file}: {_sentence(each)}" for each in problems)) from None
    if not target.endpoints.model_fields_set:
        raise BenchError(f"{file}: endpoints is empty; describe one of {_listed(Endpoints)}.")
    return target


def filled(text: str, values: Mapping[str, str]) -> str:
    """Replace `{port}` and the like; raise `BenchError` for a name that is not in `values`."""

    def value(match: "re.Match[str]") -> str:
        name = match[1]
        if name in values:
            return values[name]
        if name == "checkout":
            raise BenchError(
                f"{text!r} contains {{checkout}}: give the folder of the other project, "
                "with `make bench against=FILE checkout=FOLDER`."
            )
        known = ", ".join(f"{{{known}}}" for known in values)
        raise BenchError(f"{text!r} contains the unknown {{{name}}}; known here: {known}.")

    return _PLACEHOLDER.sub(value, text)


def filled_json(value: Any, values: Mapping[str, str]) -> Any:
    """Fill all texts in a JSON value."""
    if isinstance(value, str):
        return filled(value, values)
    if isinstance(value, list):
        return [filled_json(each, values) for each in value]
    if isinstance(value, dict):
        return {name: filled_json(each, values) for name, each in value.items()}
    return value


def _sentence(problem: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        *parents, key = problem["loc"]
        kind = _kind_at(parents)
        close = get_close_matches(str(key), _keys(kind), 1)
        hint = f"did you mean {close[0]!r}" if close else f"the keys are {_listed(kind)}"
        return f"{place} is an unknown key; {hint}."
    if problem["type"] == "missing":
        return f"{place} is missing."
    message = str(problem["msg"])
    return f"{place} is wrong: {message[0].lower()}{message[1:]}."


def _kind_at(place: list[Any]) -> type[Part]:
    """Return the class of the table at a place such as `["endpoints", "me"]`."""
    if not place:
        return Target
    named: dict[Any, type[Part]] = {"database": Database, "login": Login, "endpoints": Endpoints}
    return Request if len(place) > 1 else named.get(place[0], Request)


def _keys(kind: type[Part]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]


def _listed(kind: type[Part]) -> str:
    return ", ".join(_keys(kind))
