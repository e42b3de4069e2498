"""Files and physical lines: encodings, continuation, brackets, recipes and here-documents."""

from __future__ import annotations

import pytest

from buildflow.errors import FlowError, Source
from buildflow.lang.lines import Reader, read_source
from buildflow.lang.parser import parse
from buildflow.lang.statements import RuleStatement
from buildflow.recipe.heredocs import Heredoc, HeredocScanner


def rules(text: str) -> list[RuleStatement]:
    return [s for s in parse(Source("Flowfile", text)) if isinstance(s, RuleStatement)]


def recipe(text: str) -> str:
    """The recipe of the only rule of a text."""
    (rule,) = rules(text)
    assert rule.recipe is not None
    assert len(rule.recipe.places) == rule.recipe.text.count("\n") + 1
    for line, place in zip(rule.recipe.text.split("\n"), rule.recipe.places):
        assert place.source.line(place.line)[place.column - 1 :] == line or not line.strip()
    return rule.recipe.text


def error(text: str) -> FlowError:
    with pytest.raises(FlowError) as caught:
        parse(Source("Flowfile", text))
    assert caught.value.span is not None
    return caught.value


def place(text: str) -> tuple[int, int]:
    span = error(text).span
    return span.line, span.column


# Files


def test_a_file_with_a_mark_and_either_line_ending(tmp_path):
    path = tmp_path / "Flowfile"
    path.write_bytes(b"\xef\xbb\xbfa: b\r\n\tx {in}\r\n\ty\r\n")
    source = read_source(str(path), "Flowfile")
    assert source.name == "Flowfile"
    (rule,) = parse(source)
    assert rule.recipe.text == "x {in}\ny"
    assert rule.inputs[0].text == "b"


def test_a_mark_within_a_text_is_read_over_too():
    (rule,) = rules("\ufeffa: b")
    assert rule.targets[0].text == "a"
    assert rule.span.column == 1


def test_a_last_line_needs_no_newline():
    assert recipe("a:\n  x") == "x"
    assert rules("a: b")[0].inputs[0].text == "b"


def test_files_that_cannot_be_read(tmp_path):
    for name, words in (("none", "there is no file F"), (".", "F is a directory"), ("x\0y", "cannot read F")):
        with pytest.raises(FlowError) as caught:
            read_source(f"{tmp_path}/{name}", "F")
        assert words in caught.value.message


def test_a_file_that_is_not_utf_8(tmp_path):
    path = tmp_path / "Flowfile"
    path.write_bytes("a = 1\né".encode() + b"\xff\n")
    with pytest.raises(FlowError, match="not UTF-8") as caught:
        read_source(str(path), "F")
    assert (caught.value.span.line, caught.value.span.column) == (2, 2)
    assert "byte 8" in caught.value.message
    path.write_text("a: b", encoding="utf-16")
    with pytest.raises(FlowError, match="UTF-16"):
        read_source(str(path), "F")


def test_a_nul_character_is_an_error(tmp_path):
    path = tmp_path / "Flowfile"
    path.write_bytes(b"a = 1\nb\0")
    with pytest.raises(FlowError, match="NUL") as caught:
        read_source(str(path), "F")
    assert (caught.value.span.line, caught.value.span.column) == (2, 2)


# Continuation


def test_a_backslash_at_the_end_continues_a_line():
    (rule,) = rules("a \\\n  b: c\\\n\td \\\n  | e\n")
    assert [w.text for w in rule.targets + rule.inputs + rule.order_only] == ["a", "b", "c", "d", "e"]
    assert [(w.span.line, w.span.column) for w in rule.targets + rule.inputs] == [(1, 1), (2, 3), (2, 6), (3, 2)]


def test_a_quoted_backslash_does_not_continue():
    (assign,) = parse(Source("F", "a = b\\\\\n"))
    assert assign.terms[0].text == "b\\"


def test_comments_help_attributes_and_patterns_go_on_too():
    statements = parse(Source("F", "# c \\\nall: no rule\n## one \\\n   two\n[a, \\\n b]\nx:\nr ~ a|\\\n   b # c\n"))
    rule, pattern = statements
    assert rule.help == "one  two"
    assert [a.name for a in rule.attributes] == ["a", "b"]
    assert pattern.regex == "a|b"


