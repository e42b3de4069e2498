"""Patterns against one path, and against the files of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError
from buildflow.globbing import PathPattern, glob_files, match_path
from buildflow.template import Glob, Hole, Part, parse_word

Accept = Mapping[str, "Callable[[str], bool] | None"]


def bindings(
    pattern: str, path: str, slashes: Container[str] = (), accept: Accept | None = None
) -> list[dict[str, str]]:
    return list(match_path(parse_word(pattern).parts, path, accept, slashes))


# --- one path


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "ab", False),
        ("*", "a.txt", True),
        ("*", "a/b", False),
        ("a*", "a", True),
        ("*a", "a", True),
        ("a/*", "a/", False),
        ("a/*/b", "a//b", False),
        ("a/*", "a/b", True),
        ("a/*/", "a/b/", True),
        ("a/*/", "a/b", False),
        ("?", "a", True),
        ("?", "/", False),
        ("??", "a", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("*.?", "x.c", True),
        ("*.?", "x.cc", False),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "ax", False),
        ("a/**/x", "a/x", True),
        ("a/**/x", "a/b/c/x", True),
        ("a/**/x", "ax", False),
        ("a/**", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a/", False),
        ("a/**", "a", False),
        ("a/**/", "a/", True),
        ("a/**/", "a/b/c/", True),
        ("a/**/**/x", "a/b/x", True),
        ("a**b", "axxb", True),
        ("a**b", "a/b", False),
        ("**.c", "x.c", True),
        ("**.c", "x/y.c", False),
        ("*a*a*a*", "banana", True),
        ("*a*b*", "ba", False),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert bool(bindings(pattern, path)) is matches
    assert bindings(pattern, path) in ([], [{}])


def test_a_name_is_text_without_slash_that_is_not_empty() -> None:
    assert bindings("{s}.txt", "a.txt") == [{"s": "a"}]
    assert bindings("{s}.txt", ".txt") == []
    assert bindings("{s}.txt", "a/b.txt") == []
    assert bindings("ab{s}bc", "abc") == []
    assert bindings("{s}", "a.b c") == [{"s": "a.b c"}]
    assert bindings("{s}{t}", "a") == []
    assert bindings("out/{s}", "out/") == []


def test_the_same_name_twice_is_the_same_text() -> None:
    assert bindings("{s}/{s}.txt", "a/a.txt") == [{"s": "a"}]
    assert bindings("{s}/{s}.txt", "a/b.txt") == []
    assert bindings("{s}{s}", "abab") == [{"s": "ab"}]
    assert bindings("{s}_{s}", "a_b_a_b") == [{"s": "a_b"}]
    assert bindings("{s}{t}{s}", "aba") == [{"s": "a", "t": "b"}]


def test_every_split_the_leftmost_longest_first() -> None:
    assert bindings("{a}_{b}", "x_y_z") == [{"a": "x_y", "b": "z"}, {"a": "x", "b": "y_z"}]
    assert [(b["a"], b["b"], b["c"]) for b in bindings("{a}{b}{c}", "1234")] == [
        ("12", "3", "4"),
        ("1", "23", "4"),
        ("1", "2", "34"),
    ]


def test_a_name_may_hold_slashes_where_it_is_said() -> None:
    assert bindings("doc/{page}.md", "doc/a/b.md") == []
    assert bindings("doc/{page}.md", "doc/a/b.md", {"page"}) == [{"page": "a/b"}]
    assert bindings("{d}/{f}", "a/b/c", {"d"}) == [{"d": "a/b", "f": "c"}]
    assert bindings("{d}/{f}", "a/b/c", {"d", "f"}) == [{"d": "a/b", "f": "c"}, {"d": "a", "f": "b/c"}]


def test_a_value_must_be_accepted() -> None:
    run = re.compile(r"\d+").fullmatch
    accept: Accept = {"run": lambda text: run(text) is not None, "s": None}
    assert bindings("{s}_{run}.txt", "a_b_1.txt", (), accept) == [{"s": "a_b", "run": "1"}]
    assert bindings("{run}.txt", "x.txt", (), accept) == []
    assert bindings("{run}_{s}", "1_2_3", (), accept) == [{"run": "1", "s": "2_3"}]
    domain = {"a", "a_b"}
    assert bindings("{s}_{t}", "a_b_c", (), {"s": domain.__contains__, "t": {"c"}.__contains__}) == [
        {"s": "a_b", "t": "c"}
    ]


def test_globs_beside_names_give_each_binding_once() -> None:
    assert bindings("*{s}*", "ab") == [{"s": "b"}, {"s": "ab"}, {"s": "a"}]
    assert bindings("**/{s}/**/x", "a/b/x") == [{"s": "b"}, {"s": "a"}]
    assert bindings("*_*{s}", "a_b_c") == [{"s": "c"}, {"s": "_c"}, {"s": "b_c"}]


def test_quoted_globs_are_text() -> None:
    assert list(match_path(("a*b",), "a*b")) == [{}]
    assert list(match_path(("a*b",), "axb")) == []
    assert list(match_path(("[", Glob("*"), "]."), "[x].")) == [{}]


def test_no_pattern_takes_for_ever() -> None:
    path = "a" * 60 + "!"
    assert bindings("{a}" * 12 + "b", path) == []
    assert bindings("*a" * 20 + "b", path) == []
    assert bindings("{a}*a*a*a*a*a*a*a*b{c}", path) == []
    assert next(match_path(parse_word("*a*a*a*a*{x}").parts, "a" * 40)) == {"x": "a"}
    assert bindings("**/a/" * 12 + "b", "a/" * 24 + "c") == []
    assert len(bindings("*a*a*a*a*a*{x}", "a" * 24)) == 19
    assert bindings("?a" * 2000, "xa" * 2000) == [{}]


def test_the_literal_ends_are_known() -> None:
    pattern = PathPattern(parse_word("out/{s}_{v}.mif").parts)
    assert (pattern.prefix, pattern.suffix, pattern.names) == ("out/", ".mif", ("s", "v"))
    assert pattern.first("out/a_1.mif") == {"s": "a", "v": "1"}
    assert pattern.first("out/a.mif") is None
    plain = PathPattern(("a",))
    assert (plain.prefix, plain.suffix, plain.names, plain.first("a")) == ("a", "", (), {})
    assert PathPattern(()).first("") == {}


def test_dots_where_they_are_not_wanted() -> None:
    def first(pattern: str, path: str, slashes: Container[str] = ()) -> dict[str, str] | None:
        return PathPattern(parse_word(pattern).parts, None, slashes, dots=False).first(path)

    assert first("{s}", ".x") is None
    assert first("a/{s}", "a/.x") is None
    assert first("a{s}", "a.x") == {"s": ".x"}
    assert first("*.txt", ".txt") is None
    assert first("?x", ".x") is None
    assert first("{a}_{b}", ".x_y") is None
    assert first("{a}/{b}", "x/.y") is None
    assert first("{a}/{b}", "x/y") == {"a": "x", "b": "y"}
    assert first("{a}_{b}", "x_.y") == {"a": "x", "b": ".y"}
    assert first(".{s}", ".x") == {"s": "x"}
    assert first("**/x", ".a/x") is None
    assert first("**/.a/x", "b/.a/x") == {}
    assert first("{p}", "a/.b/c", {"p"}) is None
    assert first("{p}.md", "a/.md", {"p"}) is None
    assert first("{p}/.md", "a/.md", {"p"}) == {"p": "a"}
    assert first("{p}_{q}.md", "a/.b_c.md", {"p"}) is None
    assert first("{p}{q}.md", "a/.b.md", {"p"}) is None


LETTERS = st.text("ab_/", max_size=9)
PARTS = st.lists(
    st.one_of(
        st.text("ab_/", min_size=1, max_size=2),
        st.sampled_from([Hole("x"), Hole("y"), Hole("p"), Glob("*"), Glob("?")]),
    ),
    max_size=6,
)


def brute(parts: tuple[Part, ...], path: str, bound: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every binding by trying every split, the longest first: the meaning, without any cleverness."""
    if not parts:
        if not path:
            yield dict(bound)
        return
    part, rest = parts[0], parts[1:]
    for stop in range(len(path), -1, -1):
        text = path[:stop]
        if isinstance(part, Hole):
            if not text or ("/" in text and part.name != "p") or bound.get(part.name, text) != text:
                continue
            yield from brute(rest, path[stop:], {**bound, part.name: text})
        elif isinstance(part, Glob):
            if "/" not in text and (part == "*" or len(text) == 1):
                yield from brute(rest, path[stop:], bound)
        elif text == part:
            yield from brute(rest, path[stop:], bound)


