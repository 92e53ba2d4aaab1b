"""Strict parsing of forms: no unknown or repeated fields, UTF-8 without NUL."""

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import parse_qsl

from fastapi._compat import ModelField, field_annotation_is_sequence, lenient_issubclass
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

MULTIPART = "multipart/form-data"
# Decoding each takes an operation in Python.
MAX_ESCAPES = 50_000
FORM_TYPES = frozenset({"application/x-www-form-urlencoded", MULTIPART})


class FormRefusedError(HTTPException):
    """Errors in a form. While it reads a body, FastAPI propagates only HTTPException."""

    def __init__(self, errors: list[Any], sent: FormData) -> None:
        super().__init__(422)
        self.errors = errors
        self.sent = dict(sent)


@dataclass(frozen=True)
class Form:
    """The form of a route: its parameters, as described by FastAPI."""

    parameters: list[ModelField]
    embedded: bool

    @property
    def fields(self) -> dict[str, bool]:
        """Whether a field may be repeated, by name."""
        return {
            name: field_annotation_is_sequence(annotation)
            for parameter in self.parameters
            for name, annotation in _fields_of(parameter)
        }

    async def check(self, sent: FormData) -> None:
        """Raise `FormRefusedError` for errors FastAPI ignores, together with those it finds."""
        errors = refusals(sent, self.fields)
        if errors:
            _, more = await request_body_to_args(self.parameters, sent, self.embedded)
            known = {(error["loc"], error["type"]) for error in errors}
            errors += [error for error in more if (error["loc"], error["type"]) not in known]
            await sent.close()
            raise FormRefusedError(errors, sent)


def form_parameters(dependant: Dependant) -> list[ModelField]:
    """Return the body parameters of a route and of its dependencies."""
    inner = [item for sub in dependant.dependencies for item in form_parameters(sub)]
    return [*dependant.body_params, *inner]


def _fields_of(parameter: ModelField) -> Iterator[tuple[str, Any]]:
    annotation = parameter.field_info.annotation
    types = (annotation, *get_args(annotation))
    models = [kind for kind in types if lenient_issubclass(kind, BaseModel)]
    if not models:
        yield parameter.alias, annotation
    for model in models:
        for name, info in model.model_fields.items():
            yield info.alias or name, info.annotation


def refusals(sent: FormData, fields: Mapping[str, bool]) -> list[Any]:
    """Return errors of unknown and repeated fields and of NUL, in the form of pydantic's errors.

    `fields` are the permitted names, and whether each may be repeated.
    """
    errors: list[Any] = []
    seen: set[str] = set()
    for name, value in sent.multi_items():
        text = value if isinstance(value, str) else value.filename or ""
        if name not in fields:
            errors.append(_refusal(name, "extra_forbidden", "Unknown."))
        elif name in seen and not fields[name]:
            errors.append(_refusal(name, "repeated", "Given twice."))
        elif "\0" in text:
            errors.append(_refusal(name, "text_nul", "Must not contain NUL."))
        seen.add(name)
    return errors


def _refusal(name: str, code: str, message: str) -> dict[str, Any]:
    return {"loc": ("body", name), "type": code, "msg": message}


async def read_form(request: Request, **limits: Any) -> FormData:
    """Parse the form in the body, within Starlette's `limits`; else raise HTTPException 400."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type == MULTIPART:
            async with aclosing(request.stream()) as stream:
                return await _Parser(request.headers, stream, **limits).parse()
        text = (await request.body()).decode()
        fields = text.count("&") + 1
        if fields > limits["max_fields"]:
            raise HTTPException(400, "The form has too many fields.")
        if text.count("%") > MAX_ESCAPES:
            raise HTTPException(400, "The form has too many escapes; send multipart/form-data.")
        return FormData(_pairs(text))
    except UnicodeError:
        raise HTTPException(400, "The form is not UTF-8.") from None
    except MultiPartException as refused:
        raise HTTPException(400, refused.message) from None


def _pairs(text: str) -> list[tuple[str, str | UploadFile]]:
    return [*parse_qsl(text, keep_blank_values=True, errors="strict")]


class _Parser(MultiPartParser):
    """Starlette's parser, but an error for text that is not UTF-8 instead of Latin-1."""

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            self._current_part.data.decode()
        super().on_part_end()
