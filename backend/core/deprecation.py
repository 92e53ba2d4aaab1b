"""The announcement that a route or a member of a body will be removed from the API."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

# An absolute URL, or a path of this server, in the characters that a Link header may contain.
_URL = re.compile(r"(https?:/)?/[!#-;=?-~]+")


@dataclass(frozen=True, kw_only=True)
class Deprecation:
    """An annotation of a field, or the argument of `core.http.deprecations.deprecated` for a route.

    since   first day of the deprecation, in UTC
    sunset  day from which the API may be without it, in UTC; None while it is undecided. Nothing
            happens on that day by itself: a release removes it.
    info    URL of a page that says how to do without it; absolute, or a path of this server

        colour: Annotated[str, Deprecation(since=date(2026, 9, 1), info="/docs")]
    """

    since: date
    sunset: date | None = None
    info: str

    def __post_init__(self) -> None:
        if self.sunset is not None and self.sunset <= self.since:
            raise ValueError(
                f"a sunset on {self.sunset} is not after the deprecation of {self.since}"
            )
        if not _URL.fullmatch(self.info):
            raise ValueError(
                "`info` of a deprecation must be an absolute URL, or a path of this server"
            )

    @property
    def description(self) -> str:
        """One or two sentences for the OpenAPI document, in Markdown."""
        removal = f" It may be removed from {self.sunset} on." if self.sunset else ""
        return f"Deprecated since {self.since}; see <{self.info}>.{removal}"

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described: dict[str, Any] = handler(schema)
        text = f"{described.get('description', '')} {self.description}".strip()
        return {**described, "deprecated": True, "description": text}
