"""What the functions on the right of `=` read: tables, lines, configurations and the output of commands."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError, Source, Span
from buildflow.readers import Row, read_config, read_lines, read_table, run_shell

SPAN = Span(Source("Flowfile", "x = table(samples.tsv)"), 1, 5, 18)
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def do(name: str, text: str | bytes) -> str:
        place = tmp_path / name
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(place)

    return do


def table(path: str, *columns: str, left: tuple[str, ...] = ()) -> list[tuple[str | None, ...]]:
    """The rows of a table with plain cells: None for one that is empty."""
    rows = read_table(path, Path(path).name, columns, left or columns, SPAN)
    assert all(len(cell) <= 1 for row in rows for cell in row)
    return [tuple(cell[0] if cell else None for cell in row) for row in rows]


def fails(function: Callable[[], object], *says: str) -> None:
    with pytest.raises(FlowError) as caught:
        function()
    text = caught.value.show()
    for part in says:
        assert part in text
    assert caught.value.span is SPAN


# --- table


def test_columns_are_those_named_as_on_the_left(write: Write) -> None:
    path = write("s.tsv", "sample\tfile\tage\ns1\ta.fq\t3\ns2\tb.fq\t4\n")
    assert table(path, left=("file", "sample")) == [("a.fq", "s1"), ("b.fq", "s2")]


def test_columns_may_have_other_names(write: Write) -> None:
    path = write("s.tsv", "Sample ID\tfile\ns1\ta.fq\n")
    assert table(path, "Sample ID", "file", left=("sample", "path")) == [("s1", "a.fq")]
    assert table(path, "file", "file", left=("one", "two")) == [("a.fq", "a.fq")]
    fails(lambda: table(path, "file", left=("sample", "path")), "2 names on the left, 1 column")


def test_tab_or_comma_by_extension(write: Write) -> None:
    for name in ("x.tsv", "x.TSV", "x.tab", "x.txt"):
        assert table(write(name, "a\tb,c\n1\t2,3\n"), "a", "b,c") == [("1", "2,3")]
    for name in ("x.csv", "x.CSV"):
        assert table(write(name, "a,b\n1,2\t3\n"), "a", "b") == [("1", "2\t3")]


def test_other_extensions_are_told_by_the_header(write: Write) -> None:
    assert table(write("x.dat", "# a\tcomment\na,b\n1,2\n"), "a", "b") == [("1", "2")]
    assert table(write("y.dat", "a\tb,c\n1\t2\n"), "a", "b,c") == [("1", "2")]
    assert table(write("z.dat", "a\n1\n"), "a") == [("1",)]
    fails(lambda: table(write("x.dat", "a,b\n"), "c"), "commas, as the header of this file shows")


def test_quotes_are_those_of_rfc_4180(write: Write) -> None:
    text = 'a,b,c\n"x, y","say ""hi""",3\n" s ", "t" ,u v\n"two\nlines",4,5\n'
    assert table(write("x.csv", text), "a", "b", "c") == [
        ("x, y", 'say "hi"', "3"),
        (" s ", "t", "u v"),
        ("two\nlines", "4", "5"),
    ]
    assert table(write("x.tsv", 'a\tb\n"x\ty"\tz\n'), "a", "b") == [("x\ty", "z")]
    assert table(write("q.csv", '"a","b, c"\n1,2\n'), "b, c", "a") == [("2", "1")]
    assert table(write("i.tsv", 'a\tb\n5" nail\t2\n'), "a", "b") == [('5" nail', "2")]
    assert table(write("e.csv", 'a,b\n"",1\n'), "a", "b") == [(None, "1")]


def test_a_wrong_quote_is_said_with_its_line(write: Write) -> None:
    fails(lambda: table(write("x.csv", 'a,b\n1,2\n"3,4\n5,6\n'), "a"), "x.csv:3: a quote is not closed")
    fails(lambda: table(write("y.csv", 'a,b\n"1" x,2\n'), "a"), "y.csv:2: x stands after a closed quote")


