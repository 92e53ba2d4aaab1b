"""The reason phrases of statuses, the same with all versions of Python."""

from http import HTTPStatus

# Of RFC 9110. Python before 3.13 has the former ones.
_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def phrase_of(status: int) -> str:
    return _PHRASES.get(status) or HTTPStatus(status).phrase
