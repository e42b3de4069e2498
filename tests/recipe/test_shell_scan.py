"""Where characters stand in a bash text. Each case marks the places asked for with `@`."""

from __future__ import annotations

import pytest

from buildflow.recipe.roles import Role
from buildflow.recipe.shell import Context, scan


@pytest.mark.parametrize(
    ("text", "contexts"),
    [
        ("a @ b", [Context.PLAIN]),
        ('"@" @', [Context.DOUBLE, Context.PLAIN]),
        ("'@' @", [Context.SINGLE, Context.PLAIN]),
        ("'\\' @", [Context.PLAIN]),
        ('"\\"@" @', [Context.DOUBLE, Context.PLAIN]),
        ("$'@\\'@' @", [Context.ANSI, Context.ANSI, Context.PLAIN]),
        ('$"@" @', [Context.DOUBLE, Context.PLAIN]),
        ("\"'@'\"", [Context.DOUBLE]),
        ("\\'@\\'", [Context.PLAIN]),
        ("a # @\n@", [Context.COMMENT, Context.PLAIN]),
        ("a#@", [Context.PLAIN]),
        ("$# @", [Context.PLAIN]),
        ("(# @\n@)", [Context.COMMENT, Context.PLAIN]),
        ("a \\\n# @", [Context.COMMENT]),
        ('"$(@ "@" \'@\' # @\n)@"@', [Context.PLAIN, Context.DOUBLE, Context.SINGLE, Context.COMMENT, Context.DOUBLE,
                                     Context.PLAIN]),
        ('"`@ "@"`@"@', [Context.PLAIN, Context.DOUBLE, Context.DOUBLE, Context.PLAIN]),
        ("`echo '`@", [Context.PLAIN]),
        ("${x:-@\"@\"'@'}@", [Context.PARAMETER, Context.DOUBLE, Context.SINGLE, Context.PLAIN]),
        ('"${x:-@}@"@', [Context.DOUBLE_PARAMETER, Context.DOUBLE, Context.PLAIN]),
        ('"${x%@}@"@', [Context.DOUBLE_PATTERN, Context.DOUBLE, Context.PLAIN]),
        ("$((@ + (@)))@", [Context.ARITHMETIC, Context.ARITHMETIC, Context.PLAIN]),
        ("$((@); (@))@", [Context.PLAIN, Context.PLAIN, Context.PLAIN]),
        ("((@)) '@'", [Context.ARITHMETIC, Context.SINGLE]),
        ("for ((@;;)); do @; done", [Context.ARITHMETIC, Context.PLAIN]),
        ("cat <<E @\n@\"@\nE\n@", [Context.PLAIN, Context.HEREDOC, Context.HEREDOC, Context.PLAIN]),
        ("cat <<'E'\n$(@)\nE\n@", [Context.HEREDOC, Context.PLAIN]),
        ("cat <<E\n$(@) @\nE\n@", [Context.PLAIN, Context.HEREDOC, Context.PLAIN]),
        ("cat <<-E\n\t@\n\tE\n@", [Context.HEREDOC, Context.PLAIN]),
        ("cat <<E\n E\n@\nE\n@", [Context.HEREDOC, Context.PLAIN]),
        ("cat <<A <<B\n@\nA\n@\nB\n@", [Context.HEREDOC, Context.HEREDOC, Context.PLAIN]),
        ("x=$(cat <<E\n@\nE\n)@", [Context.HEREDOC, Context.PLAIN]),
        ("cat <<@E", [Context.DELIMITER]),
        ("cat <<< '@' @", [Context.SINGLE, Context.PLAIN]),
        ("$(case x in a) @;; esac)'@'", [Context.PLAIN, Context.SINGLE]),
        ("\"$(case x in (a) '@';; esac)@\"", [Context.SINGLE, Context.DOUBLE]),
        ("cat <(sort '@') @", [Context.SINGLE, Context.PLAIN]),
    ],
)  # fmt: skip
def test_contexts(text: str, contexts: list[Context]) -> None:
    places = [i for i, c in enumerate(text) if c == "@"]
    found = scan(text)
    assert [found.context(i) for i in places] == contexts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1 cmd x y=2 > f <g 2>h", "all"),
        ("if a; then b; else ! c; fi", None),
        ("x; y && z | w & v\nu", None),
    ],
)
def test_words_and_their_roles(text: str, words: str | None) -> None:
    roles = [word.role for word in scan(text).words]
    if words is None:
        assert set(roles) <= {Role.COMMAND, Role.KEYWORD}
        assert len(roles) == len([w for w in text.replace(";", " ").split() if w not in ("&&", "|", "&")])
    else:
        assert roles == [
            Role.ASSIGNMENT, Role.COMMAND, Role.ARGUMENT, Role.ARGUMENT, Role.REDIRECT, Role.REDIRECT, Role.DESCRIPTOR,
            Role.REDIRECT,
        ]  # fmt: skip


def test_the_bounds_of_words() -> None:
    text = "a'b c'd\\ e\"$(f g)\"h \\\n  i\\\n>j"
    assert [text[word.start : word.end] for word in scan(text).words] == [
        "a'b c'd\\ e\"$(f g)\"h",
        "f",
        "g",
        "i",
        "j",
    ]


def test_backticks_are_told() -> None:
    found = scan("a `b $(c)` d")
    assert [found.in_backticks(i) for i in (0, 3, 7, 11)] == [False, True, True, False]