def test_blank_and_comment_lines_are_skipped(write: Write) -> None:
    text = "# made by hand\n\na\tb\n\n1\t2\n   \n  # more\n\t\n3\t#4\n\t#5\n"
    assert table(write("x.tsv", text), "a", "b") == [("1", "2"), ("3", "#4"), (None, "#5")]
    assert table(write("x.csv", '#c\na,b\n"#1",2\n,,\n'), "a", "b") == [("#1", "2")]
    assert table(write("y.csv", 'a,b\n"x\n#y\n\nz",2\n'), "a", "b") == [("x\n#y\n\nz", "2")]


def test_a_row_that_ends_early_has_empty_cells(write: Write) -> None:
    path = write("x.tsv", "a\tb\tc\n1\n1\t2\n\t\t3\n")
    assert table(path, "a", "b", "c") == [("1", None, None), ("1", "2", None), (None, None, "3")]


def test_a_row_longer_than_the_header_is_an_error(write: Write) -> None:
    fails(
        lambda: table(write("x.tsv", "# c\na\tb\n1\t2\n1\t2\t3\n"), "a"), "x.tsv:4: the row has 3 cells, the header 2"
    )
    fails(lambda: table(write("y.csv", 'a,b\n"1\n1",2\n1,2,3\n'), "a"), "y.csv:4: the row has 3 cells")


def test_white_space_around_cells_goes(write: Write) -> None:
    assert table(write("x.csv", "a , b\n 1 ,\t2  \n"), "a", "b") == [("1", "2")]


