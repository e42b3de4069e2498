"""What a recipe becomes: the first three points of "Recipes" in the language's description, sentence by sentence."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError
from buildflow.recipe.fill import Filler, compile_recipe
from buildflow.template import Hole

VALUES: dict[str, list[str]] = {
    "in": ["a", "b c"],
    "out": ["o.txt"],
    "x": ["v"],
    "y": ["1", "2"],
    "dirs": ["a", "b"],
    "empty": [""],
    "none": [],
    "gap": ["p", "", "q"],
    "n": ["2"],
    "nasty": ["it's $x`\"\\"],
    "dash": ["a,b"],
    "nl": ["a\nb"],
    "print": ["PRINT"],
}


def values(hole: Hole) -> list[str]:
    if hole.attr == "stem":
        return [f"{value}-stem" for value in VALUES[hole.name]]
    found = VALUES[hole.name]
    return found if hole.index is None else [found[hole.index]]


def fill(text: str) -> str:
    return compile_recipe(text).fill(values)


def names(text: str) -> list[str]:
    return [str(hole) for hole, _ in compile_recipe(text).holes]


@pytest.mark.parametrize(
    "text",
    [
        "echo ${VAR} ${VAR:-x} ${#VAR}",
        "curl -w %{http_code}",
        "echo $1 $x",
        "awk '{print $1}'",
        "find . -exec ls {} +",
        "echo a{b,c} {1..3} {a,b}",
        "docker ps --format '{{.State}}' {{ x }}",
        "echo { x } {x y} {1x} {} {-x} {x:y}",
        "echo {*x}",
        "# a comment with {in} and {{x}}",
        "true # {in}",
        "cat <<{x}\nbody\n{x}",
        "echo \\{in}",
        "echo 'unclosed",
        'echo "unclosed $(',
        "echo `unclosed",
        "cat <<EOF\nunclosed",
        "((((((",
        "))))",
        "case x in",
        "",
        "\n\n",
    ],
)
def test_stays_as_it_is(text: str) -> None:
    assert fill(text) == text
    assert names(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat {in[0]} {in.stem} {in[0].stem} {!x}", ["{in[0]}", "{in.stem}", "{in[0].stem}", "{!x}"]),
        ("awk '{print}'", ["{print}"]),
        ("{x}{y}", ["{x}", "{y}"]),
        ("{{x},{y}}", ["{x}", "{y}"]),
        ("${V:-{x}}", ["{x}"]),
        ("echo a#{x}", ["{x}"]),
        ("echo '# {x}' \"# {y}\"", ["{x}", "{y}"]),
        ("cat <<E\n# {x}\nE\n# {y}", ["{x}"]),
    ],
)
def test_holes(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_holes_know_their_offsets() -> None:
    text = "cat {in} > {out.dir}"
    assert compile_recipe(text).holes == ((Hole("in"), 4), (Hole("out", None, "dir"), 11))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # a literal one
        ("awk '{{print}}'", "awk '{print}'"),
        ('{{x}} "{{x}}" {{in[0].stem}} ${{x}}', '{x} "{x}" {in[0].stem} ${x}'),
        ("{{x}}}", "{x}}"),
        ("cat <<E\n{{x}}\nE", "cat <<E\n{x}\nE"),
        # shell-quoted, where needed
        ("cat {in}", "cat a 'b c'"),
        ("cat {nasty}", "cat 'it'\\''s $x`\"\\'"),
        ("cat {nl}", "cat 'a\nb'"),
        ("cat {in} > {out}", "cat a 'b c' > o.txt"),
        ("cat {x} > {in[1]}", "cat v > 'b c'"),
        ("cp {in.stem}", "cp a-stem 'b c-stem'"),
        # an unquoted word is repeated
        ("cc -I{dirs} x", "cc -Ia -Ib x"),
        ("-I{in}/inc", "-Ia/inc -I'b c'/inc"),
        ("{x}:{y}:{dirs}", "v:1:a v:1:b v:2:a v:2:b"),
        ("{y}={y}", "1=1 2=2"),
        ('{y}"-{y}-"', '1"-1-" 2"-2-"'),
        ("{y}'{dirs}'\"{dirs}\"", "1'a b'\"a b\" 2'a b'\"a b\""),
        ("{in}={in.stem}", "a=a-stem 'b c'='b c-stem'"),
        ("a\\\n{y}", "a\\\n1 a\\\n2"),
        # an empty value
        ("a {empty} b", "a  b"),
        ("a x{empty}y b", "a xy b"),
        ("a {empty}{empty} b", "a  b"),
        ("a {gap} b", "a p q b"),
        ("a -{gap} b", "a -p - -q b"),
        ('a {empty}"" b', 'a "" b'),
        ('"{empty}"', '""'),
        # a name without values
        ("a {none} b", "a  b"),
        ("a -I{none}/x b", "a  b"),
        ("a {y}{none} b", "a  b"),
        ('a "{none}" b', 'a "" b'),
        ("a '-{none}-' b", "a '--' b"),
        ("a \\\n  {none} \\\n  b", "a \\\n   \\\n  b"),
        ("a {none}\\\n  b", "a \\\n  b"),
        ("for f in {none}; do :; done", "for f in ; do :; done"),
        ("a |{none}| b", "a | | b"),
        ("a < {none} b", "a < '' b"),
        ("a > {empty}", "a > ''"),
        # inside quotes
        ('"{in}"', '"a b c"'),
        ('"{nasty}"', '"it\'s \\$x\\`\\"\\\\"'),
        ("'{nasty}'", "'it'\\''s $x`\"\\'"),
        ("$'{nasty}'", "$'it\\'s $x`\"\\\\'"),
        ("'{in}'", "'a b c'"),
        ('"\\{nasty}"', '"\\\\it\'s \\$x\\`\\"\\\\"'),
        # $(…) starts afresh
        ('"$(cat {in})"', "\"$(cat a 'b c')\""),
        ('"$(cat "{in}" \'{in}\')"', '"$(cat "a b c" \'a b c\')"'),
        ('"$(echo "$(cat {in})")"', '"$(echo "$(cat a \'b c\')")"'),
        ('"`cat {in}`"', "\"`cat a 'b c'`\""),
        ("`echo {nasty}`", "`echo 'it'\\\\''s \\$x\\`\"\\\\'`"),
        ("diff <(sort {in[0]}) <(sort {in[1]})", "diff <(sort a) <(sort 'b c')"),
        ("x{y}$(cat -I{dirs})", "x1$(cat -Ia -Ib) x2$(cat -Ia -Ib)"),
        ("$(case {x} in a) echo {in};; (b) y;; esac) {y}", "$(case v in a) echo a 'b c';; (b) y;; esac) 1 2"),
        ("$(cat # a ) {in}\n{in})", "$(cat # a ) {in}\na 'b c')"),
        # ${…} and $((…))
        ("${V:-{in}}", "${V:-a 'b c'}"),
        ('"${V:-{in}}"', '"${V:-a b c}"'),
        ('"${V%.{x}}"', '"${V%.v}"'),
        ('"${V%-{nasty}}"', "\"${V%-'it'\\''s $x`\"\\'}\""),
        ("$(( {n} + 1 )) $((({n})*{n}))", "$(( 2 + 1 )) $(((2)*2))"),
        ("(( i < {n} )) && echo {in}", "(( i < 2 )) && echo a 'b c'"),
        # raw
        ("echo {!in} '{!nasty}' {!none}", "echo a b c 'it's $x`\"\\' "),
        ("cat <<EOF {in}\n{in} '{nasty}' {none} ${V}\nEOF\n{in}", None),
        ("cat <<'EOF'\n{in} $(ls {in})\nEOF", "cat <<'EOF'\na b c $(ls a b c)\nEOF"),
        ("cat <<EOF\n{in} $(ls {in})\nEOF", "cat <<EOF\na b c $(ls a 'b c')\nEOF"),
        ("cat <<-E <<'F'\n\t{in}\n\tE\n{in}\nF\n{in}", "cat <<-E <<'F'\n\ta b c\n\tE\na b c\nF\na 'b c'"),
        ("cat <<< {in}", "cat <<< 'a b c'"),
        # an assignment is one word
        ("x={in}", "x='a b c'"),
        ("x=pre{in}post cmd {in}", "x=pre'a b c'post cmd a 'b c'"),
        ("x={none} y={empty}", "x= y="),
        ("export A={in}; local b={y}", "export A='a b c'; local b='1 2'"),
        ("if x={in}; then y={y}; fi", "if x='a b c'; then y='1 2'; fi"),
        ("f() { x={in}; }", "f() { x='a b c'; }"),
        ("case $a in p) x={in};; q) y={y};; esac", "case $a in p) x='a b c';; q) y='1 2';; esac"),
        ("files=({in}) n+=(-I{dirs} # {in}\n)", "files=(a 'b c') n+=(-Ia -Ib # {in}\n)"),
        ("make CFLAGS={y}", "make CFLAGS=1 CFLAGS=2"),
        # plain unquoted places
        ("for f in {in}; do echo $f; done", "for f in a 'b c'; do echo $f; done"),
        ("[[ {x} == a* && -n {nasty} ]]", "[[ v == a* && -n 'it'\\''s $x`\"\\' ]]"),
        ("case {x} in a) {x};; esac", "case v in a) v;; esac"),
        ("cp {{in},{out}}.bak", "cp {a,o.txt}.bak {'b c',o.txt}.bak"),
        ("echo {1..{n}}", "echo {1..2}"),
        # values that the text around them would change
        ("echo {n}>{out}", "echo '2'>o.txt"),
        ("echo 1{n}>{out}", "echo 1'2'>o.txt"),
        ("echo {x}>{out}", "echo v>o.txt"),
        ("{empty}#x", "''#x"),
        ("{empty}~/x", "''~/x"),
        ("{{{dash},x}", "{{'a,b',x}"),
        ('$p{x} "$p{x}"', '$p\'v\' "$p""v"'),
    ],
)
def test_fills(text: str, expected: str | None) -> None:
    if expected is None:
        text = "cat <<EOF {in}\n{in} '{nasty}' {none} ${V}\nEOF\n{in}"
        expected = "cat <<EOF a 'b c'\na b c 'it's $x`\"\\'  ${V}\nEOF\na 'b c'"
    assert fill(text) == expected


def test_a_redirection_takes_one_file() -> None:
    with pytest.raises(FlowError, match="has 2 values here"):
        fill("cat x > {in}")
    with pytest.raises(FlowError, match="has 2 values here"):
        compile_recipe("cat x > {in}").argv(values)


def test_names_of_a_joint_domain_go_by_their_rows() -> None:
    filler = compile_recipe("{a}:{b} {a}")
    domain = {"a": ["1", "2"], "b": ["x", "y"]}

    def rows(holes: tuple[Hole, ...]) -> Sequence[Sequence[str]] | None:
        return [("1", "x"), ("2", "y")] if holes == (Hole("a"), Hole("b")) else None

    assert filler.fill(lambda hole: domain[hole.name], rows) == "1:x 2:y 1 2"
    assert filler.fill(lambda hole: domain[hole.name]) == "1:x 1:y 2:x 2:y 1 2"


def test_deep_nesting_is_no_error() -> None:
    for opening in ("$(", '"$(', "${x:-", "`", "$((", "<(", "x=(", "(", '"${x:-"', "case x in a) "):
        text = opening * 3000 + "{x}"
        assert isinstance(compile_recipe(text).fill(values), str)


soup = st.lists(
    st.sampled_from(
        [
            "{x}",
            "{y}",
            "{{x}}",
            "$",
            "(",
            ")",
            "'",
            '"',
            "`",
            "\\",
            "\n",
            " ",
            "<<E",
            "E",
            "#",
            "{",
            "}",
            "a",
            "<",
            ">",
            ";",
            "&",
            "|",
            "case",
            "in",
            "esac",
            "=",
            "[[",
            "]]",
            "$((",
            "\t",
            "\r",
        ]
    ),
    max_size=25,
).map("".join)


@given(soup)
@settings(deadline=None, max_examples=300)
def test_any_text_compiles_and_what_is_no_hole_stays(text: str) -> None:
    filler = compile_recipe(text)
    assert isinstance(filler.fill(lambda hole: ["a b"]), str)
    filler.argv(lambda hole: ["a b"])
    assert filler.constant_mentions is not None
    if "{x}" not in text and "{y}" not in text:
        assert filler.fill(values) == text


hard = st.text(alphabet="ab1.,-/ '\"\\$`#~{}*?[]()<>|&;!=:\n\té", max_size=6)
word_pieces = st.lists(
    st.sampled_from(
        [
            "-I",
            "1",
            "=",
            "\\\n",
            "{p}",
            "{q}",
            '"x{p}"',
            "'{q}'",
            "$'\\t{p}'",
            '"$(printf %s {p}x)"',
            '"\\{q}"',
            '"$V{p}"',
            "$'\\x4{q}'",
            '"`printf %s "{p}x"`"',
            '"${V+{q}}"',
            '"${V/a/{p}}"',
        ]
    ),
    min_size=1,
    max_size=5,
)


def model(pieces: list[str], p: str, q: str) -> str:
    """What bash should make of these pieces."""
    texts = {
        "\\\n": "", "{p}": p, "{q}": q, '"x{p}"': f"x{p}", "'{q}'": q, "$'\\t{p}'": f"\t{p}",
        '"$(printf %s {p}x)"': f"{p}x", '"\\{q}"': f"\\{q}", '"$V{p}"': f"var{p}", "$'\\x4{q}'": f"\x04{q}",
        '"`printf %s "{p}x"`"': f"{p}x", '"${V+{q}}"': q, '"${V/a/{p}}"': f"v{p}r",
    }  # fmt: skip
    return "".join(texts.get(piece, piece) for piece in pieces)


@given(st.lists(st.tuples(word_pieces, hard, hard), min_size=40, max_size=40))
@settings(deadline=None, max_examples=8)
def test_bash_sees_the_values_exactly(cases: list[tuple[list[str], str, str]]) -> None:
    script = ["V=var"]
    expected = []
    for pieces, p, q in cases:
        if "'" in q and "{" in q and '"${V+{q}}"' in pieces:
            continue  # bash 5.2 cannot read every such text
        known = {"p": [p], "q": [q]}
        text = compile_recipe("w" + "".join(pieces)).fill(lambda hole, known=known: known[hole.name])
        script.append("eval " + shlex.quote(f"printf '%s\\0' {text}"))
        expected.append("w" + model(pieces, p, q))
    run = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(script)], capture_output=True, check=True)
    assert run.stdout.decode().split("\0")[:-1] == expected


@given(st.lists(hard, min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_several_values_are_as_many_words(several: list[str]) -> None:
    filler = compile_recipe("printf '%s\\0' -I{v} {v} '<'\"{v}\"")
    text = filler.fill(lambda hole: several)
    run = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, check=True)
    words = [f"-I{v}" for v in several] + [v for v in several if v] + ["<" + " ".join(several)]
    assert run.stdout.decode().split("\0")[:-1] == words


def test_each_hole_is_asked_with_its_form() -> None:
    asked: list[Hole] = []

    def record(hole: Hole) -> list[str]:
        asked.append(hole)
        return ["v"]

    filler: Filler = compile_recipe("{in[0].stem} {!x}")
    assert filler.fill(record) == "v v"
    assert asked == [Hole("in", 0, "stem"), Hole("x", raw=True)]
