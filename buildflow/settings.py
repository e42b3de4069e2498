"""Settings: the command line, then `BFLOW_*`, then the project's `bflow.toml`, then `~/.config/bflow/config.toml`.

`[profile.NAME]` groups them: `--profile NAME` (or `BFLOW_PROFILE`, or `profile = "NAME"`) lays that group of a file
over the rest of the file. What a setting does is the business of who reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from buildflow.errors import FlowError, Source, Span
from buildflow.near import did_you_mean, near

KNOWN: dict[str, type] = {
    "worker": str, "jobs": int, "env": str, "env_of": dict, "default_env": str, "cache_root": str,
    "readonly_cache": list,
    "keep_going": bool, "resources": dict, "options": dict, "profile": str, "verbose": bool, "quiet": bool,
    "container": str, "environments": dict, "workers": dict,
}  # fmt: skip

PATHS = ("cache_root", "readonly_cache")

ENVIRONMENTS = ("docker", "docker_options", "network", "singularity", "singularity_options", "module", "conda")
"""What `[environments]` may say; each is a text, options are a list of texts too. `[environments.NAME]` is a table for
the environment of that name that another package brings."""

TABLES = {"env": "env_of"}
"""Settings that may be a table as well, and the name under which that is found."""

NOT_SETTINGS = frozenset(("BFLOW_JOB", "BFLOW_TARGET", "BFLOW_RULE", "BFLOW_ERRORED", "BFLOW_CACHE_DIR"))
"""What jobs and hooks see; they may call bflow."""

_KINDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list of texts", dict: "a table"}
_TRUE, _FALSE = ("1", "yes", "true", "on"), ("0", "no", "false", "off")


def setting_files(root: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The files that settings are read from, the weakest first (absolute)."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
    return [os.path.join(home, "bflow", "config.toml"), os.path.join(root, "bflow.toml")]


def settings(root: str, profile: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """All settings below the command line. Raises FlowError for a broken file, an unknown name or a wrong type."""
    files = [_File(path, root) for path in setting_files(root, environ)]
    profile = profile or environ.get("BFLOW_PROFILE") or None
    for file in reversed(files):
        profile = profile or file.profile
    found: dict[str, Any] = {}
    for file in files:
        _merge(found, file.values)
        if profile is not None:
            _merge(found, file.profiles.get(profile, {}))
    if profile is not None and not any(profile in file.profiles for file in files):
        known = [name for file in files for name in file.profiles]
        there = f"there are: {' '.join(known)}" if known else f"write [profile.{profile}] in bflow.toml"
        raise FlowError(f"there is no profile “{profile}”", None, did_you_mean(profile, known) or there)
    _merge(found, _of_environment(environ))
    found.pop("profile", None)
    return found


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay settings over others; tables key by key."""
    for name, value in values.items():
        into[name] = {**into.get(name, {}), **value} if KNOWN[name] is dict else value


# ---- the environment -------------------------------------------------------------------------------------------


def _of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith("BFLOW_") or not text or variable in NOT_SETTINGS:
            continue
        name = variable[6:].lower()
        if name not in KNOWN or variable != variable.upper():
            meant = near(variable, [f"BFLOW_{known.upper()}" for known in KNOWN], 1)
            if meant:  # others may have variables of such names; a misspelt one is not passed over
                raise FlowError(
                    f"the environment has {variable}, which is no setting", None, f"did you mean {meant[0]}?"
                )
            continue
        found[name] = _from_text(name, text, variable)
    return found


def _from_text(name: str, text: str, variable: str) -> Any:
    kind = KNOWN[name]
    value: Any = text
    if kind is int:
        value = int(text) if text.strip().isdecimal() else text
    elif kind is bool:
        value = True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    elif kind is list:
        value = [part for part in text.split(os.pathsep) if part]
    elif kind is dict:
        words = [word.partition("=") for word in text.split()]
        if not all(key and equals for key, equals, _ in words):
            raise FlowError(f"{variable}={text}: it is written as NAME=VALUE NAME=VALUE")
        value = {key: part for key, _, part in words}
    problem = _problem(name, value)
    if problem is not None:
        raise FlowError(f"{variable}={text}: {problem}")
    return placed(name, value, os.getcwd())