def test_byte_order_mark_and_line_ends(write: Write) -> None:
    assert table(write("x.csv", b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4"), "a", "b") == [("1", "2"), ("3", "4")]
    assert table(write("y.csv", b'a,b\r\n"1","2"\r\n'), "a", "b") == [("1", "2")]


def test_a_missing_column_shows_the_near_ones(write: Write) -> None:
    path = write("x.tsv", "sample\tcondition\ns1\tx\n")
    fails(lambda: table(path, "smaple"), "x.tsv has no column smaple", "did you mean sample?")
    fails(lambda: table(path, "zzz"), "its columns are: sample, condition", "tabs in a .tsv file")
    fails(lambda: table(write("y.tsv", "#sample\tx\ns1\t2\n"), "sample"), "is a comment, also the one with sample")


def test_a_header_that_names_a_column_twice(write: Write) -> None:
    path = write("x.tsv", "a\tb\tb\n1\t2\t3\n")
    assert table(path, "a") == [("1",)]
    fails(lambda: table(path, "b"), "x.tsv:1: two columns are named b")


def test_a_table_without_rows(write: Write) -> None:
    assert table(write("x.tsv", "a\tb\n"), "a") == []
    fails(lambda: table(write("y.tsv", "# only a comment\n"), "a"), "no header row")
    fails(lambda: table(write("z.tsv", ""), "a"), "no header row")


def test_rows_are_all_there_in_their_order(write: Write) -> None:
    assert table(write("x.tsv", "a\n2\n1\n2\n"), "a") == [("2",), ("1",), ("2",)]


def test_files_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    fails(lambda: table(str(tmp_path / "no.tsv"), "a"), "no.tsv does not exist")
    fails(lambda: table(str(tmp_path), "a"), "cannot be read: Is a directory")
    fails(lambda: table(str(tmp_path / "a\0b"), "a"), "cannot be read")
    fails(lambda: table(write("x.tsv", "a\tb\n".encode("utf-16")), "a"), "not a text in UTF-8")


def test_bytes_that_are_no_utf8_stay(write: Write) -> None:
    assert table(write("x.tsv", b"a\nx\xff\n"), "a") == [("x\udcff",)]


@given(
    st.lists(
        st.lists(st.text('ab ",#\n\té', max_size=5), min_size=3, max_size=3).filter(lambda row: any(row)), max_size=6
    ),
    st.sampled_from([",", "\t"]),
)
@settings(deadline=None, max_examples=100)
def test_what_a_writer_quotes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], mark: str
) -> None:
    stream = io.StringIO()
    csv.writer(stream, delimiter=mark, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    path = tmp_path_factory.mktemp("table") / ("x.csv" if mark == "," else "x.tsv")
    path.write_bytes(stream.getvalue().encode())
    assert table(str(path), "a", "b", "c") == [tuple(cell or None for cell in row) for row in rows]


# --- lines


def test_lines(write: Write) -> None:
    path = write("x.txt", b"\xef\xbb\xbfa\r\n\n# b\n  c d \n\t\nlast\x0b\x85?")
    assert read_lines(path, "x.txt", SPAN) == ["a", "# b", "  c d ", "last\x0b\udc85?"]
    assert read_lines(write("y.txt", ""), "y.txt", SPAN) == []
    fails(lambda: read_lines("/nowhere/x", "x", SPAN), "x does not exist")


# --- config

YAML = """
samples: [s1, s2]
aligner: bwa
threads: 010
version: 0.10
small: 1e-3
date: 2024-01-02
time: 12:30:00
answer: yes
flag: True
off: false
nothing: null
tilde: ~
empty:
text: ""
pairs: {s1: a.fq, s2: [b.fq, c.fq], s3: null}
rows:
  - {sample: s1, file: a.fq}
  - {sample: s2, file: [b.fq, c.fq]}
  - {sample: s3}
lists: [[a, 1, 2], [b]]
refs: {hg38.fa: x, deep: {b.c: {d: y}}}
"""
TOML = """
samples = ["s1", "s2"]
aligner = "bwa"
version = 0.10
count = 1_000
date = 2024-01-02
utc = 2024-01-02T03:04:05Z
flag = true
[pairs]
s1 = "a.fq"
s2 = ["b.fq", "c.fq"]
[[rows]]
sample = "s1"
file = "a.fq"
[[rows]]
sample = "s2"
file = ["b.fq", "c.fq"]
[refs]
"hg38.fa" = "x"
"""
JSON = """
{"samples": ["s1", "s2"], "aligner": "bwa", "version": 0.10, "small": 1e-3, "big": 12345678901234567890123,
 "flag": true, "nothing": null, "pairs": {"s1": "a.fq", "s2": ["b.fq", "c.fq"]},
 "rows": [{"sample": "s1", "file": "a.fq"}, {"sample": "s2", "file": ["b.fq", "c.fq"]}], "refs": {"hg38.fa": "x"}}
"""


@pytest.fixture(params=["x.yaml", "x.yml", "x.toml", "x.json"])
def document(request: pytest.FixtureRequest, write: Write) -> str:
    name: str = request.param
    return write(name, {"yaml": YAML, "yml": YAML, "toml": TOML, "json": JSON}[name.partition(".")[2]])


def config(path: str, key: str, *left: str) -> list[Row]:
    return read_config(path, Path(path).name, key, left or ("x",), SPAN)


def values(path: str, key: str) -> list[str]:
    rows = config(path, key)
    assert all(len(row) == 1 and len(row[0]) == 1 for row in rows)
    return [row[0][0] for row in rows]


def test_what_every_format_gives(document: str) -> None:
    assert values(document, "aligner") == ["bwa"]
    assert values(document, "samples") == ["s1", "s2"]  # a list gives several values
    assert values(document, "pairs")[:2] == ["s1", "s2"]  # a mapping its keys
    pairs = config(document, "pairs", "sample", "file")  # or, to two names, its pairs
    assert pairs[:2] == [(("s1",), ("a.fq",)), (("s2",), ("b.fq", "c.fq"))]
    rows = config(document, "rows", "file", "sample")  # a list of mappings its rows by the names on the left
    assert rows[:2] == [(("a.fq",), ("s1",)), (("b.fq", "c.fq"), ("s2",))]
    assert config(document, "rows", "sample")[:2] == [(("s1",),), (("s2",),)]
    assert values(document, "pairs.s1") == ["a.fq"]  # a.b walks mappings
    assert values(document, "pairs.s2") == ["b.fq", "c.fq"]
    assert values(document, "pairs.s2.1") == ["c.fq"]
    assert values(document, "rows.0.sample") == ["s1"]
    assert values(document, "flag") == ["true"]
    assert values(document, "version") == ["0.10"]
    for key in ('refs."hg38.fa"', "refs.'hg38.fa'", "refs.hg38.fa"):
        assert values(document, key) == ["x"]
    assert "samples" in values(document, "")


def test_what_is_wrong_in_every_format(document: str) -> None:
    name = Path(document).name
    fails(lambda: config(document, "sample"), f"there is no sample in {name}", "did you mean samples?")
    fails(lambda: config(document, "pairs.x1"), f"there is no x1 in pairs of {name}", "did you mean s1?")
    fails(lambda: config(document, "pairs.other"), "it has: s1, s2")
    fails(lambda: config(document, "pairs.s1.x"), f"there is no x in pairs.s1 of {name}: it is no mapping")
    fails(lambda: config(document, "samples.2"), "it is a list of 2 entries")
    fails(lambda: config(document, "samples.-1"), "it is a list of 2 entries")
    fails(lambda: config(document, "aligner", "a", "b"), "is one value, but 2 names stand on the left")
    fails(lambda: config(document, "samples", "a", "b"), "gives one value a row, but 2 names")
    fails(lambda: config(document, "pairs", "a", "b", "c"), "is a mapping, but 3 names stand on the left")
    fails(lambda: config(document, "rows", "smaple", "file"), "no row of rows", "did you mean sample?")
    fails(lambda: config(document, "", "a", "b"), "is a mapping, not a value")
    fails(lambda: config(document, "a..b"), "a part is missing in the key")
    fails(lambda: config(document, "a."), "a part is missing in the key")
    fails(lambda: config(document, '"a'), "a quote is not closed in the key")
    fails(lambda: config(document, '"a"b'), "a dot is missing after a quote")


def test_yaml_keeps_what_is_written(write: Write) -> None:
    path = write("x.yaml", YAML)
    for key, text in (
        ("threads", "010"),
        ("version", "0.10"),
        ("small", "1e-3"),
        ("date", "2024-01-02"),
        ("time", "12:30:00"),
        ("answer", "yes"),
        ("flag", "true"),
        ("off", "false"),
        ("refs.deep.b.c.d", "y"),
    ):
        assert values(path, key) == [text]
    assert config(path, "text") == [(("",),)]
    assert config(write("m.yaml", "base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 03}\n"), "use", "k", "v") == [
        (("x",), ("1",)),
        (("y",), ("03",)),
    ]


def test_a_null_is_no_value(write: Write) -> None:
    path = write("x.yaml", YAML)
    for key in ("nothing", "tilde", "empty"):
        assert config(path, key) == []
    assert config(path, "pairs", "s", "f")[2] == (("s3",), ())
    assert config(path, "rows", "sample", "file")[2] == (("s3",), ())
    assert config(write("x.json", JSON), "nothing") == []


def test_a_list_of_lists_gives_rows(write: Write) -> None:
    path = write("x.yaml", YAML)
    assert config(path, "lists", "a", "b") == [(("a",), ("1", "2")), (("b",), ())]
    assert config(path, "lists", "a", "b", "c", "d") == [(("a",), ("1",), ("2",), ()), (("b",), (), (), ())]
    fails(lambda: config(path, "lists"), "is a list, not a value")


def test_numbers_of_json_and_toml(write: Write) -> None:
    path = write("x.json", JSON)
    assert values(path, "small") == ["1e-3"]
    assert values(path, "big") == ["12345678901234567890123"]
    path = write("x.toml", TOML)
    assert values(path, "count") == ["1000"]
    assert values(path, "date") == ["2024-01-02"]
    assert values(path, "utc") == ["2024-01-02T03:04:05Z"]


def test_a_document_that_is_a_list(write: Write) -> None:
    assert values(write("x.json", '["a", 1]'), "") == ["a", "1"]
    assert config(write("x.yaml", "- {a: 1, b: 2}\n"), "", "b", "a") == [(("2",), ("1",))]
    assert config(write("y.yaml", "[]"), "") == []
    assert config(write("y.yaml", "[]"), "", "a", "b") == []
    assert config(write("z.yaml", "{}"), "", "a", "b") == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.toml", "a = 1\nb = \n", "x.toml:2: "),
        ("x.toml", "a = 1\na = 2\n", "x.toml"),
        ("x.json", '{"a": 1,\n "b": }', "x.json:2: "),
        ("x.json", '{"a": 1, "a": 2}', "the key a stands there twice"),
        ("x.json", "", "x.json:1: "),
        ("x.json", "[" * 100_000, "nested too deeply"),
        ("x.yaml", "a: 1\nb: [\n", "x.yaml:3: "),
        ("x.yaml", "a: 1\na: 2\n", "x.yaml:2: the key a stands there twice"),
        ("x.yaml", "--- a\n--- b\n", "single document"),
        ("x.yaml", "a: !!python/object:os.system {}\n", "x.yaml:1: "),
        ("x.yaml", "a: !!int x\n", "x.yaml"),
        ("x.yaml", "? [a, b]\n: c\n", "x.yaml"),
        ("x.yaml", "a: \x01\n", "x.yaml"),
        ("x.yaml", b"a: \xff\n", "x.yaml is not a text in UTF-8"),
        ("x.ini", "a = 1\n", "cannot tell the format of x.ini"),
    ],
)
def test_a_broken_file_is_said_with_its_line(write: Write, name: str, text: str | bytes, says: str) -> None:
    fails(lambda: config(write(name, text), "a"), says)


