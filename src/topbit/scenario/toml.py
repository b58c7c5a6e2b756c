"""How is a scenario written down as TOML, found by name, and changed by `--set`?

name = "mine"
[realm]
ipa_bits = 41
[vmm]
smmu_map = "protected"
[[device]]
name = "nvme0"
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_type_hints

from topbit.errors import InputError, ScenarioError, UsageError, nearest
from topbit.scenario.builtin import BUILTIN, builtin
from topbit.scenario.scenario import Scenario, check_number_of_devices
from topbit.scenario.tables import (
    USUAL_MODEL,
    DeviceSpec,
    GuestSpec,
    HostSpec,
    RealmSpec,
    WorkloadSpec,
    fields_of,
    values,
)
from topbit.vmm.conventions import policy_of
from topbit.vmm.policy import VmmPolicy

Wanted: TypeAlias = Scenario | str | os.PathLike[str]
Settings: TypeAlias = Mapping[str, bool | int | str] | Iterable[str]

TABLES: dict[str, type[Any]] = {
    "realm": RealmSpec,
    "guest": GuestSpec,
    "vmm": VmmPolicy,
    "host": HostSpec,
    "device": DeviceSpec,
    "workload": WorkloadSpec,
}

LARGEST = 1 << 18
"""Bytes of a scenario's file: it holds a few dozen keys, and 31 devices at most."""
MOST_DOTS = 100
"""Dots of one line: what tomllib does for a key grows with the square of its parts."""
SHOWN = 60
"""Characters of a wrong value that are shown."""
RENAMED = {"habit": "behaviour"}
"""Keys that had another name in topbit 0.1."""


def loads(text: str, where: str) -> Scenario:
    """Which scenario does the TOML `text` describe? `where` names it in errors.

    Raises:
        ScenarioError: not TOML, an unknown key (with the nearest known one), a wrong type, or a
            contradiction.
    """
    import tomllib

    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise ScenarioError(f"has a line with more than {MOST_DOTS} dots", where=where)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits is a plain ValueError.
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ScenarioError(f"not TOML: {why}", where=where) from error
    top = {f.name for f in dataclasses.fields(Scenario)}
    for key in data:
        if key not in top:
            raise ScenarioError(f"unknown key {key!r}", where=where, hint=nearest(key, top))
    found: dict[str, Any] = {"name": Path(where).stem}
    for key, value in data.items():
        if key == "device":
            if not isinstance(value, list):
                raise ScenarioError("device is a list", where=where, hint="write [[device]]")
            check_number_of_devices(len(value), f"{where}: device")
            found[key] = tuple(_table(DeviceSpec, v, f"{where}: device") for v in value)
        elif key in TABLES:
            found[key] = _table(TABLES[key], value, f"{where}: {key}")
        else:
            found[key] = _typed(value, str, f"{where}: {key}")
    return _in(where, found)


def _in(where: str, found: dict[str, Any]) -> Scenario:
    try:
        return Scenario(**found)
    except UsageError as error:
        raise ScenarioError(error.what, where=f"{where}: {error.where}", hint=error.hint) from None


def _table(kind: type[Any], data: object, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise ScenarioError("is not a table", where=where)
    fields = fields_of(kind)
    for key in data:
        if key not in fields:
            raise ScenarioError(f"unknown key {key!r}", where=where, hint=_meant(key, fields))
    if kind is DeviceSpec and "name" not in data:
        raise ScenarioError("a device needs a name", where=where, hint='name = "nvme0"')
    types = _types(kind)
    said = {fields[k].name: _typed(v, types[k], f"{where}.{k}") for k, v in data.items()}
    if kind is VmmPolicy and said.get("convention"):
        return dataclasses.replace(_convention(said["convention"], where), **said)
    return kind(**said)


def _convention(name: str, where: str) -> VmmPolicy:
    """Which policy has a VMM's convention? A scenario changes it by what it says besides."""
    try:
        return policy_of(name)
    except UsageError as error:
        raise ScenarioError(error.what, where=where, hint=error.hint) from None


def _types(kind: type[Any]) -> dict[str, type[Any]]:
    """Which plain type has each key? (`bool | None` is bool: TOML has no null)"""
    hints = get_type_hints(kind)
    plain = {name: (get_args(hint) or (hint,))[0] for name, hint in hints.items()}
    return {key: plain[f.name] for key, f in fields_of(kind).items()}


def _meant(key: str, known: Iterable[str]) -> str:
    """What did the user mean by an unknown key of a table?"""
    if key in RENAMED and RENAMED[key] in known:
        return f"it is called {RENAMED[key]!r} now"
    return nearest(key, known)


def _typed(value: object, kind: type[Any], where: str) -> Any:
    if issubclass(kind, StrEnum):
        return value if isinstance(value, kind) else _chosen(_typed(value, str, where), kind, where)
    if isinstance(value, int) and abs(value) >> 64:
        raise ScenarioError("is no number of 64 bits", where=where)
    if type(value) is not kind:
        plain = isinstance(value, str | int | float)
        shown = repr(value) if plain else f"a {type(value).__name__}"
        raise ScenarioError(f"{shown[:SHOWN]} is not of type {kind.__name__}", where=where)
    return value


def _chosen(text: str, kind: type[StrEnum], where: str) -> StrEnum:
    choices = [choice.value for choice in kind]
    if text not in choices:
        raise ScenarioError(f"{text!r} is not one of {', '.join(choices)}", where=where)
    return kind(text)


def load(path: Path) -> Scenario:
    """Which scenario does the file describe?

    Raises:
        InputError: the file cannot be read.
        ScenarioError: see `loads`.
    """
    try:
        if path.stat().st_size > LARGEST or not path.is_file():
            raise InputError(f"is no file of {LARGEST >> 10} KiB at most", where=str(path))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"cannot read the scenario: {reason}", where=str(path)) from error
    return loads(text, str(path))


