"""What the functions `table`, `lines`, `config` and `shell` of a Flowfile read.

Arguments are filled strings, and what comes back are rows: for each name on the left a cell, which is a tuple of
values. An empty cell, (), is no value. Scopes, domains and tracking are not known here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from buildflow.errors import FlowError, Span
from buildflow.near import did_you_mean

Cell = tuple[str, ...]
Row = tuple[Cell, ...]


def read_text(path: str, shown: str, span: Span | None = None) -> str:
    """The text of a file, without a byte-order mark; bytes that are not UTF-8 as surrogates.

    FlowError where it cannot be read, or is not text.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        raise FlowError(f"{shown} does not exist", span) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FlowError(f"{shown} cannot be read: {reason}", span) from None
    if b"\0" in data:
        raise FlowError(f"{shown} is not a text in UTF-8: it holds zero bytes", span, "save it as UTF-8")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def read_lines(path: str, shown: str, span: Span | None = None) -> list[str]:
    """The lines of a file as they are, `#` and white space included, without line ends; blank lines are left out."""
    lines = (line.removesuffix("\r") for line in read_text(path, shown, span).split("\n"))
    return [line for line in lines if line.strip()]


# --- table


def read_table(
    path: str, shown: str, columns: Sequence[str], left: Sequence[str], span: Span | None = None
) -> list[Row]:
    """The columns of a table with a header row, for the names on the left in their order.

    columns: the header's names of the columns (none: those on the left). `.csv` has commas, `.tsv`, `.tab` and `.txt`
    have tabs, for others the header tells. Cells lose the white space around them unless quoted; `""` in a quoted cell
    is a quote; quoted cells may hold line ends. Blank lines and those that begin with `#` are skipped. A row that
    ends early, or a cell with nothing in it, gives ().
    FlowError: no header, a column that is not there or is there twice, a row longer than the header, a wrong quote.
    """
    columns = list(columns) or list(left)
    if len(columns) != len(left):
        raise FlowError(
            f"{len(left)} {_plural('name', len(left))} on the left, {len(columns)} {_plural('column', len(columns))}",
            span,
            "table(file, columns…) gives one column for each name; without columns, those named as on the left",
        )
    text = read_text(path, shown, span)
    mark, how = _separator(shown, text)
    rows = _records(text, mark, shown, span)
    header = next(rows, None)
    if header is None:
        raise FlowError(f"{shown} has no header row", span, "its first row must name the columns")
    names = header[1]
    places = []
    for column in columns:
        if names.count(column) > 1:
            raise FlowError(f"{shown}:{header[0]}: two columns are named {column}", span)
        if column not in names:
            raise FlowError(f"{shown} has no column {column}", span, _column_hint(column, names, text, how))
        places.append(names.index(column))
    found: list[Row] = []
    for line, cells in rows:
        if len(cells) > len(names):
            many = f"{len(cells)} cells, the header {len(names)}"
            raise FlowError(f"{shown}:{line}: the row has {many}", span, f"the cells are separated by {how}")
        found.append(tuple((cells[p],) if p < len(cells) and cells[p] else () for p in places))
    return found


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _separator(shown: str, text: str) -> tuple[str, str]:
    """What stands between cells, and how that is known."""
    extension = os.path.splitext(shown)[1].lower()
    if extension == ".csv":
        return ",", f"commas in a {extension} file"
    if extension in (".tsv", ".tab", ".txt"):
        return "\t", f"tabs in a {extension} file"
    header = next((line for line in text.split("\n") if not _blank(line, "\t")), "")
    mark = "," if "," in header and "\t" not in header else "\t"
    return mark, f"{'commas' if mark == ',' else 'tabs'}, as the header of this file shows"


def _column_hint(column: str, names: Sequence[str], text: str, how: str) -> str:
    lines = []
    close = did_you_mean(column, [name for name in names if name])
    if close:
        lines.append(close)
    lines.append(f"its columns are: {', '.join(names)} (separated by {how})")
    for line in text.split("\n"):
        if line.startswith("#") and column in line.lstrip("#").split():
            lines.append(f"a line that begins with # is a comment, also the one with {column}")
            break
        if line.strip() and not line.startswith("#"):
            break
    return "\n".join(lines)


