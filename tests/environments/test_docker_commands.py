"""`env = docker://…` without an engine: a stand-in for its command and one for its daemon say what they were asked."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.environments import docker
from buildflow.environments.base import Command, Site
from buildflow.environments.container import beyond, outermost, reached
from buildflow.environments.engine import socket_of
from buildflow.errors import FlowError
from story import Story

STAND_IN = r"""#!/bin/sh
CALLS={calls} IMAGES={images}
echo "$*" >>"$CALLS"
case "$1" in
image)
    [ -e "$IMAGES/$3" ] || { echo "Error: No such image: $3" >&2; exit 1; }
    printf '[{"Id": "sha256:%s", "Config": {"Env": null}}]' "$(cat "$IMAGES/$3")" ;;
run)
    while [ "$1" != --entrypoint ]; do shift; done
    program=$2; shift 3
    exec "$program" "$@" ;;
ps) ;;
*) exit 125 ;;
esac
"""


@pytest.fixture
def dock(story: Story) -> Story:
    """A project whose job runs in the image tools:1, by a stand-in that runs it here."""
    tools = story.root.parent / "tools"
    text = STAND_IN.replace("{calls}", f"{tools}/calls").replace("{images}", f"{story.root.parent}/images")
    story.write(tools / "docker", text, 0o755)
    story.write(story.root.parent / "images/tools:1", "abc")
    own = story.environment
    story.environment = lambda extra=None: own({  # type: ignore[method-assign]
        "PATH": f"{tools}:{os.environ['PATH']}", "DOCKER_HOST": "tcp://127.0.0.1:1", **(extra or {}),
    })  # fmt: skip
    story.write("Flowfile", "[env = docker://tools:1]\na: in\n    cp {in} {out}\n")
    story.write("in", "1")
    return story


def calls(story: Story) -> list[str]:
    """What the stand-in was asked since the last look."""
    path = story.root.parent / "tools/calls"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.split()[0] for line in found]


def test_the_id_is_asked_once_a_build(dock: Story) -> None:
    recipe = "cp {in} {out}; echo {n} >> {out}"
    dock.write("Flowfile", f"n = a b\nall: {{n}}\n[env = docker://tools:1]\n{{n}}: in\n    {recipe}\n")
    assert dock.build().ran == 2
    assert sorted(calls(dock)) == ["image", "ps", "run", "run"]
    assert "nothing to do" in dock.bflow("build").err
    assert calls(dock) == ["image"]


def test_an_id_that_changes(dock: Story) -> None:
    dock.bflow("build")
    dock.write(dock.root.parent / "images/tools:1", "def")
    assert "1 ran" in dock.bflow("build").err
    dock.write(dock.root.parent / "images/tools:1", "abc")
    assert dock.build().up_to_date == 1  # (a snapshot of the first id must not stand in the way)


def test_an_image_that_is_gone(dock: Story) -> None:
    dock.bflow("build")
    (dock.root.parent / "images/tools:1").unlink()
    assert "tools:1 is not here: the id that the image tools:1 had last counts" in dock.bflow("build").err
    dock.write("in", "2")
    assert "the image tools:1 is not here" in dock.bflow("build", ok=1).err
    dock.remove(".bflow")
    assert "docker pull tools:1" in dock.bflow("build", ok=2).err


def test_without_the_command(dock: Story) -> None:
    dock.bflow("build")
    ran = dock.bflow("build", env={"BFLOW_ENVIRONMENTS": "docker=no-docker"})
    assert "there is no command no-docker: the id that the image tools:1 had last counts" in ran.err
    dock.remove(".bflow")
    ran = dock.bflow("build", ok=2, env={"BFLOW_ENVIRONMENTS": "docker=no-docker"})
    assert ran.err.startswith("Flowfile:1:8: there is no command no-docker, which docker://tools:1 needs")


def test_tools_are_the_images(dock: Story) -> None:
    dock.edit("Flowfile", "tools:1]", "tools:1, tools = no-such-tool]")
    assert dock.build().ran == 1


# ---- its socket ------------------------------------------------------------------------------------------------


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A daemon that knows what `images/` beside its socket says."""
    folder = tmp_path_factory.mktemp("d")
    (folder / "images").mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "s"))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                path = connection.recv(4096).split()[1].decode()
                image = folder / "images" / path.split("/")[2]
                status, answer = (200, {"Id": image.read_text(), "Config": {}}) if image.exists() else (404, {})
                connection.sendall(f"HTTP/1.0 {status} X\r\n\r\n{json.dumps(answer)}".encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield folder
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def test_the_socket_is_asked_first(dock: Story, daemon: Path) -> None:
    env = {"DOCKER_HOST": f"unix://{daemon}/s"}
    (daemon / "images/tools:1").write_text("sha256:123")
    assert dock.build(env=env).ran == 1
    assert sorted(calls(dock)) == ["ps", "run"]
    assert "nothing to do" in dock.bflow("build", env=env).err
    (daemon / "images/tools:1").write_text("sha256:456")
    assert "1 ran" in dock.bflow("build", env=env).err
    (daemon / "images/tools:1").unlink()
    assert "had last counts" in dock.bflow("build", env=env).err
    assert "image" not in calls(dock)


def test_which_socket(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert socket_of(["docker"], home.get) == "/var/run/docker.sock"
    assert socket_of(["/usr/bin/docker"], {**home, "DOCKER_HOST": "unix:///x/y"}.get) == "/x/y"
    assert socket_of(["docker"], {**home, "DOCKER_HOST": "ssh://x"}.get) == ""
    assert socket_of(["docker"], {**home, "DOCKER_CONTEXT": "x"}.get) == ""
    assert socket_of(["docker", "--context", "x"], home.get) == ""
    assert socket_of(["podman"], home.get) == ""
    assert socket_of(["podman"], {"CONTAINER_HOST": "unix:///p"}.get) == "/p"
    assert socket_of(["nerdctl"], home.get) == ""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "there"}')
    assert socket_of(["docker"], home.get) == ""


# ---- the command line ------------------------------------------------------------------------------------------


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"PATH": "/bin", "HOME": "/home/me", "DOCKER_HOST": "tcp://x"}
    environment = docker.Environment(image="tools", tag="1")
    environment.attach(Site(root=str(tmp_path), variable=variables.get, settings={"network": "none"}))
    monkeypatch.setattr(environment, "_id", "abc")
    monkeypatch.setattr(environment, "guarded", lambda: "guarded")
    work = str(tmp_path / "w,1")
    command = Command(["cp", "a", "b"], {"A": "secret", "PATH": "/own", "TMPDIR": "/t"}, work, writable=[work])
    found = environment.wrap(command)
    text = " ".join(found.argv)
    assert found.argv[:3] == ["docker", "run", "--rm"]
    assert found.argv[-4:] == ["cp", "abc", "a", "b"]
    assert f"-u {os.getuid()}:{os.getgid()}" in text and "--network none" in text
    assert f"type=bind,source={tmp_path},target={tmp_path},readonly" in text
    assert f'type=bind,"source={work}","target={work}"' in text
    assert "-e A " in text and "secret" not in text and found.env["A"] == "secret"
    assert "-e PATH=/own" in text and found.env["PATH"] == "/bin"
    assert "-e HOME=/t" in text and found.env["HOME"] == "/home/me"
    assert found.cleanup[:3] == ["docker", "rm", "-f"] and found.cleanup[3] in found.argv
    assert str(environment) == "docker://tools:1"


@pytest.mark.parametrize("name", ["--privileged", "a b", "", "a;b"])
def test_what_is_no_image(name: str) -> None:
    with pytest.raises(FlowError, match="is no name of an image"):
        docker.Environment(name)


def test_what_leads_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").write_text("")
    (inside / "link").symlink_to("../out/file")
    (inside / "folder").symlink_to(outside)
    (inside / "again").symlink_to("folder/file")
    (inside / "own").symlink_to("file")
    (outside / "link").symlink_to("file")
    seen = [str(inside)]
    assert beyond(f"{inside}/own", seen) is None
    assert beyond(f"{inside}/link", seen) == f"{outside}/file"
    assert beyond(f"{inside}/again", seen) == f"{outside}/file"
    assert beyond(f"{outside}/link", seen) == f"{outside}/link"
    assert reached([f"{inside}/link", f"{inside}/again", f"{inside}/gone"], seen) == [f"{outside}/file"]
    assert outermost(["/a/b", "/a", "/ab"]) == ["/a", "/ab"]
    for number in range(101):
        (outside / str(number)).write_text("")
    assert reached([f"{outside}/{n}" for n in range(101)], seen) == [str(outside)]
