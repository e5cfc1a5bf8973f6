"""A file that people write in TOML: read, checked, and every problem told by its place in the file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

_MANY: Final = ("tuple_type", "list_type")
_TABLES: Final = ("model_type", "model_attributes_type", "dict_type")

T = TypeVar("T", bound="Part")


class BadFileError(ValueError):
    """A file that cannot be used; the message names the file and the field, and says what to write instead."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class Part(BaseModel):
    """A table of such a file: nothing unknown gets in, and nothing is taken for something else."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def read_file(path: Path, kind: type[T], what: str, error: type[BadFileError] = BadFileError) -> T:
    """The whole file as one `kind`.

    Args:
        path: of the file.
        kind: what it should hold.
        what: a word for that, in messages: "fleet".
        error: what is raised.

    Raises:
        BadFileError: there is no such file, it is no TOML, or a field is missing, unknown or out of range.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        if not content:
            raise error(path, f"is empty; write the {what} into it")
        return kind.model_validate(content)
    except OSError as problem:
        raise error(path, f"cannot be read ({problem.strerror}); name an existing {what} file") from problem
    except UnicodeDecodeError as problem:
        raise error(path, f"is no text; write the {what} as TOML in UTF-8") from problem
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise error(path, f"is no TOML: {problem}") from problem
    except ValidationError as problem:
        raise error(path, _problems(problem)) from problem


def _follows_from(one: ErrorDetails, problems: Sequence[ErrorDetails]) -> bool:
    """Whether it is only said because of what is wrong inside: a list is too short without its items that are wrong."""
    place = one["loc"]
    return one["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in problems
    )


def _problems(error: ValidationError) -> str:
    """Every field that is wrong, by its place in the file; what there is several of is counted from 1, as people do."""
    lines = []
    problems = error.errors()
    deepest = [one for one in problems if not _follows_from(one, problems)]
    for problem in deepest:
        place = ""
        for part in problem["loc"]:
            place += f" {part + 1}" if isinstance(part, int) else f"{', ' if place else ''}{part}"
        what = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            what = "there is no such field; is its name misspelt?"
        elif problem["type"] == "missing":
            what = "is missing; add it"
        elif problem["type"] in _MANY:
            name = problem["loc"][-1]
            what = (
                f"write [[{name}]], with two brackets: there may be several"
                if len(problem["loc"]) == 1
                else f'write a list, like {name} = ["...", "..."]'
            )
        elif problem["type"] in _TABLES:
            what = "write a table, with a line `name = value` for each of its fields"
        elif problem["type"] == "too_short":
            what = "name at least one"
        lines.append(f"{place}: {what}" if place else what)
    return "; ".join(lines)