def test_a_backslash_at_the_end_of_the_file_and_alone():
    assert rules("a: b \\")[0].inputs[0].text == "b"
    assert rules("\\\n\\\na: b")[0].inputs[0].text == "b"
    assert rules("\\\n") == []


def test_white_space_behind_a_backslash_is_told():
    assert place("a: b \\ \n  c") == (1, 6)


# Brackets


def test_brackets_may_span_lines():
    (rule,) = rules("[cpus = 2, # a comment, it's ignored\n\n  mem = 2G, # ]\n time = '#]' ] # it's\na:")
    assert [(a.name, a.text) for a in rule.attributes] == [("cpus", "2"), ("mem", "2G"), ("time", "'#]'")]
    assert [(a.span.line, a.span.column) for a in rule.attributes] == [(1, 2), (3, 3), (4, 2)]
    assert rule.attributes[1].text_span.column == 9


def test_brackets_may_hold_brackets():
    (rule,) = rules("[mem = {in[0]}, x = [a, b], y]\na:")
    assert [(a.name, a.text) for a in rule.attributes] == [("mem", "{in[0]}"), ("x", "[a, b]"), ("y", None)]


@pytest.mark.parametrize(
    "text, where",
    [
        ("a = 1\n[cpus = 2\nb: c\n", (2, 1)),
        ("[a] b: c", (1, 5)),
        ("[a]b: c", (1, 4)),
        ("[a] [b]\nx:", (1, 5)),
        ("[a,\n b = don't]\nx:", (2, 9)),
    ],
)
def test_brackets_that_are_wrong(text, where):
    assert place(text) == where


# Recipes


def test_the_more_indented_block_is_the_recipe():
    first, second, third = rules("a: b\n  one\n    two\nc:\n\tthree\nd:\n")
    assert first.recipe.text == "one\n  two"
    assert second.recipe.text == "three"
    assert third.recipe is None


def test_blank_lines_inside_are_kept_and_at_the_ends_dropped():
    assert recipe("a:\n\n  one\n\n \t \n  two\n\n   \n\nb = 1\n") == "one\n\n\ntwo"


def test_the_common_indent_is_removed():
    assert recipe("a:\n    one\n  two\n      three\n") == "  one\ntwo\n    three"
    assert recipe("a:\n\t  one\n\t\ttwo\n") == "  one\n\ttwo"


def test_tabs_and_spaces_with_nothing_in_common_are_an_error_at_their_line():
    assert place("a:\n    one\n    two\n\tthree\n") == (4, 1)
    assert "with tabs" in error("a:\n    one\n\tthree\n").message


@pytest.mark.parametrize(
    "text, where", [("  a: b", (1, 3)), ("A = 1\n\n\tx\n", (3, 2)), ("a: b\n[c]\n  x", (3, 3)), ("# c\n  x", (2, 3))]
)
def test_an_indented_line_with_no_rule_above_it_is_an_error(text, where):
    assert place(text) == where


def test_comments_in_the_first_column_do_not_end_a_recipe():
    assert recipe("a:\n# first\n  one\n# it's\n## or this\n\n  # kept\n  two\n# last\n") == "one\n\n# kept\ntwo"
    first, second = rules("a:\n  one\n\n## help\nb:\n  two\n")
    assert (first.recipe.text, second.help) == ("one", "help")


def test_quotes_of_a_recipe_are_bashs_business():
    assert recipe("a:\n  echo 'it\n  x\n") == "echo 'it\nx"


def test_a_place_within_a_recipe():
    (rule,) = rules("a:\n\n    one\n      two {x}\n")
    span = rule.recipe.at(rule.recipe.text.index("{x}"), 3)
    assert (span.line, span.column, span.length) == (4, 11, 3)


# Here-documents


def test_a_here_document_may_have_any_indentation():
    text = "a:\n    cat <<EOF\nno: rule\n  two\n# three\n\n    four\nEOF\n    end\nb: c\n"
    first, second = rules(text)
    assert first.recipe.text == "cat <<EOF\nno: rule\n  two\n# three\n\nfour\nEOF\nend"
    assert second.targets[0].text == "b"