@given(PARTS, LETTERS)
@example([Glob("*"), "_", Glob("*")], "__")
@settings(deadline=None, max_examples=400)
def test_matching_is_trying_every_split(parts: list[Part], path: str) -> None:
    expected = [dict(t) for t in dict.fromkeys(tuple(b.items()) for b in brute(tuple(parts), path, {}))]
    if not path or "//" in path or path[:1] == "/" or path[-1:] == "/":
        return  # components are never empty
    pattern = PathPattern(parts, None, {"p"})
    found = list(pattern.match(path))
    assert found == expected
    assert pattern.first(path) == (expected[0] if expected else None)


@given(st.text("a_/", max_size=2), st.text("a_/", min_size=1, max_size=2), st.text("a_/", max_size=2), LETTERS)
@settings(deadline=None, max_examples=400)
def test_two_names_with_a_text_between(begin: str, between: str, end: str, middle: str) -> None:
    parts = (begin, Hole("x"), between, Hole("y"), end)
    path = begin + middle + end
    assert list(match_path(parts, path)) == list(brute(parts, path, {}))
    assert next(match_path(parts, path), None) == PathPattern(parts).first(path)


@given(st.lists(st.sampled_from(["a", "b", "**", "*", "a*"]), min_size=1, max_size=5), LETTERS)
@settings(deadline=None, max_examples=300)
def test_double_stars_are_any_number_of_folders(components: list[str], path: str) -> None:
    if "//" in path or path[:1] == "/" or path[-1:] == "/" or not path:
        return

    def match(pattern: list[str], rest: list[str]) -> bool:
        if not pattern:
            return not rest
        if pattern[0] == "**":
            if len(pattern) == 1:
                return bool(rest)
            return any(match(pattern[1:], rest[n:]) for n in range(len(rest) + 1))
        if not rest:
            return False
        expression = pattern[0].replace("*", "[^/]*")
        return re.fullmatch(expression, rest[0]) is not None and match(pattern[1:], rest[1:])

    assert bool(bindings("/".join(components), path)) is match(components, path.split("/"))


