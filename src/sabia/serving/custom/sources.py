"""Where a model comes from: an object, or a class by its name."""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sabia.contract.errors import InvalidName
from sabia.contract.layout import Version
from sabia.serving.custom.artifact import ArtifactModel, check_version
from sabia.serving.errors import LoadFailed

_CLASS = re.compile(r"(?:(?P<name>[^=:]+)=)?(?P<module>[A-Za-z_][\w.]*):(?P<class>[A-Za-z_]\w*)")
# The version of code that names none.
UNNUMBERED = "0.0"


@dataclass(frozen=True, slots=True)
class Source:
    """How to get one model.

    Attributes:
        label: what an error calls it.
        make: makes the model, in a process that may run its code.
    """

    label: str
    make: Callable[[], Any]


def from_object(model: Any) -> Source:
    """The source of a model that exists."""
    return Source(type(model).__name__, lambda: model)


def from_setting(text: str, model_name: str | None, source: str) -> list[Source]:
    """The sources that `model_class` names: `package.module:Class`, or several as `name=package.module:Class,...`.

    An `ArtifactModel` is made with `source` too.

    Raises:
        LoadFailed: the text is of another form.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    sources = []
    for part in parts:
        match = _CLASS.fullmatch(part)
        if match is None or (len(parts) > 1 and match["name"] is None):
            form = "package.module:Class" if len(parts) == 1 else "name=package.module:Class for each of several"
            raise LoadFailed(f"model_class {part!r} is not understood; write {form}.")
        name = match["name"] or model_name
        sources.append(
            Source(f"{match['module']}:{match['class']}", _maker(match["module"], match["class"], name, source))
        )
    return sources


def _maker(module: str, name: str, model_name: str | None, source: str) -> Callable[[], Any]:
    def make() -> Any:
        try:
            found = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                raise LoadFailed(f"there is no module {module}.") from error
            raise
        except AttributeError as error:
            raise LoadFailed(f"{module} has no {name}.") from error
        if not callable(found):
            raise LoadFailed(f"{module}:{name} is not a class.")
        if inspect.isclass(found) and issubclass(found, ArtifactModel):
            return found(model_name, source)
        if model_name is not None:
            return found(model_name)
        needed = [
            each.name
            for each in inspect.signature(found).parameters.values()
            if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        if needed:
            raise LoadFailed(f"{name} needs a {needed[0]}; set model_name.")
        return found()

    return make


def identity(model: Any, label: str, model_version: str | None) -> tuple[str, str]:
    """The name and the version of a model.

    Raises:
        LoadFailed: it has no name, or one of them is of another form.
    """
    name = getattr(model, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", name):
        raise LoadFailed(f"{label} has the name {name!r}; letters, digits, '.', '_', '~' and '-' make one.")
    check_version(model, model_version)
    version = model_version or getattr(model, "version", None) or UNNUMBERED
    try:
        return name, str(Version.parse(str(version)))
    except InvalidName as error:
        raise LoadFailed(str(error)) from error


def blame(label: str, step: str, error: BaseException) -> str:
    """One sentence about what the code raised, and where."""
    if isinstance(error, LoadFailed):
        return str(error).removeprefix("Not serving: ")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    text = str(error).partition("\n")[0][:300]
    return f"{label} {step}: {type(error).__name__}{f' ({text})' if text else ''}{place}."