def test_a_key_in_an_empty_file(write: Write) -> None:
    fails(lambda: config(write("x.yaml", ""), "a"), "there is no a in x.yaml")
    fails(lambda: config(write("x.toml", ""), "a"), "there is no a in x.toml", "it is empty")
    fails(lambda: config("/nowhere/c.toml", "a"), "c.toml does not exist")


def test_a_yaml_that_holds_itself(write: Write) -> None:
    path = write("x.yaml", "a: &a [*a]\nb: &b {c: *b, d: 1}\n")
    fails(lambda: config(path, "a"), "is a list, not a value")
    assert values(path, "b.c.c.d") == ["1"]


# --- shell


def test_the_output_of_a_command_is_words(tmp_path: Path) -> None:
    assert run_shell("printf 'a  b\\nc\\t\\n'", str(tmp_path), SPAN) == ["a", "b", "c"]
    assert run_shell("true", str(tmp_path), SPAN) == []
    assert run_shell("cat", str(tmp_path), SPAN) == []  # its input is empty
    assert run_shell("printf 'a\\377 \\302\\240b'", str(tmp_path), SPAN) == ["a\udcff", "\u00a0b"]


def test_a_command_runs_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert run_shell("ls; pwd", str(tmp_path), SPAN) == ["x", str(tmp_path.resolve())]


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    root = str(tmp_path)
    fails(lambda: run_shell("echo no such thing >&2; exit 3", root, SPAN), "ended with status 3", "no such thing")
    fails(lambda: run_shell("false; echo x", root, SPAN), "ended with status 1")
    fails(lambda: run_shell("false | cat", root, SPAN), "ended with status 1")
    fails(lambda: run_shell("kill -9 $$", root, SPAN), "ended by signal 9")
    fails(lambda: run_shell("true", str(tmp_path / "gone"), SPAN), "cannot be run")
    fails(lambda: run_shell("a\0b", root, SPAN), "cannot be run")


def test_what_a_command_says_beside_is_passed_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_shell("echo careful >&2; echo x", str(tmp_path), SPAN) == ["x"]
    assert capfd.readouterr() == ("", "careful\n")