def _blank(line: str, mark: str) -> bool:
    """Whether a line is skipped: nothing in it, or a comment (`#` after a tab is a cell)."""
    return not line.strip() or line.lstrip(" " if mark == "\t" else " \t").startswith("#")


def _records(text: str, mark: str, shown: str, span: Span | None) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, each with the number of the line where it begins."""
    place = 0
    number = 1
    while place < len(text):
        stop = text.find("\n", place)
        if stop < 0:
            stop = len(text)
        line = text[place:stop]
        if _blank(line, mark):
            place, number = stop + 1, number + 1
            continue
        if '"' not in line:
            cells = [cell.strip() for cell in line.split(mark)]
            if any(cells):  # a row of separators alone is what spreadsheets leave below a table
                yield number, cells
            place, number = stop + 1, number + 1
            continue
        cells, quoted, stop = _quoted_record(text, place, mark, number, shown, span)
        if quoted or any(cells):
            yield number, cells
        number += text.count("\n", place, stop) + 1
        place = stop + 1


def _quoted_record(
    text: str, place: int, mark: str, number: int, shown: str, span: Span | None
) -> tuple[list[str], bool, int]:
    """The cells of the row that begins at `place`, whether one was quoted, and where its line end is."""
    cells: list[str] = []
    quoted = False
    begin = place
    while True:
        start = place
        while text[start : start + 1] in (" ", "\t") and text[start] != mark:
            start += 1
        if text.startswith('"', start):
            quoted = True
            pieces = []
            open_at = start
            while True:
                close = text.find('"', start + 1)
                if close < 0:
                    line = number + text.count("\n", begin, open_at)
                    raise FlowError(f"{shown}:{line}: a quote is not closed", span, 'a quote in a quoted cell is ""')
                pieces.append(text[start + 1 : close])
                if not text.startswith('"', close + 1):
                    break
                start = close + 1
            cells.append('"'.join(pieces))
            place = close + 1
            after, place = _cell_end(text, place, mark)
            if after.strip():
                line = number + text.count("\n", begin, close)
                raise FlowError(
                    f"{shown}:{line}: {after.strip()[:20]} stands after a closed quote",
                    span,
                    'a quote in a quoted cell is ""',
                )
        else:
            cell, place = _cell_end(text, place, mark)
            cells.append(cell.strip())
        if not text.startswith(mark, place):
            return cells, quoted, place
        place += 1


def _cell_end(text: str, place: int, mark: str) -> tuple[str, int]:
    """The text up to the next separator or line end, and where that is."""
    stop = text.find("\n", place)
    if stop < 0:
        stop = len(text)
    separator = text.find(mark, place, stop)
    if separator >= 0:
        stop = separator
    return text[place:stop], stop


# --- config


def read_config(path: str, shown: str, key: str, left: Sequence[str], span: Span | None = None) -> list[Row]:
    """What stands under `key` in a TOML, JSON or YAML file, as rows of cells for the names on the left.

    key: `a.b` walks mappings, `a.0` lists; a part with a dot in it may be quoted (`a."b.c"`); '' is the whole file.
    To one name, a list gives its values, a mapping its keys, anything else itself, and a null nothing. To two names a
    mapping gives its pairs; a list in a pair is several values. A list of mappings gives its rows by the names on the
    left; a list of lists its rows by their order, the last name taking the rest.
    Numbers, dates and such stay as written where the format lets them (YAML and JSON), true and false in lower case.
    FlowError: a broken file, a key that is not there, a shape that the names on the left cannot take.
    """
    document = _document(path, shown, span)
    value = _walk(document, _key_parts(key, span), key, shown, span)
    where = f"{key} of {shown}" if key else shown
    return _rows(value, where, list(left), span)


def _document(path: str, shown: str, span: Span | None) -> object:
    extension = os.path.splitext(shown)[1].lower()
    text = read_text(path, shown, span)
    try:
        if extension == ".toml":
            if sys.version_info >= (3, 11):
                import tomllib
            else:
                import tomli as tomllib

            return tomllib.loads(text, parse_float=str)
        if extension == ".json":
            import json

            return json.loads(
                text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_distinct_pairs
            )
        if extension in (".yaml", ".yml"):
            return _yaml(text)
    except RecursionError:
        raise FlowError(f"{shown} is nested too deeply", span) from None
    except UnicodeError:
        raise FlowError(f"{shown} is not a text in UTF-8", span, "save it as UTF-8") from None
    except ValueError as error:
        line, message = getattr(error, "lineno", None), getattr(error, "msg", None) or str(error)
        said, at, rest = message.partition(" (at line ")  # as tomllib has it before Python 3.14
        if line is None and at:
            line, message = rest.partition(",")[0], said
        where = f"{shown}:{line}" if line else shown
        raise FlowError(f"{where}: {message}", span, f"mend {shown}") from None
    raise FlowError(f"config cannot tell the format of {shown}", span, "it reads .toml, .json, .yaml and .yml files")


def _yaml(text: str) -> object:
    """A YAML document whose scalars keep their text (0.10, 010, yes, dates), but for null, true and false."""
    import re

    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
            seen: set[str] = set()
            for name, _ in node.value:
                if isinstance(name, yaml.ScalarNode) and name.tag != "tag:yaml.org,2002:merge":
                    if name.value in seen:
                        problem = f"the key {name.value} stands there twice in one mapping"
                        raise yaml.constructor.ConstructorError(None, None, problem, name.start_mark)
                    seen.add(name.value)
            found: dict[object, object] = super().construct_mapping(node, deep)
            return found

    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("merge", r"<<", ["<"]),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})\\Z"), first)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = [getattr(error, "context", None), getattr(error, "problem", None)]
        problem = ": ".join(text for text in said if text) or str(error).split("\n")[0]
        broken = ValueError(problem)
        broken.lineno = mark.line + 1 if mark else None  # type: ignore[attr-defined]
        raise broken from None


def _distinct_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice} stands there twice in one mapping")
    return found


def _key_parts(key: str, span: Span | None) -> list[str]:
    parts: list[str] = []
    place = 0
    while key:
        if key[place : place + 1] in ("'", '"'):
            close = key.find(key[place], place + 1)
            if close < 0:
                raise FlowError(f"a quote is not closed in the key {key}", span)
            parts.append(key[place + 1 : close])
            place = close + 1
            if place < len(key) and key[place] != ".":
                raise FlowError(f"a dot is missing after a quote in the key {key}", span)
        else:
            stop = key.find(".", place)
            stop = len(key) if stop < 0 else stop
            if stop == place:
                raise FlowError(f"a part is missing in the key {key}", span, "as a.b; quote a part with a dot: a.'b.c'")
            parts.append(key[place:stop])
            place = stop
        if place >= len(key):
            break
        place += 1  # the dot; at the end of the key a part is missing
    return parts


_NOTHING = object()


def _find(value: object, parts: Sequence[str]) -> object:
    """What the parts lead to, or _NOTHING. A key that has a dot in it is found too, after those that have none."""
    if not parts:
        return value
    if isinstance(value, list):
        index = parts[0]
        if index.isascii() and index.isdigit() and len(index) < 10 and int(index) < len(value):
            return _find(value[int(index)], parts[1:])
    if isinstance(value, dict):
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            if name in value:
                found = _find(value[name], parts[count:])
                if found is not _NOTHING:
                    return found
    return _NOTHING


def _walk(document: object, parts: list[str], key: str, shown: str, span: Span | None) -> object:
    found = _find(document, parts)
    if found is not _NOTHING:
        return found
    # Say how far it went.
    done = next(n for n in range(len(parts) - 1, -1, -1) if _find(document, parts[:n]) is not _NOTHING)
    value = _find(document, parts[:done])
    where = f"{'.'.join(parts[:done])} of {shown}" if done else shown
    missing = parts[done]
    if isinstance(value, dict):
        names = [str(name) for name in value]
        close = did_you_mean(missing, names) or did_you_mean(".".join(parts[done:]), names)
        some = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        hint = close or (f"it has: {some}" if names else "it is empty")
        raise FlowError(f"there is no {missing} in {where}", span, hint)
    if isinstance(value, list):
        count = f"{len(value)} {_plural('entry', len(value)).replace('ys', 'ies')}"
        raise FlowError(f"there is no {missing} in {where}: it is a list of {count}", span, "a list is walked as a.0")
    raise FlowError(f"there is no {missing} in {where}: it is no mapping", span)


def _scalar(value: object, where: str, span: Span | None) -> Cell:
    """A scalar's text as a cell: null is ()."""
    if value is None:
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (int, float)):
        return (str(value),)
    if hasattr(value, "isoformat"):
        text: str = value.isoformat()
        return (text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text,)
    kind = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "binary or a set"
    raise FlowError(f"{where} is {kind}, not a value", span)


