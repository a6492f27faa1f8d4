"""Named configs and config files: each states only what differs from its base, or from the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from asid_core.config.whole import Config
from asid_core.plain_values import ConfigError, difference, from_dict, merged, override, read_json, read_yaml, to_dict

MAX_FILE_BYTES = 1_000_000


def names() -> list[str]:
    """Names of the shipped configs."""
    return sorted(
        p.name.removesuffix(".yaml") for p in resources.files("asid_core.configs").iterdir() if p.name.endswith(".yaml")
    )


def read_values(name_or_file: str) -> dict[str, Any]:
    """Plain values of a shipped config, or of a YAML or JSON file combined with the base that it names.

    Raises ConfigError if there is no such config or the file cannot be read.
    """
    path = Path(name_or_file)
    if path.suffix in (".yaml", ".yml", ".json"):
        return _on_base(path, _read(path))
    if name_or_file in names():
        return read_yaml(resources.files("asid_core.configs").joinpath(f"{name_or_file}.yaml").read_text())
    raise ConfigError(f"unknown config {name_or_file!r}; use one of {', '.join(names())}, or a .yaml or .json file")


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError(f"no config file {path}")
    if not path.is_file():
        raise ConfigError(f"{path} is not a regular file; pass a .yaml or .json file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; is it a config?")
    try:
        text = path.read_text(encoding="utf-8")
        values = read_json(text) if path.suffix == ".json" else read_yaml(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a config: {error}") from error
    return values


def _on_base(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    base = values.pop("base", None)
    if base is None:
        return values
    if base not in names():
        raise ConfigError(f"{path}: base must be one of {', '.join(names())}, not {base!r}")
    return merged(read_values(base), values)


def load(name_or_file: str, assignments: Iterable[str] = ()) -> Config:
    """A named config or a file, with overrides of the form `a.b=value`. Raises ConfigError."""
    base = to_dict(from_dict(Config, read_values(name_or_file)))
    return from_dict(Config, override(base, assignments))


def stated(config: Config) -> str:
    """JSON that `load` reads back as `config`: the complete model section, and other differences from its base.

    The model section is complete because it must always match the weights, even if the named config changes.
    """
    base = config.model.name if config.model.name in names() else None
    against = from_dict(Config, read_values(base)) if base else Config()
    values = {"base": base} if base else {}
    values |= difference(to_dict(config), to_dict(against)) | {"model": to_dict(config.model)}
    return json.dumps(values, indent=1) + "\n"
