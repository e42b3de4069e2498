"""What Make and Snakemake users type by habit: each is refused at its place, with the Flowfile's form."""

from __future__ import annotations

import pytest

from buildflow.errors import FlowError, Source
from buildflow.lang.parser import parse
from buildflow.lang.refuse import hole_hint
from buildflow.template import HOLE, hole_of


def read(text: str) -> None:
    parse(Source("Flowfile", text))


def error(text: str) -> FlowError:
    with pytest.raises(FlowError) as caught:
        read(text)
    assert caught.value.span is not None
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "line, column, hint",
    [
        # Make
        (".PHONY: clean test", 1, "`[phony]` on the line above the rule of `clean` and of `test`"),
        (".PHONY : clean", 1, "[phony]"),
        (".DEFAULT_GOAL := all", 1, "[default]"),
        (".DELETE_ON_ERROR:", 1, "leave it out"),
        (".SECONDARY: x", 1, "[temp]"),
        ("%.o: %.c", 1, "`{name}.o`"),
        ("build/%.o: x.c", 1, "`build/{name}.o`"),
        ("a.o: src/%.c", 6, "`src/{name}.c`"),
        ("a.o b.o: %.o: %.c", 10, "{name}"),
        ("a:: b", 2, "with `:`"),
        ("a::b", 2, "with `:`"),
        ("a b &: c", 5, "together"),
        ("a b&: c", 4, "together"),
        ("X != uname -s", 3, "`X = shell(uname -s)`"),
        ("X!=uname", 2, "`X = shell(uname)`"),
        ("X :::= a", 3, "`X = value`"),
        ("export X", 1, "[vars = NAME]"),
        ("export X = 1", 1, "[vars = NAME]"),
        ("export", 1, "[vars = NAME]"),
        ("ifeq ($(A),b)", 1, "the conditional"),
        ("ifneq 'a' 'b'", 1, "the conditional"),
        ("ifdef X", 1, "?="),
        ("else", 1, "the conditional"),
        ("endif", 1, "the conditional"),
        ("define X", 1, "NAME = words"),
        ("endef", 1, "NAME = words"),
        ("override X = 1", 1, "command line"),
        ("vpath %.c src", 1, "{name}"),
        ("-include x.mk", 1, "include?"),
        ("a.o: CFLAGS = -g", 4, "(target, CFLAGS) ="),
        ("a.o: CFLAGS += -g", 4, "CFLAGS"),
        ("a.o: CFLAGS:=-g", 4, "CFLAGS"),
        ("a.o b.o: CFLAGS ?= -g", 8, "CFLAGS"),
        ("a.o: export X = 1", 4, "X"),
        ("a: CFLAGS= -g", 2, "CFLAGS"),
        ("a: $(OBJ)", 4, "`{OBJ}`"),
        ("${OBJ}: b", 1, "`{OBJ}`"),
        ("a: lib$(OBJ).a", 7, "`{OBJ}`"),
        ('a: "$(OBJ)"', 5, "`{OBJ}`"),
        ("B = $(OBJ) x", 5, "`{OBJ}`"),
        ("a: $(wildcard src/*.c)", 4, "glob"),
        ("B = $(wildcard src/*.c)", 5, "glob"),
        ("B = $(shell date)", 5, "shell(command)"),
        ("B = $(patsubst %.c,%.o,x.c)", 5, "{name}.o"),
        ("a: b; cc b", 4, "indented"),
        # Snakemake
        ("rule x:", 1, "targets: inputs"),
        ("rule x: b", 1, "targets: inputs"),
        ("checkpoint x:", 1, "glob()"),
        ("use rule a as b with:", 1, "targets: inputs"),
        ("module x:", 1, "include"),
        ('include: "x.smk"', 1, 'include "file.flow"'),
        ('configfile: "config.yaml"', 1, "config("),
        ('container: "docker://x"', 1, "docker://"),
        ('workdir: "x"', 1, "-C DIR"),
        ("localrules: a, b", 1, "worker = cf"),
        ("ruleorder: a > b", 1, "exact name"),
        ("envvars: 'X'", 1, "vars"),
        ("wildcard_constraints: x='a'", 1, "name ~ regex"),
        ("onsuccess:", 1, "bflow build &&"),
        ("onerror:", 1, "bflow build ||"),
        ('input: "x"', 1, "targets: inputs"),
        ('output: "x"', 1, "targets: inputs"),
        ('shell: "x"', 1, "targets: inputs"),
        ('all: expand("out/{s}.txt", s=OBJ)', 6, "expands"),
        ('B = expand("a", b=c)', 5, "expands"),
        ('protected("a"): b', 1, "path"),
        ("a: ancient(b)", 4, "`|`"),
        ("a: x=ancient(b)", 6, "`|`"),
        ("touch('a'): b", 1, "touch {out}"),
        ("directory('a'): b", 1, "ends in `/`"),
        ("temp('a'): b", 1, "[temp]"),
        (r"out/{s,\d+}.txt: a", 5, r"`s ~ \d+`"),
        ("out/{s, [a-z]+}.txt: a", 5, "`s ~ [a-z]+`"),
        ("out/{s}.txt: in/{s,x}", 17, "`s ~ x`"),
        ("a: in/{OBJ,x}", 7, "`OBJ ~ x`"),
        (r"B = glob(data/{s,\d+}.txt)", 15, r"`s ~ \d+`"),
        # Python
        ("def f(x):", 1, "Flowfile.py"),
        ("import os", 1, "Flowfile.py"),
        ("if x:", 1, "Flowfile.py"),
        ("for x in y:", 1, "Flowfile.py"),
    ],
)
def test_a_habit_is_refused(line, column, hint):
    found = error(f"OBJ = a b\n{line}\n")
    assert (found.span.line, found.span.column) == (2, column), found.show()
    assert hint in found.hint, found.show()
    if "x:" not in line:
        assert error(f"OBJ = a\n{line} # it's a comment").span.line == 2


