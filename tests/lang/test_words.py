"""Words: quoting as in a shell, brace lists and sequences, holes, globs, labels."""

from __future__ import annotations

import itertools
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError, Source, Span
from buildflow.lang.words import split_plain, split_words
from buildflow.template import Glob, Hole, Word


def words(text: str, **options: object) -> list[Word]:
    source = Source("Flowfile", text)
    return split_words(text, lambda offset, length: Span(source, 1, offset + 1, length), **options)  # type: ignore[arg-type]


def texts(text: str) -> list[str]:
    found = words(text)
    assert all(word.plain for word in found), found
    return [word.text for word in found]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        ("  a\tb  ", ["a", "b"]),
        ("'a b' c", ["a b", "c"]),
        ('"a b"c', ["a bc"]),
        (r"a\ b", ["a b"]),
        (r"\*\?\{x\}", ["*?{x}"]),
        ("'*' \"?\"", ["*", "?"]),
        (r"'a\b'", [r"a\b"]),
        (r'"a\b\"\\\$"', [r'a\b"\$']),
        ('"\\{x\\}"', ["{x}"]),
        ("'it'\\''s'", ["it's"]),
        ("''", [""]),
        ('a ""', ["a", ""]),
        ("a#b", ["a#b"]),
        ("é\u00a0x", ["é\u00a0x"]),  # a no-break space separates nothing, as in a shell
        ("a\\", ["a\\"]),
    ],
)
def test_quoting_is_a_shells(text, expected):
    assert texts(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{a,b}", "a b"),
        ("x{a,b}y", "xay xby"),
        ("{a,b}{1,2}", "a1 a2 b1 b2"),
        ("{a,{b,c}}", "a b c"),
        ("{{a,b},c}", "a b c"),
        ("{a,b{1..3}}", "a b1 b2 b3"),
        ("{a,}x", "ax x"),
        ("{,a}", "a"),
        ('{a,""}', "a ''"),
        ("{1..5}", "1 2 3 4 5"),
        ("{3..1}", "3 2 1"),
        ("{-1..1}", "-1 0 1"),
        ("{1..10..4}", "1 5 9"),
        ("{10..1..4}", "10 6 2"),
        ("{1..3..0}", "1 2 3"),
        ("{08..11}", "08 09 10 11"),
        ("{1..010}", "001 002 003 004 005 006 007 008 009 010"),
        ("{a..e}", "a b c d e"),
        ("{e..a..2}", "e c a"),
        ("f{0..2}.txt", "f0.txt f1.txt f2.txt"),
        ("{}", "{}"),
        ("{ab", "{ab"),
        ("ab}", "ab}"),
        ("{.x}", "{.x}"),
        ("{a..1}", "{a..1}"),
        ("'{a,b}'", "'{a,b}'"),
        (r"\{a,b\}", "'{a,b}'"),
        ("{'a,b',c}", "'a,b' c"),
        (r"{a\,b,c}", "'a,b' c"),
        ('{"a b",c}', "'a b' c"),
        ("{{x}}", "'{x}'"),
        ("{{a,b}}", "'{a,b}'"),
        ("{{1..3}}", "'{1..3}'"),
        ("{{.State}}", "'{.State}'"),
        ("a{{b}}c}}", "'a{b}c}'"),
        ("{{}}", "'{}'"),
        ("'{{x}}'", "'{x}'"),
        ("a,b", "a,b"),
    ],
)
def test_lists_and_sequences(text, expected):
    assert texts(text) == shlex.split(expected)


def test_words_of_a_list_share_their_place():
    first, second = words("x {a,b}.c")[1:]
    assert first.span == second.span
    assert (first.span.column, first.span.length) == (3, 7)


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=2, max_size=3), min_size=1, max_size=4))
def test_several_lists_are_a_product_the_last_fastest(lists):
    text = "/".join("{" + ",".join(alternatives) + "}" for alternatives in lists)
    assert texts(text) == ["/".join(one) for one in itertools.product(*lists)]


def test_holes():
    (word,) = words("out/{s}_{*v}{!x}{in[0].stem}.txt")
    assert word.parts == (
        "out/", Hole("s"), "_", Hole("v", star=True), Hole("x", raw=True), Hole("in", 0, "stem"), ".txt",
    )  # fmt: skip
    assert words("{a[-1]}")[0].parts == (Hole("a", -1),)


@pytest.mark.parametrize("text", ['"out/{s} x*"', "'out/{s} x*'"])
def test_quotes_keep_holes_and_disable_globs_and_lists(text):
    (word,) = words(text)
    assert word.parts == ("out/", Hole("s"), " x*")
    assert words(text[0] + "{a,b}" + text[0])[0].text == "{a,b}"


def test_holes_in_lists():
    assert [w.text for w in words("{{x},y}.c {a,{x}b}")] == ["{x}.c", "y.c", "a", "{x}b"]
    assert words("{{x},y}")[0].parts == (Hole("x"),)


