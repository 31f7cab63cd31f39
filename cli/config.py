"""Mistakes in a config file, said in one line: the key, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


@contextmanager
def one_line_errors(source: Path | str, model: type[BaseModel]) -> Iterator[None]:
    """Turn the ``ValidationError`` of ``model`` into a `Refusal` about its first mistake.

    ``lens.steps is 0 in my.toml; allowed: at least 1 and at most 1000000``. Further mistakes are counted.
    """
    from pydantic import ValidationError

    from opticaldr.errors import Refusal

    try:
        yield
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        key = ".".join(str(part) for part in first["loc"]) or "the config"
        more = f" (and {len(others)} more mistakes)" if others else ""
        if first["type"] == "extra_forbidden":
            what = f"{source} has an unknown key: {key} = {_short(first['input'])}{more}"
            raise Refusal(what, "see --print-config for every key") from None
        if first["type"] == "missing":
            raise Refusal(f"{source} lacks the key {key}{more}", "see --print-config for every key") from None
        what = f"{key} is {_short(first['input'])} in {source}{more}"
        raise Refusal(what, f"allowed: {_allowed(first, model)}") from None


_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _allowed(mistake: Any, model: type[BaseModel]) -> str:
    """The whole range of the field, or else what pydantic has to say about the value."""
    limits = {**_limits(model, mistake["loc"]), **mistake.get("ctx", {})}
    bounds = [f"{words} {limits[bound]}" for bound, words in _BOUNDS.items() if bound in limits]
    if bounds:
        return " and ".join(bounds)
    if "expected" in limits:
        return str(limits["expected"])
    message = str(mistake["msg"])
    for opening in ("Input should be ", "Value error, "):
        message = message.removeprefix(opening)
    return message


def _limits(model: Any, place: tuple[int | str, ...]) -> dict[str, Any]:
    """Bounds in the metadata of the field at ``place``; empty where there is no such field."""
    field = None
    for part in place:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return {}
        model = field.annotation
    metadata = field.metadata if field is not None else []
    return {bound: getattr(item, bound) for item in metadata for bound in _BOUNDS if hasattr(item, bound)}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