def _cell(value: object, where: str, span: Span | None) -> Cell:
    """A cell of several values from a list, else of one."""
    if isinstance(value, list):
        return tuple(text for entry in value for text in _scalar(entry, f"an entry of {where}", span))
    return _scalar(value, where, span)


def _rows(value: object, where: str, left: list[str], span: Span | None) -> list[Row]:
    names = len(left)
    if isinstance(value, dict):
        if names == 1:
            return [(_scalar(name, f"a key of {where}", span),) for name in value]
        if names == 2:
            return [
                (_scalar(name, f"a key of {where}", span), _cell(entry, f"{name} of {where}", span))
                for name, entry in value.items()
            ]
        raise FlowError(
            f"{where} is a mapping, but {names} names stand on the left",
            span,
            "a mapping gives its keys to one name, its pairs to two; a list of mappings gives rows to any number",
        )
    if isinstance(value, list):
        if value and all(isinstance(entry, dict) for entry in value):
            return _mapping_rows(value, where, left, span)
        if names == 1:
            return [(cell,) for entry in value if (cell := _scalar(entry, f"an entry of {where}", span))]
        rows = []
        for entry in value:
            if not isinstance(entry, list):
                raise FlowError(
                    f"{where} gives one value a row, but {names} names stand on the left",
                    span,
                    "a list of mappings gives rows by the names on the left",
                )
            cells = [_scalar(part, f"an entry of {where}", span) for part in entry]
            cells += [()] * (names - len(cells))
            rest = tuple(text for cell in cells[names - 1 :] for text in cell)
            rows.append((*cells[: names - 1], rest))
        return rows
    if names > 1:
        raise FlowError(f"{where} is one value, but {names} names stand on the left", span)
    cell = _scalar(value, where, span)
    return [(cell,)] if cell else []


