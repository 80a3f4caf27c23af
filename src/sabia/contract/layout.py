"""The layout of a store: the keys of versions and aliases.

```
models/<name>/<MAJOR>.<MINOR>/<digest>/<file>    content, written first
models/<name>/<MAJOR>.<MINOR>/manifest.json      written last: claims the version
models/<name>/aliases/<alias>.json               moved by compare-and-swap
```

The version's URI ends with a slash: stores list by string prefix, and `…/1.1` would also list `…/1.10/`.
This layout is a format. To change it, raise `manifest.SCHEMA_VERSION` and keep reading the old one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sabia.contract.errors import InvalidName

MODELS = "models"
MANIFEST = "manifest.json"

# An InferenceService is called <name>-v<M>-<m> and its Service <that>-predictor, a DNS label of at most 63
# characters that starts with a letter; 40 leaves room for versions such as 999.999.
NAME_PATTERN = r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?"
VERSION_PATTERN = r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})"
_NAME, _VERSION = re.compile(NAME_PATTERN), re.compile(VERSION_PATTERN)
_ALIAS = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """MAJOR.MINOR: new methods raise MAJOR, new state raises MINOR."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `"1.2"`; no zero padding, no sign, no space.

        Raises:
            InvalidName: the text is anything else.
        """
        match = _VERSION.fullmatch(text)
        if match is None:
            raise InvalidName("version", text, "write MAJOR.MINOR, such as 1.2")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def next_minor(self) -> Version:
        """The number of the same methods with other state."""
        return Version(self.major, self.minor + 1)

    @property
    def next_major(self) -> Version:
        """The number of other methods."""
        return Version(self.major + 1, 0)


def is_model_name(text: str) -> bool:
    """Whether a model may be called so."""
    return _NAME.fullmatch(text) is not None


def check_model_name(name: str) -> str:
    """Return the name, or raise InvalidName."""
    if not _NAME.fullmatch(name):
        raise InvalidName("model name", name, "use 1 to 40 of a-z, 0-9 and '-', starting with a letter")
    return name


def check_alias(alias: str) -> str:
    """Return the alias, or raise InvalidName."""
    if not _ALIAS.fullmatch(alias):
        raise InvalidName("alias", alias, "use 1 to 40 of a-z, 0-9 and '-', starting with a letter")
    return alias


def model_prefix(name: str) -> str:
    """The prefix of one model's versions and aliases."""
    return f"{MODELS}/{check_model_name(name)}/"


def version_prefix(name: str, version: Version) -> str:
    """The prefix of one version, with its slash."""
    return f"{model_prefix(name)}{version}/"


def manifest_key(name: str, version: Version) -> str:
    """The key whose creation claims the version."""
    return version_prefix(name, version) + MANIFEST


def alias_prefix(name: str) -> str:
    """The prefix of a model's aliases."""
    return f"{model_prefix(name)}aliases/"


def alias_key(name: str, alias: str) -> str:
    """The key of one alias."""
    return f"{alias_prefix(name)}{check_alias(alias)}.json"


def version_of_manifest(key: str, name: str) -> Version | None:
    """The version that this key claims, or None when the key is no manifest of the model."""
    prefix = model_prefix(name)
    if not (key.startswith(prefix) and key.endswith(f"/{MANIFEST}")):
        return None
    middle = key[len(prefix) : -len(MANIFEST) - 1]
    return Version.parse(middle) if _VERSION.fullmatch(middle) else None


def alias_of_key(key: str, name: str) -> str | None:
    """The alias whose file is stored under this key, or None when the key is not of an alias of the model."""
    prefix = alias_prefix(name)
    if not (key.startswith(prefix) and key.endswith(".json")):
        return None
    alias = key.removeprefix(prefix).removesuffix(".json")
    return alias if _ALIAS.fullmatch(alias) else None
