"""What this machine has of all that rules may need, and what to do where it has not.

Commands are asked for their version and for nothing else, each with a time limit. Files are made for a moment where the
project's and the cache's file systems are tried, in folders that are there, and removed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from buildflow.builder import Builder

LIMIT = 10
"""Seconds that a command has to tell its version."""


class Finding(NamedTuple):
    """One thing. state: `ok`, `absent` (nothing here needs it), `missing` (a rule, or bflow itself, needs it) or
    `note` (it is there, and something is to be known of it). `advice`: what to do, empty where nothing is."""

    what: str
    state: str
    found: str
    advice: str = ""


def examine(root: str, cache: str, builder: Builder | None) -> Iterator[Finding]:
    """All findings, in a fixed order. `builder`: the project's rules, where it has some: what they name is needed."""
    needed = _needed(builder)
    yield _python()
    yield _python3()
    yield _bash()
    yield _processors()
    yield _containers(needed)
    yield _command(
        "apptainer", ("apptainer", "singularity"), ["--version"], needed.get("singularity"),
        "install apptainer, for rules with env = singularity://",
    )  # fmt: skip
    yield _command("slurm", ("sbatch",), ["--version"], needed.get("slurm"), "run bflow on a login node", ("squeue",))
    yield _command("sge", ("qsub",), ["-help"], needed.get("sge"), "run bflow on a submit host", ("qstat",))
    yield _command("modules", ("modulecmd", "lmod"), ["--version"], needed.get("module"), "for env = module://")
    yield _command("conda", ("conda", "mamba", "micromamba"), ["--version"], needed.get("conda"), "for env = conda://")
    yield _command("graphviz", ("dot",), ["-V"], None, "install graphviz, for “bflow graph --format svg”")
    yield _command("git", ("git",), ["--version"], None, "not needed: .gitignore is read without it")
    yield from _places(root, cache)
    yield _inotify()


def _needed(builder: Builder | None) -> dict[str, str]:
    """Kinds of environments and workers that rules name, each with a rule that does."""
    found: dict[str, str] = {}
    for rule in builder.rules if builder is not None else ():
        for name in ("env", "worker"):
            attribute = rule.attributes.get(name)
            if attribute is not None and attribute.text:
                found.setdefault(attribute.text.strip().partition("://")[0], rule.name)
    return found


# ---- commands --------------------------------------------------------------------------------------------------


def _said(argv: Sequence[str]) -> str | None:
    """The first line that a command says; None where it fails or says nothing in time."""
    import subprocess

    try:
        ran = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = ran.stdout.decode("utf-8", "replace").strip()
    return text.splitlines()[0].strip() if text and not ran.returncode else None


def _absent(what: str, rule: str | None, names: Sequence[str], advice: str) -> Finding:
    found = f"there is no command {' or '.join(names)}"
    if rule is None:
        return Finding(what, "absent", found, advice)
    return Finding(what, "missing", f"{found}, and the rule {rule} needs it", advice)


def _command(
    what: str, names: Sequence[str], question: Sequence[str], rule: str | None, advice: str, also: Sequence[str] = ()
) -> Finding:
    name = next((name for name in names if shutil.which(name)), None)
    if name is None:
        return _absent(what, rule, names, advice)
    lacking = [other for other in also if not shutil.which(other)]
    if lacking:
        return Finding(what, "note", f"{name} is there, and {', '.join(lacking)} is not", advice)
    return Finding(what, "ok", _said([name, *question]) or f"{name} is there ({shutil.which(name)})")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"bflow runs with {version} ({sys.executable})")


def _python3() -> Finding:
    path = shutil.which("python3")
    if path is None:
        return Finding(
            "python3", "note", "there is no command python3",
            "[python] recipes need it on the PATH, or an env that has it",
        )  # fmt: skip
    version = (_said([path, "--version"]) or "an unknown version").removeprefix("Python ")
    own = ".".join(map(str, sys.version_info[:2]))
    if version.startswith(own + "."):
        return Finding("python3", "ok", f"recipes run with {version} ({path})")
    return Finding(
        "python3", "note", f"recipes run with {version} ({path}), bflow with {own}",
        "fine for scripts; a function without an importable home needs the same minor version",
    )  # fmt: skip


def _bash() -> Finding:
    path = shutil.which("bash")
    if path is None:
        return Finding("bash", "missing", "there is no command bash", "install it: shell recipes run in it")
    return Finding("bash", "ok", (_said([path, "--version"]) or path).replace("GNU bash, version ", ""))


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{count} usable" + (f" of {os.cpu_count()}" if os.cpu_count() not in (None, count) else "")
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found += f", {size / 2**30:.1f} GiB of memory"
    except (ValueError, OSError):
        pass
    return Finding("processors", "ok", found)