def _mapping_rows(value: list[dict[object, object]], where: str, left: list[str], span: Span | None) -> list[Row]:
    known = dict.fromkeys(str(key) for entry in value for key in entry)
    for name in left:
        if name not in known:
            hint = did_you_mean(name, known) or f"its rows have: {', '.join(list(known)[:10])}"
            raise FlowError(f"no row of {where} has {name}", span, hint)
    return [tuple(_cell(entry.get(name), f"{name} of {where}", span) for name in left) for entry in value]


# --- shell


def run_shell(
    command: str, cwd: str, span: Span | None = None, env: Mapping[str, str] | None = None
) -> list[str]:
    """The words (as Make's: what white space separates) that a command prints, run in `cwd` as a recipe's shell would.

    Its standard input is empty; what it says on standard error goes on to ours. FlowError with that text where its
    exit status, or that of a command in a pipe, is not 0.
    """
    import shutil
    import subprocess

    bash = shutil.which("bash")
    shell = [bash, "-euo", "pipefail", "-c"] if bash else ["/bin/sh", "-eu", "-c"]
    try:
        done = subprocess.run(
            [*shell, command], cwd=cwd or ".", env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FlowError(f"shell({command}) cannot be run: {reason}", span) from None
    said = os.fsdecode(done.stderr)
    if done.returncode:
        status = done.returncode
        ended = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
        raise FlowError(f"shell({command}) {ended}", span, "\n".join(said.strip().split("\n")[-20:]) or None)
    if said:
        sys.stderr.write(said.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    return [os.fsdecode(word) for word in done.stdout.split()]
