"""Config dataclasses from plain values, as YAML, JSON and a command line have them, and back."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from typing import Any, Literal, TypeVar, Union

import yaml


class ConfigError(ValueError):
    """A key that does not exist or a value that does not fit; the message names the dotted path."""


T = TypeVar("T")
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # 1e-3 is a number to people; to YAML 1.1 it is text


def from_dict(cls: type[T], values: dict[str, Any], path: str = "") -> T:
    """Build a config dataclass from nested plain values; raises ConfigError on an unknown key or wrong type."""
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        known = ", ".join(sorted(hints))
        raise ConfigError(f"unknown key {path}{unknown[0]} (known here: {known})")
    return cls(**{key: _convert(hints[key], value, f"{path}{key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _choose(typing.get_args(hint), value, path)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{path} is a section, not {value!r}")
        return from_dict(typing.cast(Any, hint), value, path + ".")
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ConfigError(f"{path} must be one of {typing.get_args(hint)}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path} must be a list, not {value!r}")
        return tuple(_convert(typing.get_args(hint)[0], item, path) for item in value)
    if hint is float and isinstance(value, str) and EXPONENT.fullmatch(value):
        return float(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{path} must be {hint.__name__}, not {value!r}")
    return value


def _choose(options: tuple[Any, ...], value: Any, path: str) -> Any:
    """One of several sections, by its `kind`; or an optional plain value."""
    sections: dict[str, Any] = {
        str(o.__dataclass_fields__["kind"].default): o for o in options if dataclasses.is_dataclass(o)
    }
    if not sections:
        if value is None and type(None) in options:
            return None
        return _convert(next(o for o in options if o is not type(None)), value, path)
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in sections:
        raise ConfigError(f"{path}.kind must be one of {sorted(sections)}, not {kind!r}")
    return from_dict(sections[kind], value, path + ".")


def to_dict(config: Any) -> dict[str, Any]:
    """The whole config as plain values, defaults included."""
    return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(config))))


def override(values: dict[str, Any], assignments: typing.Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=c` assignments (the value read as YAML) to plain values; returns a new dict."""
    result = json.loads(json.dumps(values))
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted:
            raise ConfigError(f"--set takes a.b=value, not {assignment!r}")
        node = result
        *parents, last = dotted.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{dotted}: {parent} is not a section")
        node[last] = yaml.safe_load(text)
    return typing.cast(dict[str, Any], result)
