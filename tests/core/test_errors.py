"""Errors declared by modules become problem documents."""

import gc
import json
from collections.abc import Iterator

import pytest

from backend.core.errors import (
    AppError,
    NotAuthenticatedError,
    NotFoundError,
    ServiceUnavailableError,
)
from backend.core.problems import problem_response


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Collect the error classes of a test: their base class refers to them until then."""
    yield
    gc.collect()


def document(error: AppError) -> dict[str, object]:
    found = json.loads(bytes(problem_response({"type": "http", "path": "/"}, error).body))
    assert isinstance(found, dict)
    return found


def test_an_error_has_the_sentence_of_its_class_or_one_of_its_own() -> None:
    assert document(NotFoundError())["detail"] == NotFoundError.detail
    assert document(NotFoundError("No cup is left."))["detail"] == "No cup is left."
    assert document(NotFoundError())["detail"] == NotFoundError.detail


def test_an_error_has_the_headers_of_its_class_and_its_own() -> None:
    assert NotAuthenticatedError().headers == {"WWW-Authenticate": "Bearer"}
    assert ServiceUnavailableError(headers={"A": "b"}).headers == {"Retry-After": "1", "A": "b"}
    assert ServiceUnavailableError(headers={"Retry-After": "9"}).headers == {"Retry-After": "9"}


def test_a_subclass_without_a_code_of_its_own_is_refused() -> None:
    sentence = "CupNotFoundError must set a code of its own: NOT_FOUND is that of NotFoundError"
    with pytest.raises(TypeError, match=sentence):
        type("CupNotFoundError", (NotFoundError,), {"detail": "No cup has this id."})


def test_a_subclass_that_lacks_something_is_refused() -> None:
    with pytest.raises(TypeError, match="CupError must set status, detail"):
        type("CupError", (AppError,), {"code": "CUP"})
