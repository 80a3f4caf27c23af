"""YAML files that people write, parsed strictly: nothing is dropped silently, and each refusal is one sentence."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from sabia.errors import SabiaError

# A plan or a recipe has some hundred lines; a file far larger than that is something else.
_MOST_BYTES = 1 << 20


class UnreadableDocument(SabiaError):
    """A text is not YAML, or has a key twice.

    Attributes:
        field: the dotted name of the key, or "text".
        problem: what is wrong with it.
        line: where, from 1 on; None if that is unknown.
    """

    exit_code = 2

    def __init__(self, field: str, problem: str, line: int | None = None) -> None:
        where = f" (line {line})" if line is not None else ""
        super().__init__(f"The document's {field}{where} {problem}.")
        self.field, self.problem, self.line = field, problem, line


def read_yaml(text: str | bytes) -> tuple[object, yaml.Node | None]:
    """The document in a text, and its nodes, which know their lines; both None for an empty text.

    Raises:
        UnreadableDocument: it is not YAML, has a key twice, is nested too deeply, or is far too large.
    """
    if len(text) > _MOST_BYTES:
        raise UnreadableDocument("text", f"is longer than {_MOST_BYTES:,} characters")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        twice = next(_twice(node, "", {}), None)
        document: object = yaml.safe_load(text) if twice is None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UnreadableDocument("text", "is not YAML", mark.line + 1 if mark else None) from error
    except RecursionError as error:
        raise UnreadableDocument("text", "is nested too deeply, or contains itself") from error
    except ValueError as error:
        # A date such as 2026-13-01, or a number too long to be one.
        raise UnreadableDocument("text", f"has an invalid value ({error})") from error
    if twice is not None:
        raise UnreadableDocument(twice[0], "appears twice", twice[1])
    return document, node


def _twice(node: yaml.Node | None, path: str, walked: dict[int, bool]) -> Iterator[tuple[str, int]]:
    """The repeated keys of mappings, with their lines. YAML forbids them; the parser keeps the last.

    Args:
        node: where to look.
        path: its dotted name.
        walked: by the id of each node that was entered, whether it was left: aliases make a node appear again.

    Raises:
        RecursionError: a node contains itself.
    """
    if walked.get(id(node)) is False:
        raise RecursionError
    if id(node) in walked:
        return
    walked[id(node)] = False
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            name = f"{path}.{key.value}".lstrip(".") if isinstance(key, yaml.ScalarNode) else path
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in keys:
                    yield name, key.start_mark.line + 1
                keys.add((key.tag, key.value))
            yield from _twice(value, name, walked)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _twice(value, path, walked)
    walked[id(node)] = True
