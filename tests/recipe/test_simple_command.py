"""Which recipes start directly, and that they mean there what they mean to bash."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError
from buildflow.recipe.command import Redirection, simple_argv
from buildflow.recipe.fill import compile_recipe
from buildflow.template import Hole


@pytest.mark.parametrize(
    ("text", "argv", "redirections"),
    [
        ("cp a b", ["cp", "a", "b"], []),
        ("  cp\ta  b  ", ["cp", "a", "b"], []),
        ("\n\n# comment\ncp a b # more\n\n  # and more\n", ["cp", "a", "b"], []),
        ("cp \\\n  a \\\n  b", ["cp", "a", "b"], []),
        ("c\\\np a", ["cp", "a"], []),
        ("cp 'a b' \"c d\" e\\ f ''", ["cp", "a b", "c d", "e f", ""], []),
        ("cp 'it'\\''s' \"a\\\"b\\\\c\\d\\\ne\"", ["cp", "it's", 'a"b\\c\\de'], []),
        ("cp '$x `y` *' '# z'", ["cp", "$x `y` *", "# z"], []),
        ("cp a#b c=d %e @f ^g", ["cp", "a#b", "c=d", "%e", "@f", "^g"], []),
        ("find . -exec ls {} +", ["find", ".", "-exec", "ls", "{}", "+"], []),
        ("expr 1 != 2 !", ["expr", "1", "!=", "2", "!"], []),
        ("cp \\$x \\* \\~ \\{a,b}", ["cp", "$x", "*", "~", "{a,b}"], []),
        ("./tool x", ["./tool", "x"], []),
        ("grep if then", ["grep", "if", "then"], []),
        ("cat <a >b", ["cat"], [(0, "r", "a"), (1, "w", "b")]),
        ("cat < 'a b' >> c 2> d 2>>e", ["cat"], [(0, "r", "a b"), (1, "a", "c"), (2, "w", "d"), (2, "a", "e")]),
        ("> o cat a 2>&1 b", ["cat", "a", "b"], [(1, "w", "o"), (2, "dup", "1")]),
        ("cat 0<a 1>b >&2", ["cat"], [(0, "r", "a"), (1, "w", "b"), (1, "dup", "2")]),
        ("cat 2 >a '2'>b \\2>c", ["cat", "2", "2", "2"], [(1, "w", "a"), (1, "w", "b"), (1, "w", "c")]),
    ],
)
def test_simple(text: str, argv: list[str], redirections: list[Redirection]) -> None:
    assert simple_argv(text) == (argv, redirections)
    assert compile_recipe(text).argv(lambda hole: []) == (argv, redirections)


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "# only", "> f", "''", "\"\" a",
        "cp $x b", "cp ${x} b", 'cp "$x" b', "cp `x` b", "cp $(x) b", "cp $'a' b", 'cp "`x`"', "cp a$",
        "cp *.c d", "cp a? d", "cp [ab] d", "cp ~ d", "cp ~/x d", "cp a=~ d", "cp a{b,c}", "cp {1..3}", "cp {a}",
        "cp {}\\},}", "cp {},x",
        "a && b", "a || b", "a | b", "a; b", "a;", "a &", "a\nb", "a\n# c\nb", "a\n\\\nb", "a # c\n#\\\nb",
        "(a)", "{ a; }", "! a",
        "a |& b", "a &> f", "a() { b; }",
        "A=b", "A=b cmd", "A+=b cmd", "'A=b' c", "%1", ".", "..",
        "if a", "while a", "time a", "[[ a ]]", "[ a ]", "function f", "coproc a", "case a",
        "echo a", "printf a", "test a", "true", "false", "pwd", "kill 1", "cd x", "exec ls", "source x", ": a",
        "'echo' a", "ec\\ho a", "command ls", "eval x", "exit 1", "set -x", "export A", "umask 0",
        "cat <<E\na\nE", "cat <<< a", "cat <> a", "cat >| a", "cat 3> a", "cat 10>a", "cat 0>a", "cat 1<a", "cat <&0",
        "cat >&-", "cat 2>&3", "cat 2>&1a", "cat >& f", "cat > a > ", "cat >\nf",
        "cat < <(a)", "cat <(a)", "cat > >(a)",
        "cat > /dev/tcp/h/1", "cat > /dev/stderr", "cat < ''", "cat > $x", "cat > a*", "cat >>> a",
        "cat 'a", 'cat "a', "cat a\\", "cat \x01", "cat \r",
    ],
)  # fmt: skip
def test_needs_bash(text: str) -> None:
    assert simple_argv(text) is None
    assert compile_recipe(text).argv(lambda hole: ["v"]) is None or "{a}" in text


VALUES = {"in": ["a", "b c"], "x": ["v"], "none": [], "empty": [""], "tool": ["./t"], "echo": ["echo"], "num": ["2"]}


@pytest.mark.parametrize(
    ("text", "argv", "redirections"),
    [
        ("cp {in} -I{in} {x}", ["cp", "a", "b c", "-Ia", "-Ib c", "v"], []),
        ('cp "{in}" \'-{in}-\' {none} x{none} "{none}"', ["cp", "a b c", "-a b c-", ""], []),
        ("cp {empty} x{empty} {in}:{in}", ["cp", "x", "a:a", "b c:b c"], []),
        ("{tool} {x} > {x} 2>> log", ["./t", "v"], [(1, "w", "v"), (2, "a", "log")]),
        ("{empty} {tool}", ["./t"], []),
        ("{empty}{tool}{x} {num}>{x}", ["./tv", "2"], [(1, "w", "v")]),
        ("awk '{{x}}' \"{{x}}\"", ["awk", "{x}", "{x}"], []),
        ("cp {!in}", ["cp", "a", "b", "c"], []),
    ],
)
def test_of_a_template(text: str, argv: list[str], redirections: list[Redirection]) -> None:
    filler = compile_recipe(text)
    assert filler.argv(lambda hole: VALUES[hole.name]) == (argv, redirections)
    assert simple_argv(filler.fill(lambda hole: VALUES[hole.name])) == (argv, redirections)


@pytest.mark.parametrize("text", ["{echo} a", "{x}=1 cmd", "A={none} cmd", "{none} A=b cmd", "{none}", "cp < {empty}",
                                  "cp $y {x}", "cp {x} | cat", "{none} echo", "cp {{x}}"])  # fmt: skip
def test_of_a_template_needs_bash(text: str) -> None:
    assert compile_recipe(text).argv(lambda hole: VALUES[hole.name]) is None


TEMPLATES = st.lists(
    st.sampled_from(
        ["cp", "{p}", "{q}", "{r}", "{s}", " ", " ", " ", " ", "x", "-I", ">", "<", "2>", "2>&1", ">>", "\\\n", "\n",
         "#",
         "=", '"{p}"', "'{q}'", '"{r}"', "{!q}", "{{x}}", "\\", "{}"]
    ),
    max_size=10,
).map("".join)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["cat", "cp", "echo", "2", "x=1", "a.b", "/dev/tcp/x", "."]),
    st.text(alphabet="ab1./ '\"\\$`#~{}*[]()<>|&;!=\n\té", max_size=4),
)


@given(
    TEMPLATES,
    st.fixed_dictionaries(
        {"p": st.lists(TEXTS, min_size=1, max_size=1), "q": st.lists(TEXTS, max_size=1),
         "r": st.lists(TEXTS, max_size=3),
         "s": st.lists(TEXTS, max_size=2)}
    ),
)  # fmt: skip
@settings(deadline=None, max_examples=400)
def test_a_template_gives_what_its_filled_text_gives(text: str, known: dict[str, list[str]]) -> None:
    filler = compile_recipe(text)

    def values(hole: Hole) -> list[str]:
        return known.get(hole.name, ["x"])

    try:
        expected = simple_argv(filler.fill(values))
    except FlowError:
        assert ">" in text or "<" in text
        return
    found = filler.argv(values)
    if found is None and expected is not None:  # only where a word vanished, or braces are in doubt
        assert any(not all(values(hole)) or not values(hole) for hole, _ in filler.holes) or "{}" in text
    else:
        assert found == expected


SOUP = st.lists(
    st.sampled_from(
        [*"ab 1'\"\\#{}=.,-+%@:!^]\n<>&~*", "''", '""', "\\\n", " # c\n", "{}", "..", "é", " > f", " 2>f"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(st.lists(SOUP, min_size=60, max_size=60))
@settings(deadline=None, max_examples=6)
def test_bash_gives_the_same_arguments(texts: list[str]) -> None:
    """Each text with no redirection runs in its own `eval` of one bash, with a function that prints its arguments."""
    wanted = []
    script = ['rec() { printf \'%s\\0\' "$#" "$@"; }']
    for text in texts:
        found = simple_argv(f"rec {text}")
        if found is not None and not found[1]:
            wanted += [str(len(found[0]) - 1), *found[0][1:]]
            quoted = f"rec {text}".replace("'", "'\\''")
            script.append(f"eval '{quoted}'")
    run = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(script)], capture_output=True, check=True)
    assert run.stdout.decode().split("\0")[:-1] == wanted


def test_redirections_are_bash_s(tmp_path: Path) -> None:
    """The redirections that are found, done in their order, leave what bash leaves."""
    (tmp_path / "i").write_text("input\n")
    text = "ls i nowhere < i >> o 2>&1"
    found = simple_argv(text)
    assert found == (["ls", "i", "nowhere"], [(0, "r", "i"), (1, "a", "o"), (2, "dup", "1")])
    subprocess.run(["bash", "-c", text], cwd=tmp_path, check=False, env={**os.environ, "LC_ALL": "C"})
    assert "nowhere" in (tmp_path / "o").read_text()
