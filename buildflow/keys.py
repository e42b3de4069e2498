"""The key of a job: a hash over the manifest of all that it would do and all that it reads.

The manifest is a list of rows (section, name, value). `key_of` hashes them, `result.json` stores them and `why`
compares them: one walk, so the explanation cannot drift from the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xxhash import xxh3_128_digest

from buildflow.job import Job

FORMAT = "1"
Row = tuple[str, str, str]


def manifest(
    job: Job,
    environment: str,
    digest: Callable[[str], bytes],
    variables: Sequence[tuple[str, str]],
    tools: Sequence[tuple[str, str]],
    functions: Sequence[tuple[str, str]],
    narrowed: frozenset[str] | None = None,
) -> list[Row]:
    """The rows of a job. `digest(name)` is that of an input by project name.

    `narrowed` (depfiles): inputs outside this set are there by name only; the first-level key has the empty set.
    """
    rows: list[Row] = [("format", "", FORMAT)]
    recipe = job.rule.recipe
    assert recipe is not None
    if recipe.kind == "shell":
        rows.append(("recipe", "shell", job.text(key=True)))
        if job.lists_inputs:
            rows.extend(("order", str(i), name) for i, name in enumerate(job.shown(job.inputs, key=True)))
        interpreter = job.attribute("shell")
        if interpreter:
            rows.append(("recipe", "interpreter", interpreter))
    else:
        rows.append(("recipe", recipe.kind, recipe.text if recipe.kind != "function" else ""))
        rows.extend(("function", name, value) for name, value in functions)
        rows.extend(("wildcard", name, value) for name, value in sorted(job.wildcards.items()))
        for name, values in sorted(job.following().items()):
            rows.extend(("name", f"{name}[{i}]", value) for i, value in enumerate(values))
        for label, names in sorted(job.labels.items()):
            rows.extend(("label", f"{label}[{i}]", name) for i, name in enumerate(job.shown(names, key=True)))
        rows.extend(("order", str(i), name) for i, name in enumerate(job.shown(job.inputs, key=True)))
    shown = job.staged
    for name in sorted({*job.inputs, *job.extra}, key=lambda name: shown.get(name, name)):
        value = "" if narrowed is not None and name not in narrowed else digest(name).hex()
        rows.append(("input", shown.get(name, name), value))
    for name in job.outputs:
        rows.append(("output", shown.get(name, name), "folder" if name.endswith("/") else "file"))
    if job.depfile is not None:
        rows.append(("depfile", job.depfile, ""))
    rows.append(("environment", "", environment))
    rows.extend(("variable", name, value) for name, value in variables)
    rows.extend(("tool", name, value) for name, value in tools)
    return rows


def key_of(rows: Iterable[Row]) -> bytes:
    """The key (16 bytes) of a manifest. No field holds a NUL, so joining by it is unambiguous."""
    return xxh3_128_digest("\0".join(["\0".join(row) for row in rows]).encode("utf-8", "surrogateescape"))


def second_key(first: bytes, read: Sequence[tuple[str, bytes]]) -> bytes:
    """The key of a job with a depfile: its first-level key and what it read."""
    return xxh3_128_digest(first + b"".join(name.encode("utf-8", "surrogateescape") + b"\0" + d for name, d in read))