# --- a folder


class Tree:
    """A folder with files, and what a glob over it lists."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listed: list[str] = []
        self.skipped: set[str] = set()

    def make(self, *paths: str) -> Tree:
        for path in paths:
            place = self.root / path
            if path.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text("")
        return self

    def glob(self, pattern: str, **options: object) -> list[tuple[str, dict[str, str]]]:
        self.listed = []
        return glob_files(
            str(self.root),
            parse_word(pattern).parts,
            options.get("accept"),  # type: ignore[arg-type]
            slashes=options.get("slashes", ()),  # type: ignore[arg-type]
            skip=lambda path, folder: path in self.skipped,
            listed=self.listed.append,
        )

    def paths(self, pattern: str, **options: object) -> list[str]:
        return [path for path, _ in self.glob(pattern, **options)]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "root").mkdir()
    return Tree(tmp_path / "root")


def test_the_values_of_a_name(tree: Tree) -> None:
    tree.make("data/b.nii", "data/a.nii", "data/c.txt", "data/sub/d.nii", "other.nii")
    assert tree.glob("data/{subject}.nii") == [("data/a.nii", {"subject": "a"}), ("data/b.nii", {"subject": "b"})]
    assert tree.listed == ["data"]


def test_paths_without_names(tree: Tree) -> None:
    tree.make("include/b.h", "include/a.h", "include/a.c")
    assert tree.paths("include/*.h") == ["include/a.h", "include/b.h"]
    assert tree.paths("include/?.c") == ["include/a.c"]
    assert tree.paths("*/a.h") == ["include/a.h"]
    assert tree.paths("**/*.h") == ["include/a.h", "include/b.h"]
    assert tree.paths("include/a.h") == ["include/a.h"]


def test_names_in_folders(tree: Tree) -> None:
    tree.make("chunks/a/1.txt", "chunks/a/2.txt", "chunks/b/1.txt", "chunks/x")
    assert [b for _, b in tree.glob("chunks/{s}/{c}.txt")] == [
        {"s": "a", "c": "1"},
        {"s": "a", "c": "2"},
        {"s": "b", "c": "1"},
    ]
    tree.make("a/a.txt", "a/b.txt")
    assert tree.glob("{s}/{s}.txt") == [("a/a.txt", {"s": "a"})]


def test_double_stars(tree: Tree) -> None:
    tree.make("src/a.c", "src/x/b.c", "src/x/y/c.c", "c.c", "src/x/b.h")
    assert tree.paths("src/**/*.c") == ["src/a.c", "src/x/b.c", "src/x/y/c.c"]
    assert tree.paths("**/*.c") == ["c.c", "src/a.c", "src/x/b.c", "src/x/y/c.c"]
    assert tree.paths("src/**") == ["src/a.c", "src/x/b.c", "src/x/b.h", "src/x/y/c.c"]
    assert tree.paths("**/x/**/*.c") == ["src/x/b.c", "src/x/y/c.c"]
    assert tree.paths("**/**/c.c") == ["c.c", "src/x/y/c.c"]
    assert tree.paths("src/**/b.c") == ["src/x/b.c"]
    assert [b for _, b in tree.glob("src/**/{n}.c")] == [{"n": "a"}, {"n": "b"}, {"n": "c"}]


def test_folders(tree: Tree) -> None:
    tree.make("data/a/1", "data/b/", "data/c", "data/a/z/")
    assert tree.glob("data/{s}/") == [("data/a/", {"s": "a"}), ("data/b/", {"s": "b"})]
    assert tree.paths("data/**/") == ["data/", "data/a/", "data/a/z/", "data/b/"]
    assert tree.paths("**/") == ["data/", "data/a/", "data/a/z/", "data/b/"]
    assert tree.paths("data/a/") == ["data/a/"]
    assert tree.paths("data/c/") == []
    assert tree.paths("data/*") == ["data/c"]
    assert tree.paths("data/a") == []
    assert tree.paths("{p}/", slashes={"p"}) == ["data/", "data/a/", "data/a/z/", "data/b/"]


def test_a_pattern_finds_nested_folders(tree: Tree) -> None:
    tree.make("doc/a.md", "doc/x/b.md", "doc/x/y/c.md", "doc/x/.hidden/d.md", "doc/.md", "doc/x/c.txt")
    assert [b["page"] for _, b in tree.glob("doc/{page}.md", slashes={"page"})] == ["a", "x/b", "x/y/c"]
    only = re.compile(r"x/.").fullmatch
    accept = {"page": lambda text: only(text) is not None}
    assert tree.glob("doc/{page}.md", slashes={"page"}, accept=accept) == [("doc/x/b.md", {"page": "x/b"})]
    assert sorted(tree.listed) == ["doc", "doc/x", "doc/x/y"]
    assert tree.paths("{p}/c.{e}", slashes={"p"}) == ["doc/x/c.txt", "doc/x/y/c.md"]
    assert tree.paths("doc/{p}/.hidden/{f}.md", slashes={"p"}) == ["doc/x/.hidden/d.md"]


def test_what_is_found_and_does_not_match_is_left_out(tree: Tree) -> None:
    tree.make("run_1.txt", "run_x.txt")
    number = re.compile(r"\d+").fullmatch
    assert tree.glob("run_{n}.txt", accept={"n": lambda text: number(text) is not None}) == [("run_1.txt", {"n": "1"})]


def test_of_several_splits_the_first_that_is_accepted(tree: Tree) -> None:
    tree.make("x_y_z.txt")
    assert tree.glob("{a}_{b}.txt") == [("x_y_z.txt", {"a": "x_y", "b": "z"})]
    assert tree.glob("{a}_{b}.txt", accept={"a": {"x"}.__contains__}) == [("x_y_z.txt", {"a": "x", "b": "y_z"})]


def test_byte_sorted_and_distinct(tree: Tree) -> None:
    tree.make("b", "B", "a b", "aé", "a~", "a/x")
    assert tree.paths("*") == ["B", "a b", "a~", "aé", "b"]
    assert tree.paths("**/**/*") == ["B", "a b", "a/x", "a~", "aé", "b"]


def test_names_that_are_no_utf8(tree: Tree) -> None:
    raw = [b"x\xff", b"x\xc3\xa9", "x\U00010000".encode()]
    try:
        for name in raw:
            with open(os.fsencode(tree.root) + b"/" + name, "wb"):
                pass
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert [os.fsencode(path) for path in tree.paths("x*")] == sorted(raw)
    assert [os.fsencode(b["s"]) for _, b in tree.glob("x{s}")] == [name[1:] for name in sorted(raw)]


def test_no_dot_files(tree: Tree) -> None:
    tree.make(".a.txt", "b.txt", ".d/c.txt", "e/.f.txt", "e/.g/h.txt")
    assert tree.paths("*.txt") == ["b.txt"]
    assert tree.paths("**/*.txt") == ["b.txt"]
    assert tree.paths("{s}/c.txt") == []
    assert tree.paths("?a.txt") == []
    assert tree.paths(".*.txt") == [".a.txt"]
    assert tree.paths(".{s}.txt") == [".a.txt"]
    assert tree.paths(".d/*.txt") == [".d/c.txt"]
    assert tree.paths("**/.g/*.txt") == ["e/.g/h.txt"]
    assert tree.paths(".*/*.txt") == [".d/c.txt"]


def test_links(tree: Tree) -> None:
    tree.make("real/a.txt", "real/sub/b.txt", "out/")
    (tree.root / "file.txt").symlink_to("real/a.txt")
    (tree.root / "link").symlink_to("real")
    (tree.root / "gone.txt").symlink_to("nowhere")
    (tree.root / "self.txt").symlink_to("self.txt")
    assert tree.paths("*.txt") == ["file.txt"]
    assert tree.paths("link/*.txt") == ["link/a.txt"]
    assert tree.paths("*/a.txt") == ["link/a.txt", "real/a.txt"]
    assert tree.paths("**/b.txt") == ["link/sub/b.txt", "real/sub/b.txt"]
    assert tree.paths("*/") == ["link/", "out/", "real/"]


def test_links_in_a_circle(tree: Tree) -> None:
    tree.make("a/b/x.txt", "c/y.txt")
    (tree.root / "a/b/up").symlink_to("..")
    (tree.root / "a/root").symlink_to("../..")
    (tree.root / "a/here").symlink_to(".")
    (tree.root / "c/other").symlink_to("../a")
    (tree.root / "a/back").symlink_to("../c")
    found = ["a/b/x.txt", "a/back/y.txt", "c/other/b/x.txt", "c/y.txt"]
    assert tree.paths("**/*.txt") == found
    assert tree.paths("{p}.txt", slashes={"p"}) == found
    assert tree.paths("a/**/x.txt") == ["a/b/x.txt"]


def test_special_files_are_no_files(tree: Tree) -> None:
    os.mkfifo(tree.root / "pipe")
    tree.make("plain")
    assert tree.paths("*") == ["plain"]
    assert tree.paths("pipe") == []


def test_what_is_skipped(tree: Tree) -> None:
    tree.make("a/x.txt", "b/x.txt", "b/y.txt")
    tree.skipped = {"a", "b/y.txt"}
    assert tree.paths("*/*.txt") == ["b/x.txt"]
    assert tree.paths("**/*.txt") == ["b/x.txt"]
    assert "a" not in tree.listed
    assert tree.paths("{p}.txt", slashes={"p"}) == ["b/x.txt"]
    assert tree.paths("b/y.txt") == []
    assert tree.paths("*/") == ["b/"]


def test_what_is_listed(tree: Tree) -> None:
    tree.make("a/x/1.txt", "b/", "c.txt")
    tree.glob("*/x/*.txt")
    assert sorted(tree.listed) == ["", "a/x", "b/x"]  # b/x is absent: should it appear, the answer changes
    tree.glob("none/deep/*.txt")
    assert tree.listed == ["none/deep"]
    tree.glob("*/x/1.txt")
    assert sorted(tree.listed) == ["", "a/x", "b/x"]
    tree.glob("a/x/1.txt")
    assert tree.listed == ["a/x"]
    tree.glob("**/*.txt")
    assert sorted(tree.listed) == ["", "a", "a/x", "b"]
    assert tree.paths("c.txt/*") == []
    assert tree.listed == ["c.txt"]


def test_outside_the_project(tree: Tree, tmp_path: Path) -> None:
    tree.make("../shared/a.txt", "../shared/b.txt", "in.txt")
    assert tree.glob("../shared/{s}.txt") == [("../shared/a.txt", {"s": "a"}), ("../shared/b.txt", {"s": "b"})]
    assert tree.listed == ["../shared"]
    assert tree.paths(f"{tmp_path}/shared/*.txt") == [f"{tmp_path}/shared/a.txt", f"{tmp_path}/shared/b.txt"]
    assert tree.listed == [f"{tmp_path}/shared"]
    assert tree.paths(f"{tmp_path}/shared/a.txt") == [f"{tmp_path}/shared/a.txt"]


def test_paths_are_plain(tree: Tree) -> None:
    tree.make("data/a.txt")
    assert tree.paths("./data//{s}.txt") == ["data/a.txt"]
    assert tree.paths("data/./*.txt") == ["data/a.txt"]
    assert tree.paths("./**/*.txt") == ["data/a.txt"]
    assert tree.paths(".") == []
    assert tree.paths("") == []


def test_a_folder_that_cannot_be_read_is_an_error(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.make("a/x.txt")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.rstrip("/").endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FlowError, match="a/ cannot be read: Permission denied"):
        tree.glob("**/*.txt")


def test_names_too_long_are_absent(tree: Tree) -> None:
    assert tree.paths("x" * 300) == []
    assert tree.paths("x" * 300 + "/*") == []


def test_deep_folders(tree: Tree) -> None:
    tree.make("d/" * 150 + "x.txt")
    assert tree.paths("**/x.txt") == ["d/" * 150 + "x.txt"]


def test_many_files(tree: Tree) -> None:
    (tree.root / "d").mkdir()
    for index in range(2000):
        (tree.root / f"d/s{index}.txt").touch()
    found = tree.glob("d/s{n}.txt")
    assert len(found) == 2000
    assert [path for path, _ in found] == sorted(path for path, _ in found)
