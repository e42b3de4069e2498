"""Statements: every form that the description of lines has, in its order, and what is none of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError, Source, Span
from buildflow.lang.parser import parse, parse_attributes, parse_value
from buildflow.lang.statements import Assign, Call, Defaults, Include, Pattern, RuleStatement, Statement
from buildflow.template import Glob, Hole, Word


def read(text: str) -> list[Statement]:
    return parse(Source("Flowfile", text))


def only(text: str) -> Statement:
    (statement,) = read(text)
    return statement


def error(text: str) -> FlowError:
    with pytest.raises(FlowError) as caught:
        read(text)
    assert caught.value.span is not None
    assert caught.value.show().startswith("Flowfile:")
    return caught.value


def place(text: str) -> tuple[int, int]:
    span = error(text).span
    return span.line, span.column


def texts(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def rule(text: str) -> tuple[str, ...]:
    """The words of the one rule of a text: targets, inputs, and order-only inputs where it has some."""
    statement = only(text)
    assert isinstance(statement, RuleStatement)
    parts = statement.targets, statement.inputs, statement.order_only
    return tuple(texts(part) for part in parts[: 3 if statement.order_only else 2])


def assign(text: str) -> Assign:
    statement = only(text)
    assert isinstance(statement, Assign)
    return statement


# 1. Blank lines, comments, help


def test_blank_lines_and_comments():
    assert read("") == read("\n \t\n# c\n#\n  # indented\n") == []
    assert rule("a: b # c: d") == ("a", "b")
    assert rule("a: b#c 'x # y' z\\ # # it's a comment") == ("a", "b#c x # y z #")
    assert texts(assign("A = b # it's").terms) == "b"


def test_help_is_of_the_rule_that_follows():
    text = "## One\n##\n##  Two \n[cpus = 2]\n# comment\n[phony]\na: b\n## Three\nc:"
    first, second = read(text)
    assert (first.help, second.help) == ("One\n\nTwo", "Three")
    assert [a.name for a in first.attributes] == ["cpus", "phony"]
    assert second.attributes == ()


def test_help_without_a_rule_is_a_comment():
    assert len(read("## x\nA = 1\nb:\n## y\n")) == 2
    assert read("## x\nA = 1\nb:")[1].help == ""
    assert only("## Section\n\n# c\n## x\na:").help == "x"
    assert only("## x\n\na:").help == "x"
    assert only("### x ###\na:").help == ""
    assert only("a: b ## x").help == ""


# 2. Attributes


def test_attributes_that_no_rule_follows_are_an_error_at_their_line():
    assert place("a:\n[b]\n") == (2, 1)
    assert place("\n[a]\nB = 1\nc:") == (2, 1)
    assert place('[a]\ninclude "x"\nc:') == (1, 1)
    assert place("[a]\n[defaults: x]\nc:") == (1, 1)


def test_defaults():
    statement = read("[defaults: pass = A, anonymous,\n env = x]\na:")[0]
    assert isinstance(statement, Defaults)
    assert [(a.name, a.text) for a in statement.attributes] == [("pass", "A"), ("anonymous", None), ("env", "x")]
    assert [a.name for a in read("[ defaults : x ]")[0].attributes] == ["x"]
    assert only("[default]\na:").attributes[0].name == "default"


@pytest.mark.parametrize("text", ["[]\na:", "[defaults:]", "[a,,b]\nc:", "[cpus 2]\nc:", "[cpus: 2]\nc:", "[=2]\nc:"])
def test_what_is_no_attribute(text):
    assert error(text).span.line == 1


def test_the_nearest_form_of_an_attribute():
    assert "`cpus = 2`" in error("[mem = 2G, cpus 2]\na:").hint
    assert place("[mem = 2G, cpus 2]\na:") == (1, 12)
    assert "`cpus = 2`" in error("[cpus: 2]\na:").hint


def _place(text: str):
    source = Source("F", text)
    return lambda offset, length: Span(source, 1, offset + 1, length)


def test_texts_of_attributes_are_raw():
    text = "name, mem = min(2G, 4G) , x= 'a, b' c,resource.licence = 1, slurm = --a=b, e =,"
    found = parse_attributes(text, _place(text))
    assert [(a.name, a.text) for a in found] == [
        ("name", None), ("mem", "min(2G, 4G)"), ("x", "'a, b' c"), ("resource.licence", "1"), ("slurm", "--a=b"),
        ("e", ""),
    ]  # fmt: skip
    for attribute in found[1:-1]:
        start = attribute.text_span.column - 1
        assert text[start : start + attribute.text_span.length] == attribute.text
        assert text.startswith(attribute.name, attribute.span.column - 1)


# 3. Includes


def test_includes():
    statement = only('include "a {x}.flow" # c')
    assert isinstance(statement, Include)
    assert (statement.path.parts, statement.library, statement.optional) == (("a ", Hole("x"), ".flow"), False, False)
    assert only("include 'b.flow'").path.text == "b.flow"
    assert only('include? "b.flow"').optional
    library = only("include <cc.flow> CFLAGS={CFLAGS} X='a b'")
    assert (library.path.text, library.library) == ("cc.flow", True)
    assert [(name, word.text) for name, word in library.parameters] == [("CFLAGS", "{CFLAGS}"), ("X", "a b")]


@pytest.mark.parametrize(
    "text",
    [
        "include x.flow",
        "include",
        "include? x",
        "include <x.flow",
        "include <>",
        'include ""',
        'include "a" b',
        'include "a" X=1',
        "include <a> b",
        "include? <a>",
        'include "a*.flow"{b,c}',
        "inlcude <x>",
    ],
)
def test_includes_that_are_wrong(text):
    assert "include" in error(text).show()


def test_a_name_may_be_called_include():
    assert assign("include = x").names == ("include",)


# 4. Assignments


@pytest.mark.parametrize(
    "text, operator, terms",
    [
        ("A = b c", "=", "b c"),
        ("A =b", "=", "b"),
        ("A\t=\tb", "=", "b"),
        ("A ?= b", "?=", "b"),
        ("A += b", "+=", "b"),
        ("A := b", "=", "b"),
        ("A ::= b", "=", "b"),
        ("A:=b", "=", "b"),
        ("A::= b", "=", "b"),
        ("A = b: c", "=", "b: c"),
        ("A = http://x", "=", "http://x"),
        ("A = 'b c' {d,e}", "=", "b c d e"),
        ("A = -Wl,x a=b", "=", "-Wl,x a=b"),
        ("A = $ORIGIN %x", "=", "$ORIGIN %x"),
    ],
)
def test_assignments(text, operator, terms):
    statement = assign(text)
    assert (statement.names, statement.operator, statement.joint) == (("A",), operator, False)
    assert texts(statement.terms) == terms
    assert all(word.label is None for word in statement.terms)


def test_nothing_and_an_empty_value():
    assert assign("A =").terms == assign("A = # c").terms == assign("A =  ").terms == ()
    assert assign("A = ''").terms[0].parts == ()


def test_patterns_are_raw_to_a_comment():
    statement = only("run ~ \\d+'#\"x{1,2}  # c")
    assert isinstance(statement, Pattern)
    assert (statement.name, statement.regex) == ("run", "\\d+'#\"x{1,2}")
    assert only("run ~a b:\t").regex == "a b:"


def test_a_pattern_must_compile():
    assert place("r ~ a(b") == (1, 6)
    assert "unterminated" in error("\nr ~ x[").message
    assert place("\nr ~ x[") == (2, 6)
    assert "regular expression" in error("r ~ # c").hint
    assert "large" in error("r ~ " + "(" * 5000 + ")" * 5000).message


def test_joint_assignments():
    statement = assign("(a, b) = 1 x, 2 '3, 4',\\\n  {5,6},")
    assert (statement.names, statement.joint, statement.terms) == (("a", "b"), True, ())
    assert [texts(row) for row in statement.rows] == ["1 x", "2 3, 4", "5 6"]
    assert [texts(row) for row in assign("(variant, opt) = debug -O0 -g, release -O2").rows] == [
        "debug -O0 -g",
        "release -O2",
    ]
    assert assign("(a,b)=1 2").rows[0][1].text == "2"
    assert assign("(a) := 1, 2").names == ("a",)
    assert assign("(a, b) = x (1, 2), y").rows[0][1].text == "(1,"


def test_a_joint_assignment_of_one_function():
    statement = assign("(a, b) = table(x.tsv, c, 'd e')")
    (call,) = statement.terms
    assert (statement.rows, call.function) == ((), "table")
    assert [w.text for w in call.arguments] == ["x.tsv", "c", "d e"]


@pytest.mark.parametrize(
    "text",
    [
        "(a, b) =",
        "(a, a) = 1 2",
        "(a, b) += 1 2",
        "(a, b) ?= 1 2",
        "(a, b) ~ x",
        "(a, b) = 1 2,, 3 4",
        "(a, b) = table(x) 1",
        "(a, b) = table(x), 1 2",
        "(a, b) = 1 2, table(x)",
        "(a, 1) = 2",
    ],
)
def test_joint_assignments_that_are_wrong(text):
    assert error(text).span.line == 1


def test_functions():
    statement = assign("A = x glob(data/{s}/{a,b}/*.c, ../y) env(CC, 'a b') ''")
    first, glob, env, last = statement.terms
    assert (first.text, last.text) == ("x", "")
    assert isinstance(glob, Call)
    assert [w.text for w in glob.arguments] == ["data/{s}/a/*.c", "data/{s}/b/*.c", "../y"]
    assert Hole("s") in glob.arguments[0].parts
    assert Glob("*") in glob.arguments[0].parts
    assert [w.text for w in env.arguments] == ["CC", "a b"]
    assert (glob.span.column, glob.span.length) == (7, 30)
    assert glob.arguments[2].span.column == 32
    assert assign("A = glob( a(b) )").terms[0].arguments[0].text == "a(b)"
    assert assign("A = lines()").terms[0].arguments == ()
    assert texts(assign("A = 'glob(x)' a(b).c xglob(y)z").terms) == "glob(x) a(b).c xglob(y)z"


def test_a_shell_command_is_raw():
    (call,) = assign("A = shell( echo \")\" $(date '+%d (x)') ${HOME} {{x}} {x} a{b,c*} {{.S}} ; )").terms
    (word,) = call.arguments
    assert word.parts == ("echo \")\" $(date '+%d (x)') ${HOME} {x} ", Hole("x"), " a{b,c*} {{.S}} ;")
    assert word.span.column == 12
    assert assign("A = shell(a, {{x},b})").terms[0].arguments[0].parts == ("a, {", Hole("x"), ",b}")


@pytest.mark.parametrize(
    "text, where, words",
    [
        ("A = globb(x)", (1, 5), "glob"),
        ("A = x foo(y z)", (1, 7), "glob, table, lines"),
        ("A = glob(x", (1, 9), "never closed"),
        ("A = glob(x)y", (1, 12), "text follows"),
        ("A = glob(a b)", (1, 10), 'quoted: "a b"'),
        ("A = lines(glob(x))", (1, 11), "x = glob(x)"),
        ("A = table({a,b}.tsv)", (1, 11), "list"),
        ("A = env(X,)", (1, 11), "missing"),
        ("A = shell( )", (1, 5), "command"),
        ("A = lines('x)", (1, 11), "never closed"),
    ],
)
def test_functions_that_are_wrong(text, where, words):
    assert place(text) == where
    assert words in error(text).show()


def test_parse_value_alone():
    text = "a glob(b)"
    terms, rows = parse_value(text, _place(text))
    assert (terms[0].text, terms[1].function, rows) == ("a", "glob", ())


# 5. to 7. Rules, and the order


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a:", ("a", "")),
        ("a b : c d", ("a b", "c d")),
        ("a: b c | d e", ("a", "b c", "d e")),
        ("a: | d", ("a", "", "d")),
        ("a: b |", ("a", "b")),
        ("a:b: c", ("a:b", "c")),
        ("'a:' \"b: c\" d\\:e: f", ("a: b: c d:e", "f")),
        ("a{b:,c} (d: e) f: g", ("ab: ac (d: e) f", "g")),
        ("A=b: c", ("b", "c")),
        ("http://x: y", ("http://x", "y")),
        ("a: b:c s3://d", ("a", "b:c s3://d")),
        ("all:main", ("all", "main")),
        ("all:main foo", ("all", "main foo")),
        ("s3://b/x:y", ("s3://b/x", "y")),
        ("a: ./b=c", ("a", "./b=c")),
        ("export: x", ("export", "x")),
        ("rule: x", ("rule", "x")),
        ("test run report module: x", ("test run report module", "x")),
        ("out/{s}.txt: in/*.c", ("out/{s}.txt", "in/*.c")),
        ("a: 'b|' \\| c", ("a", "b| | c")),
    ],
)
def test_rules(text, expected):
    assert rule(text) == expected


def test_an_assignment_with_no_space():
    assert texts(assign("A=b c").terms) == "b c"
    assert texts(assign("A=b:c").terms) == "b:c"
    assert texts(assign("A=").terms) == ""


def test_labels_of_targets_and_inputs():
    statement = only("lib=a.a b: src={s}.c 'x'=y h={a,b}.h | _=t")
    assert [w.label for w in statement.targets] == ["lib", None]
    assert [(w.label, w.text) for w in statement.inputs] == [
        ("src", "{s}.c"), (None, "x=y"), ("h", "a.h"), ("h", "b.h"),
    ]  # fmt: skip
    assert statement.order_only[0].label == "_"


def test_places_of_words():
    statement = only("  \na {b,c}:  src=d\n")
    assert [(w.span.line, w.span.column, w.span.length) for w in statement.targets] == [(2, 1, 1), (2, 3, 5), (2, 3, 5)]
    assert (statement.inputs[0].span.column, statement.inputs[0].span.length) == (11, 5)
    assert (statement.span.line, statement.span.column) == (2, 1)


@pytest.mark.parametrize(
    "text, where",
    [
        (": a", (1, 1)),
        ("a: b: c", (1, 5)),
        ("a: b | c | d", (1, 10)),
        ("a | b: c", (1, 3)),
        ("a: b |c", (1, 6)),
        ("a: b| c", (1, 4)),
        ("a: x=", (1, 4)),
        ("x=: b", (1, 1)),
        ("a: ''", (1, 4)),
        ("*.o: a", (1, 1)),
        ("a: 'b", (1, 4)),
        ("'a: b", (1, 1)),
        ("a: b ; c", (1, 6)),
        ("a: b; c", (1, 4)),
        ("a: glob(x*)", (1, 4)),
    ],
)
def test_rules_that_are_wrong(text, where):
    assert place(text) == where


# Anything else


@pytest.mark.parametrize(
    "text, words",
    [
        ("foo bar", "a rule is `foo: inputs`, an assignment `foo = value`"),
        ("A+=b", "`A += b`"),
        ("A?=b", "`A ?= b`"),
        ("run~\\d+", "`run ~ \\d+`"),
        ("a-b = c", "`a_b = c`"),
        ("1x = y", "`_1x = y`"),
        ("a.b := c", "no name to assign to"),
        ("A B = c", "(a, b) = "),
        ("a{b: c", "braces"),
        ("include x", 'include "x"'),
        ("<<<<<<< HEAD", "merge conflict"),
        ("{x}", "neither a rule"),
        ("(a", "neither a rule"),
    ],
)
def test_anything_else_is_an_error_with_the_nearest_form(text, words):
    assert words in error(text).show()
    assert error("B = 1\n" + text).span.line == 2


def test_the_first_wrong_line_is_told():
    assert place("B = 1\na: $(B)\n[x\n") == (2, 4)
    assert place("a: $(B)\nB = 1\n[x\n") == (1, 4)
    assert place("B = glob(\nc: %\n") == (1, 9)


def test_names_of_files_read_before_count_as_assigned():
    assert rule("a: $(B)")[1] == "$(B)"
    with pytest.raises(FlowError, match="Make's"):
        parse(Source("F", "a: $(B)"), {"B"})
    with pytest.raises(FlowError, match="Make's"):
        read("a: ${B}\n(A, B) = 1 2")
    with pytest.raises(FlowError, match="Make's"):
        read("a: $(B)\nB=1")
    assert read("a: $(B)\n\tB = 1\n")  # a recipe assigns nothing


LINES = """
a: b|A = 1|A=1|(a, b) = 1 2, 3 4|A = glob({x}/*.c)|r ~ \\d+|  x $@|\ty|[cpus = 2]|[a|]|# c|## h||  |cat <<EOF
|  cat <<EOF|EOF|  EOF|include "x"|include <y> A=b|'|"|\\|a: b \\|x{a,b}: {{c}}|shell(|)|rule x:|[defaults: python]
|$(A) ${A}: {A,b}|  -x|  @y""".replace("\n", "").split("|")


@given(st.lists(st.sampled_from(LINES), max_size=8), st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_lines_are_statements_or_an_error(lines, returns):
    _total(("\r\n" if returns else "\n").join(lines))


@given(st.text(max_size=40) | st.text(alphabet="ab=:{},()[]'\"\\#~|$@%&<>+?! \t\n", max_size=60))
@settings(deadline=None, max_examples=500)
def test_any_text_is_statements_or_an_error(text):
    _total(text)


def _total(text: str) -> None:
    try:
        statements = read(text)
    except FlowError as error:
        assert error.span is not None
        assert 1 <= error.span.line <= text.count("\n") + 1
        assert error.show()
    else:
        for statement in statements:
            assert 1 <= statement.span.line <= text.count("\n") + 1