def find(wanted: Wanted) -> Scenario:
    """Which scenario does the user mean?

    Args:
        wanted: a built-in name, the path of a TOML file (a `Path`, or a text that ends with .toml
            or has a slash), TOML text (of several lines), or a scenario, which is the answer.

    Raises:
        ScenarioError, InputError: none of these, or not one that can be used.
    """
    if isinstance(wanted, Scenario):
        return wanted
    if not isinstance(wanted, str):
        return load(Path(wanted))
    if "\n" in wanted:
        return loads(wanted, "scenario")
    if wanted in BUILTIN:
        return builtin(wanted)
    if wanted.endswith(".toml") or "/" in wanted:
        return load(Path(wanted))
    raise ScenarioError(
        f"no scenario {wanted!r}",
        hint=f"{nearest(wanted, BUILTIN)}; a file of your own ends with .toml",
    )


def change(scenario: Scenario, settings: Settings) -> Scenario:
    """Which scenario is it with these settings changed, one after the other?

    Args:
        settings: `{"vmm.smmu_map": "protected"}` with values of the keys' types, or texts as
            --set takes them, `["vmm.smmu_map=protected"]`.

    Raises:
        ScenarioError: see `override`.
    """
    if isinstance(settings, Mapping):
        for path, value in settings.items():
            where = f"setting {path}"
            scenario = _with(scenario, path, partial(_typed, value, where=where), where)
        return scenario
    for setting in [settings] if isinstance(settings, str) else settings:
        scenario = override(scenario, setting)
    return scenario


def override(scenario: Scenario, setting: str) -> Scenario:
    """Which scenario is it with one `TABLE.KEY=VALUE` changed?

    A device's keys are set for one device, `nvme0.trusted=true`, or for all, `device.trusted=true`.

    Raises:
        ScenarioError: no such key, a value that does not fit, or a contradiction.
    """
    path, separator, text = setting.partition("=")
    where = f"--set {setting}"
    if not separator:
        raise ScenarioError("not of the form TABLE.KEY=VALUE", where=where)
    return _with(scenario, path.strip(), lambda kind: _parse(text.strip(), kind, where), where)


def _with(
    scenario: Scenario, path: str, value_of: Callable[[type[Any]], Any], where: str
) -> Scenario:
    """The scenario with the value at `path` changed to what `value_of(its type)` gives."""
    table, dot, key = path.partition(".")
    if not dot:
        raise ScenarioError("not of the form TABLE.KEY=VALUE", where=where)
    names = {d.name for d in scenario.device}
    if table not in TABLES and table not in names:
        raise ScenarioError(
            f"unknown table {table!r}", where=where, hint=nearest(table, {*TABLES, *names})
        )
    kind = DeviceSpec if table in names else TABLES[table]
    types = _types(kind)
    if key not in types:
        raise ScenarioError(f"unknown key {key!r}", where=where, hint=_meant(key, types))
    value = value_of(types[key])
    if kind is DeviceSpec:
        devices = tuple(
            _changed(d, key, value) if table in ("device", d.name) else d for d in scenario.device
        )
        changed: dict[str, Any] = {"device": devices}
    elif (table, key) == ("vmm", "convention") and value:
        changed = {"vmm": _convention(value, where)}
    else:
        name = fields_of(kind)[key].name
        changed = {table: dataclasses.replace(getattr(scenario, table), **{name: value})}
    try:
        return dataclasses.replace(scenario, **changed)
    except UsageError as error:
        raise ScenarioError(error.what, where=where, hint=error.hint) from None


def _changed(device: DeviceSpec, key: str, value: Any) -> DeviceSpec:
    """The device with one key changed; a model that was its kind's usual one goes with the kind."""
    changes = {key: value}
    if key == "kind" and device.model == USUAL_MODEL.get(device.kind):
        changes["model"] = ""
    return dataclasses.replace(device, **changes)


def _parse(text: str, kind: type[Any], where: str) -> Any:
    if issubclass(kind, str):
        return _typed(text.strip("\"'"), kind, where)
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is int:
        try:
            return int(text, 0)
        except ValueError:
            pass
    expected = "true or false" if kind is bool else "a whole number"
    raise ScenarioError(f"{text!r} is not {expected}", where=where)


def dumps(scenario: Scenario) -> str:
    """Which TOML text describes the scenario? `loads` reads it back."""
    lines = [f"name = {_toml(scenario.name)}", f"summary = {_toml(scenario.summary)}"]
    for table in ("realm", "guest", "vmm", "host", "workload"):
        lines += ["", f"[{table}]", *_lines(getattr(scenario, table))]
    for device in scenario.device:
        lines += ["", "[[device]]", *_lines(device)]
    return "\n".join(lines) + "\n"


def _lines(spec: Any) -> list[str]:
    return [f"{k} = {_toml(v)}" for k, v in values(spec).items() if v is not None]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
