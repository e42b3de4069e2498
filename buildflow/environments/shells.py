"""What a piece of shell makes of an environment: for tools that are set up by sourcing a script."""

from __future__ import annotations

from collections.abc import Mapping

from buildflow.environments.ask import ask

_OWN = ("_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV", "ENV", "PS1", "SHELLOPTS", "BASHOPTS")
_FAMILIES = ("BASH_FUNC_",)


def variables_after(text: str, base: Mapping[str, str], cwd: str) -> dict[str, str]:
    """The variables of a bash that has run `text` in the environment `base`. Raises `ask.Refused`."""
    script = f"set -e\n{{\n{text}\n}} >&2\nexec env -0\n"
    given = {name: value for name, value in base.items() if name not in _OWN}
    out = ask(["bash", "--noprofile", "--norc", "-c", script], env=given, cwd=cwd)
    found = dict(part.split("=", 1) for part in out.split("\0") if "=" in part)
    return {n: v for n, v in found.items() if n not in _OWN and not n.startswith(_FAMILIES)}