@pytest.mark.parametrize(
    "text",
    [
        "export: x",
        "define: x",
        "else: x",
        "report: x",
        "run: x",
        "module: x",
        "rule: x",
        "use: x",
        "test: inputs outputs shells",
        "input/a output/b: shell/c",
        "input.txt: output.txt",
        "temp(1).txt: touch(2).txt",
        "a: '%.c' \\%x 100%20b",
        "'100%': a",
        "std::x.txt: a::b",
        "a: 'x;' \\;",
        "a: $(X) ${X}",
        "a: NAME=value",
        "X = a%b",
        "X = ':: &: !='",
        "X = export ifeq define",
        "X = temp expand touch(1).txt",
        "RPATH = '$(OBJ)' \\$(OBJ)\nOBJ = 1",
        "a: x{b,c}.h {src,include}/*.h {1..3}",
        "A = shell(ls {OBJ,x*} ${OBJ} $(OBJ) | sed 's/{a,b*}//')\nOBJ = 1",
        "export = 1",
        "input = 1",
        "rule = 1",
    ],
)
def test_what_only_looks_like_a_habit_is_read(text):
    read(text)


def test_the_names_of_special_targets():
    assert "`a` and of `b`" in error(".PHONY: a b").hint
    assert "each such target" in error(".PHONY:").hint


# Recipes


def recipe(*lines: str, attributes: str = "") -> None:
    read(attributes + "a.txt: b\n" + "".join(f"    {line}\n" for line in lines))


@pytest.mark.parametrize(
    "line, column, hint",
    [
        ("cc -o $@ x", 11, "{out}"),
        ('cc -o "$@" x', 12, "{out}"),
        ("cc $<", 8, "{in[0]}"),
        ("cc $^ > x", 8, "{in}"),
        ("cc $*.c", 8, "wildcard"),
        ('x="$(cat $<)"', 14, "{in[0]}"),
        ("echo '$@' $@", 15, "{out}"),
        ("echo \\$@ $$@ $@", 18, "{out}"),
        ("@echo x", 5, "leave it out"),
        ("-rm x", 5, "|| true"),
        ("@-rm x", 5, "leave it out"),
        ("-@rm x", 5, "leave it out"),
        ("- rm x", 5, "|| true"),
        ("@{cmd} x", 5, "leave it out"),
        ("input: 'x'", 5, "targets: inputs"),
        ("shell:", 5, "targets: inputs"),
        ("params: x", 5, "[…]"),
    ],
)
def test_a_habit_in_a_recipe_is_refused(line, column, hint):
    for lines in ((line,), ("if true; then", "  :", "fi", line)):
        with pytest.raises(FlowError) as caught:
            recipe(*lines)
        assert (caught.value.span.line, caught.value.span.column) == (len(lines) + 1, column), caught.value.show()
        assert hint in caught.value.hint