def test_globs():
    assert words("a/**/b*.?")[0].parts == ("a/", Glob("**"), "/b", Glob("*"), ".", Glob("?"))
    assert [type(part) for part in words("a*'*'\\*")[0].parts] == [str, Glob, str]


def test_braces_of_the_shells_variables_are_no_holes():
    assert texts("${ORIGIN}/lib $x ${a:-b,c}") == ["${ORIGIN}/lib", "$x", "${a:-b,c}"]


def test_labels():
    src, other, several, *rest = words("src=a.c x.c h={a,b}.h ./a=b 'q'=c \\q=c 1x=y", labels=True)
    assert (src.label, src.text) == ("src", "a.c")
    assert other.label is None
    assert (several.label, several.text, rest[0].label, rest[0].text) == ("h", "a.h", "h", "b.h")
    assert [(w.label, w.text) for w in rest[1:]] == [(None, "./a=b"), (None, "q=c"), (None, "q=c"), (None, "1x=y")]
    assert words("_=x", labels=True)[0].label == "_"
    assert words("a=b=c", labels=True)[0].text == "b=c"
    assert words("src={x}", labels=True)[0].parts == (Hole("x"),)
    assert words("src=a")[0].label is None


def test_a_value_of_the_command_line():
    assert [(w.text, w.span) for w in split_plain("0.5 '0 25'")] == [("0.5", None), ("0 25", None)]
    with pytest.raises(FlowError) as error:
        split_plain("it's")
    assert error.value.span is None


@pytest.mark.parametrize("text, column", [("a 'b", 3), ('x"b c', 2), ("a 'b' \"c", 7)])
def test_an_unclosed_quote_is_an_error_at_its_place(text, column):
    with pytest.raises(FlowError, match="never closed") as error:
        words(text)
    assert error.value.span.column == column


@pytest.mark.parametrize("text", ["{a,b}" * 40, "{1..1000000000}", "{1..99999}{1..99999}", "{a," * 500 + "}" * 500])
def test_lists_that_explode_are_errors(text):
    with pytest.raises(FlowError):
        words(text)


def test_a_sequence_of_names_is_an_error():
    with pytest.raises(FlowError, match="sequence"):
        words("{1..{n}}")


@pytest.mark.parametrize(
    "text",
    ["out/{sample,x}.txt", "{sample, x}", "'{sample,x}'", r"{s,\d+}", "{s,[a-z]}", "{s,(a)}", "{s,a+}", "{s,a*}"],
)
def test_snakemakes_constraint_is_refused(text):
    with pytest.raises(FlowError) as error:
        words(text, wildcards={"sample"})
    name = "sample" if "sample" in text else "s"
    assert f"{name} ~ " in error.value.hint
    assert error.value.span.column == text.index("{") + 1


@pytest.mark.parametrize("text", ["{s,^a}", "{s,a$}", "{src,include}/x", "x{.c,*.h}", "{a,b}+", "{a-b,c*}"])
def test_lists_that_are_no_constraints(text):
    if any(c in "^$" for c in text):
        with pytest.raises(FlowError):
            words(text)
    else:
        words(text, assigned={"x"})


def test_a_constraint_on_an_assigned_name_is_refused():
    with pytest.raises(FlowError, match="wildcard's pattern"):
        words("x{voxel,b}", assigned={"voxel"})
    assert len(words("x{voxel,b}")) == 2


@pytest.mark.parametrize("text", ["$(CC)", "a${CC}b", '"$(CC)"'])
def test_makes_variable_of_an_assigned_name_is_refused(text):
    with pytest.raises(FlowError, match="Make's") as error:
        words(text, assigned={"CC"})
    assert "{CC}" in error.value.hint
    assert error.value.span.column == text.index("$") + 1
    assert len(words(text)) == 1
    assert words("'$(CC)' \\$(CC)", assigned={"CC"})[0].text == "$(CC)"


@pytest.mark.parametrize("text", ["{voxel:03d}", "{voxel!r}", "{voxel[a]}", "{voxel.a.b}"])
def test_a_known_name_in_another_form_is_an_error(text):
    with pytest.raises(FlowError, match="no form of the name"):
        words(text, assigned={"voxel"})
    assert words(text)[0].text == text
    assert words("{" + text + "}", assigned={"voxel"})[0].text == text


@given(st.text(alphabet="ab{},.1\\'\"*?$() \té_", max_size=24))
@settings(deadline=None, max_examples=300)
def test_any_text_is_words_or_an_error(text):
    try:
        found = words(text, labels=True, wildcards={"a"}, assigned={"b"})
    except FlowError as error:
        assert error.span is not None
    else:
        for word in found:
            assert all(type(a) is not str or type(b) is not str for a, b in zip(word.parts, word.parts[1:]))
            assert "" not in word.parts
