"""What a container engine (docker, podman) is asked: an image's id, over its unix socket where there is one.

Imports next to nothing: a build with nothing to do asks here whether an image's name still means the same image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

Question = tuple[str, str, str]
"""The engine's command, its socket (empty: there is none) and an image."""


class NoEngine(Exception):
    """The engine cannot be asked: one sentence."""


class NoImage(Exception):
    """The engine has no such image."""


_NO_IMAGE = ("no such image", "image not known", "unable to find", "image not found", "failed to find image")


def image(question: Question) -> dict[str, Any]:
    """What the engine knows of an image: `Id`, `Config`. Raises NoEngine, NoImage."""
    command, socket, name = question
    if socket:
        try:
            status, answer = get(socket, f"/images/{name}/json")
        except OSError:
            pass  # the command will say it best
        else:
            if status == 404:
                raise NoImage(name)
            if status == 200 and isinstance(answer, dict):
                return answer
    from buildflow.environments.ask import Refused, ask

    words = command.split()
    try:
        text = ask([*words, "image", "inspect", name])
    except Refused as refused:
        if any(part in refused.said.lower() for part in _NO_IMAGE):
            raise NoImage(name) from None
        raise NoEngine(refused.last) from None
    import json

    try:
        found: dict[str, Any] = json.loads(text)[0]
        found["Id"]
    except (ValueError, LookupError, TypeError):
        raise NoEngine(f"{command} image inspect {name} gave no answer that can be read") from None
    return found


def image_id(found: dict[str, Any]) -> str:
    """The id alone: docker writes the name of its hash before it, podman does not."""
    return str(found["Id"]).removeprefix("sha256:")


def get(socket_path: str, path: str) -> tuple[int, Any]:
    """The status and the JSON that a daemon answers on its socket (HTTP/1.0: the answer ends with the connection)."""
    import json
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(socket_path)
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("ascii"))
        data = b""
        while part := connection.recv(1 << 16):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    try:
        return int(words[1]), json.loads(body) if body.strip() else None
    except (LookupError, ValueError):
        raise ConnectionError("the answer cannot be read") from None


def socket_of(words: Sequence[str], variable: Callable[[str], str | None]) -> str:
    """The unix socket on which an engine's command would ask its daemon; empty where that cannot be known."""
    if len(words) != 1:
        return ""  # with options of its own
    kind = os.path.basename(words[0])
    if kind not in ("docker", "podman"):
        return ""
    host = variable("DOCKER_HOST" if kind == "docker" else "CONTAINER_HOST")
    if host:
        return host[7:] if host.startswith("unix:///") else ""
    if kind == "podman" or variable("DOCKER_CONTEXT") or _context(config_of(variable)):
        return ""
    return "/var/run/docker.sock"


def config_of(variable: Callable[[str], str | None]) -> str:
    """Docker's own file of settings, which may name another daemon."""
    folder = variable("DOCKER_CONFIG") or os.path.join(variable("HOME") or "", ".docker")
    return os.path.join(folder, "config.json")


def _context(path: str) -> bool:
    """Whether docker's settings choose a context."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError:
        return False
    return b'"currentContext"' in text


def unmoved(images: dict[Question, str]) -> list[str] | None:
    """For a build with nothing to do: None where an image's name means another image now; else what is to be told."""
    told = []
    for question, known in images.items():
        try:
            if image_id(image(question)) != known:
                return None
        except (NoEngine, NoImage) as problem:
            told.append(last_id_counts(question, problem))
    return told


def last_id_counts(question: Question, problem: Exception) -> str:
    """What is said where an image cannot be asked for and nothing needs it."""
    name = question[2]
    why = f"{name} is not here" if isinstance(problem, NoImage) else f"{problem}"
    return f"{why.rstrip('.')}: the id that the image {name} had last counts"