def test_an_indented_here_document_works_as_meant():
    assert recipe("a:\n    cat <<EOF\n    x\n      y\n    EOF\n    z\n") == "cat <<EOF\nx\n  y\nEOF\nz"


def test_a_recipe_whose_first_line_is_indented_more():
    assert recipe("a:\n      cat <<EOF\nx\n      EOF\n    z\n") == "  cat <<EOF\nx\nEOF\nz"


def test_tabs_before_the_end_of_a_dash_here_document():
    assert recipe("a:\n\tcat <<-EOF\n\t\tx\nb: c\n\t\tEOF\n\tz\n") == "cat <<-EOF\n\tx\nb: c\nEOF\nz"


def test_several_here_documents_on_one_line_and_after_a_continuation():
    text = "a:\n  paste - /dev/fd/3 <<A 3<<'B C' \\\n    | cat\nx: 1\nA\ny: 2\nB C\n  end\n"
    assert recipe(text) == "paste - /dev/fd/3 <<A 3<<'B C' \\\n  | cat\nx: 1\nA\ny: 2\nB C\nend"


@pytest.mark.parametrize(
    "line",
    [
        "cat <<< EOF",
        "echo '<<EOF'",
        'echo "<<EOF"',
        "echo x # <<EOF",
        "echo $((1 <<EOF))",
        "((x = 1 <<EOF))",
        "echo \\<\\<EOF",
        "echo ${x:-<<EOF}",
        "echo $'\\'<<EOF'",
        "echo ${#x}'<<EOF'",
    ],
)
def test_what_is_no_here_document(line):
    first, second = rules(f"a:\n    {line}\nb:\n    cat <<EOF\nEOF\n")
    assert (first.recipe.text, second.recipe.text) == (line, "cat <<EOF\nEOF")


@pytest.mark.parametrize(
    "line",
    [
        'x="$(cat <<EOF',
        "y=`cat <<'EOF'",
        "(cat <<\\EOF",
        'echo it\\\'s; cat << "EOF"',
        "case x in a) cat <<EOF",
        "x=$(case $y in a) cat <<EOF",
        "echo a#b; cat <<EOF",
        "cat 0<<EOF >x",
        "echo $((2+3)) <<EOF",
    ],
)
def test_what_is_a_here_document(line):
    (rule,) = rules(f"a:\n    {line}\nb: c\nEOF\n    end\n")
    assert rule.recipe.text.endswith("\nb: c\nEOF\nend")


def test_a_here_document_that_does_not_end_is_what_is_indented():
    first, second = rules("a:\n    cat <<EOF\n    x\nb:\n    y\n")
    assert (first.recipe.text, second.recipe.text) == ("cat <<EOF\nx", "y")


def test_a_here_document_that_would_swallow_rules_is_told():
    assert place("a:\n  cat <<EOF\n  x\n    EOF\nb:\n  cat <<EOF\n  EOF\n") == (4, 5)
    assert recipe("a:\n  cat <<EOF\n    EOF\n  x\n  EOF\n") == "cat <<EOF\n  EOF\nx\nEOF"


def test_python_recipes_have_no_here_documents():
    first, second = rules("[python]\na:\n    x = 1 <<EOF\nEOF: b\n")
    assert first.recipe.text == "x = 1 <<EOF"
    first, second = rules("a:\n    #!/usr/bin/env python3\n    x = 1 <<EOF\nEOF:\nEOF = 1\n")
    assert first.recipe.text.startswith("#!")
    first, second = rules("[defaults: python]\na:\n    x <<EOF\nEOF: b\n")
    (rule,) = rules("a:\n    #!/bin/bash\n    cat <<EOF\nb: c\nEOF\n")
    assert rule.recipe.text.endswith("b: c\nEOF")


def test_the_scanner_waits_for_the_end_of_a_quote():
    scanner = HeredocScanner()
    assert scanner.feed("cat <<A 'x") == []
    assert scanner.feed("y'") == [Heredoc("A", False)]


def test_the_readers_lines():
    reader = Reader(Source("F", "\na \\\n          b\n\n# c\n"))
    line = reader.logical()
    assert line.text == "a  b"
    assert (line.place(3).line, line.place(3).column) == (3, 11)
    assert reader.logical().text == "# c"
    assert reader.after_blank
    assert reader.logical() is None