@pytest.mark.parametrize(
    "lines",
    [
        ["echo '$@ $< $^ $*'"],
        ["# $@ $<", "x # $@"],
        ["cat <<EOF", "$@ $<", "-rm", "@x", "EOF"],
        ["cat <<'EOF'", "$@", "EOF"],
        ["cat <<EOF; x", "$(echo $@)", "$(", "-rm", ")", "EOF", "cat <<-A <<B", "$@", "A", "$@", "B", "x"],
        ["echo \\$@ $$ $# $1 $? ${@} ${x} $x"],
        ["set -- a b", 'for x in "$@"; do echo "$*"; done'],
        ["set -e -- {in}", 'echo "$@"'],
        ["f() {", '  echo "$@"', "}", "f x"],
        ["function f { echo $*; }"],
        ["sh -c 'echo \"$@\"' _ a"],
        ["cc \\", "  -O2 \\", "  -o x"],
        ["cat x |", "  -y"],
        ["true &&", "  -y"],
        ["x=(", "  -a", "  @b", ")"],
        ["x='", "-rm", "@x", "$@", "'"],
        ['x="', "-rm", "@x", '"'],
        ["case $x in", "  -h) y ;;", "  @x) z ;;", "esac"],
        ["awk '", "  -x", "'"],
        ["[[ a == b ||", "  -f x ]]"],
        ["echo $((", "  - 1", "))"],
        ["grep -e a -- b", "test -f x", "foo @bar"],
        ["echo input: x", "echo '", "shell:", "'"],
        ["grep 'x$<' y", "echo $'a\\'$@'"],
    ],
)
def test_legitimate_shell_is_read(lines):
    recipe(*lines)


def test_own_arguments_count_from_where_they_are_set():
    with pytest.raises(FlowError) as caught:
        recipe("echo $@", "set -- a", "echo $@")
    assert caught.value.span.line == 2
    with pytest.raises(FlowError):
        recipe("echo 'set -- a'", "echo $@")
    for options in ("-euo pipefail", "-o pipefail", "-x"):
        with pytest.raises(FlowError):
            recipe(f"set {options}", "echo $@")
        recipe(f"set {options} -- x", "echo $@")
    with pytest.raises(FlowError):  # $< is never a function's
        recipe("f() { :; }", "echo $<")


@pytest.mark.parametrize("attributes", ["[python]\n", "[cpus = 2, python]\n", "[defaults: python]\n"])
def test_python_recipes_are_their_own(attributes):
    recipe("@decorator", "x = '$@ $<'", attributes=attributes)


def test_scripts_are_their_own():
    recipe("#!/usr/bin/perl", "@x = $@;", "-x $<;")
    recipe("@echo", attributes="[shell = Rscript -e]\n")
    with pytest.raises(FlowError):
        recipe("@echo", attributes="[shell = zsh]\n")


# Holes: whether the name is assigned, the loader knows


@pytest.mark.parametrize(
    "hole, hint",
    [
        ("{input}", "`{in}`"),
        ("{input[0]}", "`{in[0]}`"),
        ("{input.bam}", "`bam=path`"),
        ("{output}", "`{out}`"),
        ("{output.x}", "`{x}`"),
        ("{wildcards.x}", "`{x}`"),
        ("{wildcards}", "wildcard"),
        ("{threads}", "`{cpus}`"),
        ("{params.x}", "`x = value`"),
        ("{resources.mem_mb}", "{mem.mb}"),
        ("{in}", None),
        ("{x}", None),
    ],
)
def test_holes_of_snakemake(hole, hint):
    found = hole_hint(hole_of(HOLE.fullmatch(hole)))
    assert found is None if hint is None else hint in found