def _problem(name: str, value: Any) -> str | None:
    """What is wrong with a value; None where nothing is."""
    kind: type = KNOWN[name]
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if not fits:
        return f"{name} should be {_KINDS[kind]}"
    if name == "jobs" and value < 1:
        return "jobs should be 1 or more"
    if kind is list and not all(isinstance(item, str) for item in value):
        return f"{name} should be {_KINDS[kind]}"
    if name == "container" and value not in ("fresh", "warm"):
        return "container should be fresh (one for each job) or warm (one is kept for each image)"
    if name == "env_of" and not all(isinstance(item, str) for item in value.values()):
        return "each line should be a rule or a target = an environment, both texts"
    if name == "environments":
        for key, item in value.items():
            several = key.endswith("_options") and isinstance(item, list) and all(isinstance(i, str) for i in item)
            if key in ENVIRONMENTS and not (isinstance(item, str) or several):
                return f"environments.{key} should be a text"
            if key not in ENVIRONMENTS and not isinstance(item, dict):
                return f"there is no environments.{key}; there are: {' '.join(ENVIRONMENTS)}"
    if name in ("resources", "options"):
        for key, item in value.items():
            if not isinstance(item, (str, int, float)) or isinstance(item, bool) and name == "resources":
                return f"{name}.{key} should be a number or a text"
    return None


def placed(name: str, value: Any, base: str) -> Any:
    """Paths as absolute ones; `base` is the folder that they are relative to."""
    if name not in PATHS:
        return value
    if isinstance(value, list):
        return [os.path.abspath(os.path.join(base, os.path.expanduser(item))) for item in value]
    return os.path.abspath(os.path.join(base, os.path.expanduser(value)))


# ---- files -----------------------------------------------------------------------------------------------------


class _File:
    """One file of settings: its `values`, its `profiles` and the `profile` that it asks for. All of it is checked."""

    def __init__(self, path: str, root: str) -> None:
        self.root = root
        self.source = Source(os.path.relpath(path, root) if path.startswith(root + os.sep) else path, "")
        self.values: dict[str, Any] = {}
        self.profiles: dict[str, dict[str, Any]] = {}
        self.profile: str | None = None
        data = self._read(path)
        profiles = data.pop("profile", {})
        if isinstance(profiles, str):
            self.profile = profiles or None
        elif isinstance(profiles, dict):
            for name, values in profiles.items():
                if not isinstance(values, dict):
                    raise FlowError(
                        f"profile.{name} = {values!r} is no group of settings", self._place(name, "profile"),
                        f"write [profile.NAME] and below it {name} = …",
                    )  # fmt: skip
                self.profiles[name] = self._checked(values, f"profile.{name}")
        else:
            raise FlowError("profile should be the name of a profile", self._place("profile", ""))
        self.values = self._checked(data, "")

    def _read(self, path: str) -> dict[str, Any]:
        try:
            with open(path, "rb") as file:
                raw = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise FlowError(f"cannot read {self.source.name}: {error.strerror}") from None
        import sys

        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise FlowError(f"{self.source.name} is no UTF-8") from None
        self.source = Source(self.source.name, text)
        try:
            data: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            raise self._broken(str(error)) from None
        return data

    def _broken(self, message: str) -> FlowError:
        """The error of a file that is no TOML; the parser has the place in its message's end."""
        import re

        match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
        if match is None:
            return FlowError(f"{self.source.name}: {message}")
        last = self.source.text.rpartition("\n")[2]
        end = self.source.text.count("\n") + 1, len(last) + 1
        span = Span(self.source, int(match[2] or end[0]), int(match[3] or end[1]))
        return FlowError(f"{match[1][:1].lower()}{match[1][1:]}", span, "settings are written in TOML, as in: jobs = 4")

    def _checked(self, data: Mapping[str, Any], table: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in data.items():
            name = key.replace("-", "_")
            known_one = name in KNOWN and name not in TABLES.values()
            if isinstance(value, dict):
                name = TABLES.get(name, name)
            if not known_one or table and name == "profile":
                known = [one for one in KNOWN if one not in TABLES.values() and (not table or one != "profile")]
                raise FlowError(
                    f"there is no setting “{key}”", self._place(key, table),
                    did_you_mean(name, known) or f"there are: {' '.join(known)}",
                )  # fmt: skip
            if KNOWN[name] is list and isinstance(value, str):
                value = [value]
            problem = _problem(name, value)
            if problem is not None:
                raise FlowError(f"{key} = {_shown(value)}: {problem}", self._place(key, table))
            found[name] = placed(name, value, self.root)
        return found

    def _place(self, key: str, table: str) -> Span | None:
        """Where a key of a table stands, as far as a look at the lines can tell."""
        import re

        here = ""
        for number, line in enumerate(self.source.text.split("\n"), 1):
            header = re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line)
            if header is not None:
                here = re.sub(r"[\s\"']", "", header[1])
                inner = f"{table}.{key}" if table else key
                if here == inner or here.startswith(inner + "."):
                    return Span(self.source, number, header.start(1) + 1, len(header[1]))
            elif here == table:
                match = re.match(rf"\s*([\"']?{re.escape(key)}[\"']?)\s*[.=]", line)
                if match is not None:
                    return Span(self.source, number, match.start(1) + 1, len(match[1]))
        return None


def _shown(value: Any) -> str:
    """A value about as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
