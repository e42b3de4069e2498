"""The direction of imports: `python tests/check_imports.py` prints each one that goes the wrong way, and each cycle.

A module may import from its own layer and from lower ones. Imports inside functions count (they are there to start
faster, not to hide a dependency); those under `if TYPE_CHECKING` do not. Exit status 1 where something is wrong.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "buildflow"

# From low to high. A name stands for the module and all below it; the longest name that fits a module counts.
LAYERS: list[set[str]] = [
    {"errors", "events", "lazy", "process", "provenance_terms", "records", "template", "view"},
    {"audit", "depfile", "digest", "files", "ignore", "jobserver", "lang.refuse", "lang.statements", "library"}
    | {"lock", "near", "node", "outputs", "progress", "quantity", "readers", "reads", "recipe", "runner"}
    | {"screen", "settings"},
    {"workers.names"},
    {"attributes", "environments", "globbing", "hooks", "names", "world"},
    {"attribute_checks", "builder", "rule"},
    {"disk", "lang", "sources", "state"},
    {"plan"},
    {"cache", "entries", "hints", "job", "keys", "node", "node_files", "resources", "roots", "sandbox"}
    | {"workspace"},
    {"workers"},
    {"afloat", "decide", "environment_of", "exclusive", "execute", "run", "staging"},
    {"build", "crew", "failures", "goback", "hooks_of", "landing", "launch", "lookup", "outcome", "result"}
    | {"results_of", "schedule", "temporary", "unchanged"},
    {"submitter"},
    {"adopt", "catalog", "doctor", "drawing", "drawing_formats", "dry", "explain", "flow", "flowfile_py", "gc"}
    | {"history", "inside", "kept", "lookout", "provenance", "provenance_crate", "provenance_files"}
    | {"provenance_prov", "report", "report_page", "reruns", "seen", "stale", "starter", "suggest", "targets"}
    | {"watch"},
    {"", "cli", "start", "__main__"},  # "": buildflow/__init__.py itself
]

# What a module and all below it never import, though it is lower.
FORBIDDEN: dict[str, set[str]] = {
    "workers": {"plan", "lang", "cli"},
    "environments": {"plan", "lang", "cli"},
}

# (importer, imported): against the layers, with a reason.
EXCEPTIONS: set[tuple[str, str]] = set()

TOP = "(buildflow)"  # what "" is called in messages


class Import(NamedTuple):
    """`importer` imports `imported` (module names without the package's) at `path`:`line`."""

    importer: str
    imported: str
    path: str
    line: int


def covers(name: str, module: str) -> bool:
    """Whether `name` of a table stands for `module`."""
    return module == name or (name != "" and module.startswith(name + "."))


def layer_of(module: str) -> int | None:
    """The number of the layer of `module`, None where the table does not have it."""
    fitting = [(len(name), number) for number, names in enumerate(LAYERS) for name in names if covers(name, module)]
    return max(fitting)[1] if fitting else None


def modules_of(root: Path) -> dict[str, Path]:
    """The package's modules below `root`: name without the package's ("" for its `__init__`) → file."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        if parts[0] == "rules" and len(parts) > 1:  # the rule library: no code
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and all nodes below it but those under `if TYPE_CHECKING`."""
    yield node
    checked = isinstance(node, ast.If) and is_type_checking(node.test)
    for child in node.orelse if checked and isinstance(node, ast.If) else ast.iter_child_nodes(node):
        yield from nodes_that_run(child)


def imported_names(node: ast.AST, package: str) -> Iterator[tuple[str, list[str]]]:
    """What `node` imports: full module names, each with the names taken from it. `package`: where it stands."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, []
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        yield base, [alias.name for alias in node.names]
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield node.args[0].value, []


def imports_of(module: str, path: Path, modules: dict[str, Path], root: Path) -> Iterator[Import]:
    """What `path` imports of the package. The packages above a module, which Python runs too, do not count."""
    is_package = path.name == "__init__.py"
    full = PACKAGE + ("." + module if module else "")
    package = full if is_package else full.rpartition(".")[0]
    shown = str(path.relative_to(root))
    for node in nodes_that_run(ast.parse(path.read_bytes(), shown)):
        for name, taken in imported_names(node, package):
            if name != PACKAGE and not name.startswith(PACKAGE + "."):
                continue
            base = name[len(PACKAGE) + 1 :]
            targets = set()
            for attribute in taken or [""]:
                below = ".".join(part for part in (base, attribute) if part)
                targets.add(below if below in modules else base)
            for target in sorted(targets - {module}):
                yield Import(module, target, shown, getattr(node, "lineno", 1))


def wrong_direction(found: Import) -> str | None:
    """What is wrong with an import, None where nothing is."""
    importer, imported = layer_of(found.importer), layer_of(found.imported)
    names = f"{found.importer or TOP} imports {found.imported or TOP}"
    for name, forbidden in FORBIDDEN.items():
        if covers(name, found.importer) and any(covers(f, found.imported) for f in forbidden):
            return f"{names}: {name} must know nothing of it"
    if importer is None or imported is None or importer >= imported:
        return None
    if any(covers(a, found.importer) and covers(b, found.imported) for a, b in EXCEPTIONS):
        return None
    return f"{names}: layer {importer} from layer {imported}, which is higher"


def cycles(found: list[Import]) -> list[list[Import]]:
    """A shortest cycle of imports through each module that is in one, each cycle once."""
    edges: dict[str, dict[str, Import]] = {}
    for one in found:
        edges.setdefault(one.importer, {}).setdefault(one.imported, one)
    shown: set[frozenset[str]] = set()
    result = []
    for start in sorted(edges):
        came: dict[str, Import] = {}
        queue = [start]
        for module in queue:  # breadth first
            for target, one in edges.get(module, {}).items():
                if target not in came:
                    came[target] = one
                    queue.append(target)
        if start not in came:
            continue
        way = [came[start]]
        while way[-1].importer != start:
            way.append(came[way[-1].importer])
        members = frozenset(one.importer for one in way)
        if members not in shown:
            shown.add(members)
            result.append(way[::-1])
    return result


def check(root: Path) -> list[str]:
    """A line for everything that is wrong below `root`, empty where all is well."""
    modules = modules_of(root)
    lines = [
        f"{path.relative_to(root)}:1: {module} is in no layer: add it to LAYERS in tests/check_imports.py"
        for module, path in modules.items()
        if layer_of(module) is None
    ]
    found = [one for module, path in modules.items() for one in imports_of(module, path, modules, root)]
    for one in found:
        wrong = wrong_direction(one)
        if wrong:
            lines.append(f"{one.path}:{one.line}: {wrong}")
    for way in cycles(found):
        chain = " → ".join([one.importer or TOP for one in way] + [way[0].importer or TOP])
        lines.append(f"{way[0].path}:{way[0].line}: a cycle of imports: {chain}")
        lines.extend(f"    {one.path}:{one.line}: imports {one.imported or TOP}" for one in way)
    return lines


def main() -> int:
    lines = check(Path(__file__).resolve().parent.parent)
    print("\n".join(lines) if lines else "imports go one way")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