def _containers(needed: dict[str, str]) -> Finding:
    rule = needed.get("docker")
    engines = [name for name in ("docker", "podman") if shutil.which(name)]
    if not engines:
        return _absent("docker", rule, ("docker", "podman"), "install one, for rules with env = docker://")
    for name in engines:
        version = _said([name, "version", "--format", "{{.Server.Version}}"])
        if version is not None:
            return Finding("docker", "ok", f"{name} {version}")
    return Finding(
        "docker", "missing" if rule else "note", f"{engines[0]} is there, and its engine does not answer",
        "start it (systemctl start docker), or join the group docker; rootless podman needs none",
    )  # fmt: skip


# ---- file systems ----------------------------------------------------------------------------------------------


def _places(root: str, cache: str) -> Iterator[Finding]:
    shelf = _existing(cache)
    places = [("project", _existing(root))]
    if os.stat(shelf).st_dev != os.stat(root).st_dev:
        places.append(("cache", shelf))
    for name, place in places:
        yield _room(f"{name} disk", place)
        yield from _tried(name, place)
    yield _network(shelf)
    if len(places) > 1:
        yield Finding(
            "cache place", "note", f"{cache} is on another file system than the project",
            "outputs are copied and not linked; a cache beside the project is faster",
        )  # fmt: skip


def _existing(path: str) -> str:
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _room(what: str, place: str) -> Finding:
    st = os.statvfs(place)
    free, total = st.f_bavail * st.f_frsize, st.f_blocks * st.f_frsize
    found = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
    if st.f_files and st.f_favail < 10_000:
        return Finding(what, "note", f"{found}, {st.f_favail} inodes left", "remove small files, or “bflow cache gc”")
    if total and free < min(0.05 * total, 10e9):
        return Finding(what, "note", found, "“bflow cache gc --max-size” makes room")
    return Finding(what, "ok", found)


def _tried(name: str, place: str) -> Iterator[Finding]:
    """Reflinks and the clock of a file system, tried with two small files."""
    import tempfile

    from buildflow.files import clone

    try:
        with tempfile.TemporaryDirectory(prefix=".bflow-tmp.", dir=place) as folder:
            first = f"{folder}/first"
            with open(first, "wb") as file:
                file.write(b"x" * 8192)
            cloned = clone(first, f"{folder}/second")
            step = _step(folder)
    except OSError as error:
        yield Finding(f"{name} files", "note", f"cannot write to {place}: {error.strerror}", "a build has to")
        return
    if cloned:
        yield Finding(f"{name} reflinks", "ok", "yes: copies cost neither time nor room")
    else:
        yield Finding(
            f"{name} reflinks", "absent", "no: files up to 16 MiB are copied, larger ones linked",
            "Btrfs, XFS (reflink=1), ZFS 2.2 and APFS have them",
        )  # fmt: skip
    yield _clock(name, step)


def _step(folder: str) -> int:
    """The smallest difference between the times of files that are written one after the other (ns)."""
    times = []
    for i in range(200):
        path = f"{folder}/{i}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        times.append(os.stat(path).st_mtime_ns)
    steps = [b - a for a, b in zip(times, times[1:]) if b > a]
    return min(steps, default=10**9 if times[0] % 10**9 == 0 else 0)


def _clock(name: str, step: int) -> Finding:
    what = f"{name} clock"
    if step >= 10**9:
        return Finding(
            what, "note", "files have times of whole seconds", "right, but files are hashed once more after each write"
        )
    if not step:
        return Finding(what, "ok", "finer than it takes to tell")
    return Finding(what, "ok", f"steps of {step / 1e6:.3g} ms or less")


def _network(place: str) -> Finding:
    kind = _kind(place)
    if kind is None:
        return Finding("cache file system", "ok", "not known on this system")
    if kind.startswith(("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "glusterfs", "afs")):
        return Finding(
            "cache file system", "note", f"{kind}: it can be shared by hosts",
            "right for clusters; inotify does not see what other hosts write, so “bflow watch” polls there",
        )  # fmt: skip
    return Finding("cache file system", "ok", kind)


def _kind(place: str) -> str | None:
    """The type of the file system that a path lies in; None where there is no /proc."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ")[1:3] for line in file]
    except OSError:
        return None
    real = os.path.realpath(place)
    best, kind = "", None
    for point, of in rows:
        point = point.replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, of
    return kind


def _inotify() -> Finding:
    limits = []
    for name in ("max_user_watches", "max_user_instances"):
        try:
            with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
                limits.append(int(file.read()))
        except (OSError, ValueError):
            return Finding("inotify", "absent", "not on this system", "“bflow watch” uses what there is, or polls")
    watches, instances = limits
    found = f"{watches} folders can be watched, by {instances} programs"
    if watches < 65_536 or instances < 64:
        return Finding(
            "inotify", "note", found,
            "more for large projects: sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512",
        )  # fmt: skip
    return Finding("inotify", "ok", found)
