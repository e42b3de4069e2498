"""Settings: the command line, then `BFLOW_*`, then the project's `bflow.toml`, then `~/.config/bflow/config.toml`.

`[profile.NAME]` groups them; `--profile NAME` (or `BFLOW_PROFILE`) lays that group over its file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from buildflow.errors import FlowError
from buildflow.near import did_you_mean

KNOWN: dict[str, type] = {
    "worker": str, "jobs": int, "env": str, "default_env": str, "cache_root": str, "readonly_cache": list,
    "keep_going": bool, "resources": dict, "options": dict, "profile": str, "verbose": bool, "quiet": bool,
    "container": str, "environments": dict,
}  # fmt: skip


def setting_files(root: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The files that settings are read from, the weakest first (absolute)."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
    return [os.path.join(home, "bflow", "config.toml"), os.path.join(root, "bflow.toml")]


def settings(root: str, profile: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """All settings below the command line. Raises FlowError for a broken file, an unknown name or a wrong type."""
    found: dict[str, Any] = {}
    profile = profile or environ.get("BFLOW_PROFILE")
    seen_profile = False
    for path in setting_files(root, environ):
        data = _read(path)
        profiles = data.pop("profile", {})
        if isinstance(profiles, str):
            profile = profile or profiles
            profiles = {}
        _merge(found, data, path)
        if profile and profile in profiles:
            seen_profile = True
            _merge(found, profiles[profile], path)
        elif profile and profiles:
            found.setdefault("_profiles", []).extend(profiles)
    if profile and not seen_profile:
        known = found.get("_profiles", [])
        raise FlowError(
            f"there is no profile {profile}", None, did_you_mean(profile, known) or "write [profile.NAME] in bflow.toml"
        )
    found.pop("_profiles", None)
    for name, value in environ.items():
        if name.startswith("BFLOW_") and name[6:].lower() in KNOWN and name != "BFLOW_PROFILE":
            key = name[6:].lower()
            found[key] = _from_text(key, value, name)
    return found


def _from_text(key: str, value: str, name: str) -> Any:
    kind = KNOWN[key]
    if kind is int:
        try:
            return int(value)
        except ValueError:
            raise FlowError(f"{name}={value} is no number") from None
    if kind is bool:
        return value.lower() not in ("", "0", "no", "false", "off")
    if kind is list:
        return [part for part in value.split(os.pathsep) if part]
    if kind is dict:
        return dict(part.partition("=")[::2] for part in value.split())
    return value


def _read(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as file:
            data: dict[str, Any] = tomllib.load(file)
            return data
    except tomllib.TOMLDecodeError as error:
        raise FlowError(f"{path}: {error}") from None
    except OSError as error:
        raise FlowError(f"cannot read {path}: {error.strerror}") from None


def _merge(into: dict[str, Any], data: Mapping[str, Any], path: str) -> None:
    for key, value in data.items():
        name = key.replace("-", "_")
        kind = KNOWN.get(name)
        if kind is None:
            raise FlowError(
                f"{path}: there is no setting “{key}”",
                None,
                did_you_mean(name, KNOWN) or f"there are: {' '.join(KNOWN)}",
            )
        if (
            kind is str
            and not isinstance(value, str)
            or kind is int
            and (not isinstance(value, int) or isinstance(value, bool))
        ):
            raise FlowError(f"{path}: {key} = {value!r} should be {'text' if kind is str else 'a whole number'}")
        if kind is list and isinstance(value, str):
            value = [value]
        if kind in (list, dict, bool) and not isinstance(value, kind):
            raise FlowError(f"{path}: {key} = {value!r} is of the wrong kind")
        if kind is dict and isinstance(into.get(name), dict):
            into[name] = {**into[name], **value}
        else:
            into[name] = value
