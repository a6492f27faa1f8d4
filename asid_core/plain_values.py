"""Converts config sections from and to plain values, as in YAML, JSON and on the command line."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class ConfigError(ValueError):
    """An unknown key or an invalid value. The message names its dotted path."""


class _Loader(yaml.SafeLoader):
    """A YAML loader that reads 1e-3 as a number; YAML 1.1 reads it as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(text: str) -> dict[str, Any]:
    """Read a YAML mapping; an empty text is an empty mapping. Raises ConfigError."""
    try:
        values = _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}") from error
    return _mapping({} if values is None else values)


def read_json(text: str) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError; ConfigError if it is not an object."""
    return _mapping(json.loads(text))


def _mapping(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"expected a mapping of sections, not {_short(values)}")
    return values


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build a config section from nested plain values. Raises ConfigError for the first invalid value."""
    try:
        # validated as JSON, because strict validation of Python values would refuse a list for a tuple
        return typing.cast(T, _adapter(typing.cast(Any, cls)).validate_json(json.dumps(values, default=str)))
    except ValidationError as error:
        raise ConfigError(_message(cls, values, error)) from error


def to_dict(config: Any) -> dict[str, Any]:
    """The whole config as plain values, defaults included."""
    return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(config))))


def _message(cls: type, values: Any, error: ValidationError) -> str:
    """The first error in one sentence, with the dotted path."""
    first = min(error.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
    names, section, at = [], cls, values
    for part in first["loc"]:
        if isinstance(at, dict) and part not in at:
            continue  # the kind of a section, which pydantic adds to the path
        if isinstance(at, dict | list):
            at = at[typing.cast(Any, part)]
        names.append(str(part))
        if dataclasses.is_dataclass(section) and part in section.__dataclass_fields__:
            section = _section(section, str(part), at) or section
    path = ".".join(names)
    match first["type"]:
        case "unexpected_keyword_argument":
            known = ", ".join(sorted(field.name for field in dataclasses.fields(section)))
            return f"unknown key {path} (known keys: {known})"
        case "union_tag_invalid" | "union_tag_not_found":
            kinds = first["ctx"].get("expected_tags") or "a known kind"
            return f"{path}.kind must be one of {kinds}, not {_short(at.get('kind'))}"
        case "value_error":
            return f"{path}: {first['ctx']['error']}" if path else str(first["ctx"]["error"])
    wanted = _WANTED.get(first["type"]) or first["msg"].removeprefix("Input should ")
    return f"{path or 'the config'} must {wanted}, not {_short(first['input'])}"


_WANTED = {
    "float_type": "be float",
    "int_type": "be int",
    "bool_type": "be bool",
    "string_type": "be str",
    "tuple_type": "be a list",
    "dict_type": "be a section",
    "dataclass_type": "be a section",
}


def _section(cls: Any, key: str, value: Any) -> type | None:
    """The class of section `key` of `cls`, or None for a plain value. `value` selects among several kinds."""
    hint = typing.get_type_hints(cls)[key]
    for option in typing.get_args(hint) or (hint,):
        if dataclasses.is_dataclass(option):
            kind = option.__dataclass_fields__.get("kind")
            if kind is None or (isinstance(value, dict) and value.get("kind") == kind.default):
                return typing.cast(type, option)
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=c` assignments (the value read as YAML) to plain values; returns a new dict. Raises ConfigError."""
    result: dict[str, Any] = json.loads(json.dumps(values))
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted:
            raise ConfigError(f"--set needs a.b=value, not {assignment!r}")
        node = result
        *parents, last = dotted.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{dotted}: {parent} is not a section")
        try:
            node[last] = _Loader(text).get_single_data()
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {dotted}: {text!r} is not valid YAML: {error}") from error
    return result


def merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`base` updated by `values`, section by section. A section of another `kind` replaces the base's completely."""
    result = dict(base)
    for key, value in values.items():
        under: Any = base.get(key)
        both = isinstance(under, dict) and isinstance(value, dict)
        same_kind = both and value.get("kind", under.get("kind")) == under.get("kind")
        result[key] = merged(under, value) if same_kind else value
    return result


def difference(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The values for which `merged(base, difference)` gives `values`. Both arguments are complete configs."""
    result = {}
    for key, value in values.items():
        under = base[key]
        if isinstance(value, dict) and isinstance(under, dict) and value.get("kind") == under.get("kind"):
            changed = difference(value, under)
            if changed:
                result[key] = changed | ({"kind": value["kind"]} if "kind" in value else {})
        elif value != under:
            result[key] = value
    return result
