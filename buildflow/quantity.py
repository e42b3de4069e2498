"""Arithmetic of resources: `mem = 2G * attempt`, `time = 1h30m`, `cpus = min(8, size(in) // 1G + 1)`.

A text is compiled once, with its errors, to a small program for a stack; what varies from job to job (`attempt`,
`size(in)`) is asked for by name when it is run. Nothing here knows rules, jobs or limits.

Units are powers of 1024 (`K M G T P`, also as `KB`, `KiB` and in lower case) and `s m h d`; `m` is a minute but for
memory, where it is `M`. A bare number of memory is MiB, of time seconds. Times may also be `H:M:S`, `M:S`, `D-H:M` and
`D-H:M:S`, as Slurm writes them. Sizes and times are told apart: `mem = 2h` and `2G + 1h` are errors, while
`time = 10m * size(in) / 1G` is a time; `size(…)` may also stand for a plain number of bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Union

from buildflow.errors import FlowError, Span
from buildflow.lazy import regex
from buildflow.near import did_you_mean

Names = Union[Mapping[str, float], Callable[[str], float]]
Op = Union[float, str, tuple[str, int]]  # push a number, push a name's value or apply an operator to so many

MIB = float(1 << 20)
_POWERS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# More than this is a slip of the pen: an exbibyte, ten thousand days, a thousand million.
_MOST = {"memory": 2.0**60, "time": 864e6, "count": 2.0**60, "number": 2.0**60}
_DEPTH = 50

_SPACE = regex(r"\s*")
_NUMBER = regex(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_CLOCK = regex(r"(?:(\d+)-)?(\d+):(\d+)(?::(\d+))?", re.ASCII)
_UNIT = regex(r"[A-Za-z_]+", re.ASCII)
_NAME = regex(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SIZED = regex(r"\(\s*([A-Za-z_][A-Za-z0-9_]*(?:\[-?\d+\])?)\s*\)", re.ASCII)
_OPERATOR = regex(r"//|[-+*/%(),]")


class _Dimension(NamedTuple):
    """The powers of bytes and of seconds in a value; soft: a `size(…)` in it may count as a plain number."""

    memory: int = 0
    time: int = 0
    soft: bool = False

    @property
    def bare(self) -> bool:
        return self.memory == 0 and self.time == 0

    def __str__(self) -> str:
        kinds = {(0, 0): "a number", (1, 0): "a size", (0, 1): "a time"}
        return kinds.get((self.memory, self.time), "a product of units")


_Code = tuple[list[Op], _Dimension]


class Quantity:
    """A compiled text. `constant`: its value where nothing varies, else None; `names`: what varies, as `attempt` and
    `size(in)`."""

    __slots__ = ("text", "unit", "span", "names", "constant", "_program")

    def __init__(self, text: str, unit: str, program: list[Op], span: Span | None) -> None:
        self.text = text
        self.unit = unit
        self.span = span
        self.names = {op for op in program if isinstance(op, str)}
        self._program = program
        self.constant: float | None = None
        if not self.names:
            self.constant = self.value({})

    def value(self, names: Names) -> float:
        """In bytes, seconds or as a plain number. FlowError where it is negative, not finite or a division by 0."""
        lookup = names if callable(names) else names.__getitem__
        stack: list[float] = []
        try:
            for op in self._program:
                if isinstance(op, float):
                    stack.append(op)
                elif isinstance(op, str):
                    stack.append(float(lookup(op)))
                else:
                    name, count = op
                    values = stack[-count:]
                    del stack[-count:]
                    stack.append(_apply(name, values))
        except ZeroDivisionError:
            raise FlowError(f"{self.text} divides by zero", self.span) from None
        except OverflowError:
            raise FlowError(f"{self.text} is too large", self.span) from None
        result = stack[0]
        if not math.isfinite(result) or abs(result) > _MOST[self.unit]:
            raise FlowError(f"{self.text} is too large", self.span, _hint(self.unit))
        if result < 0 and self.unit != "number":
            raise FlowError(f"{self.text} is negative ({result:g})", self.span)
        return result


def _apply(name: str, values: list[float]) -> float:
    if name == "min":
        return min(values)
    if name == "max":
        return max(values)
    if name == "neg":
        return -values[0]
    left, right = values
    if name == "+":
        return left + right
    if name == "-":
        return left - right
    if name == "*":
        return left * right
    if name == "/":
        return left / right
    if name == "//":
        return left // right
    return left % right


def _hint(unit: str) -> str:
    if unit == "memory":
        return "memory is as 500M or 2G; a bare number is MiB"
    if unit == "time":
        return "a time is as 90s, 30m, 1h30m, 2d or 1:30:00; a bare number is seconds"
    return "a number may be arithmetic over numbers, units (K M G T, s m h d), attempt, size(in), min and max"


class _Parser:
    """Recursive descent over one text; each step gives code and its dimension."""

    def __init__(self, text: str, unit: str, span: Span | None, known: Collection[str]) -> None:
        self.text = text
        self.unit = unit
        self.span = span
        self.known = known
        self.place = 0
        self.depth = 0

    # --- reading

    def skip(self) -> None:
        match = _SPACE.match(self.text, self.place)
        assert match is not None
        self.place = match.end()

    def operator(self, *wanted: str) -> str | None:
        """Take the operator that comes next where it is one of those wanted."""
        self.skip()
        match = _OPERATOR.match(self.text, self.place)
        if match is None or match.group() not in wanted:
            return None
        self.place = match.end()
        return match.group()

    def fail(self, message: str, start: int | None = None, length: int = 1, hint: str | None = None) -> FlowError:
        start = self.place if start is None else start
        span = self.span
        if span is not None:
            line = span.source.line(span.line)
            # Holes are filled in `text`: only where it stands so in the source is the very place known.
            found = line.find(self.text, max(span.column - 1, 0))
            if self.text.strip() and 0 <= found < span.column - 1 + max(span.length, len(self.text)):
                span = Span(span.source, span.line, found + 1 + start, max(length, 1))
        return FlowError(message, span, hint or _hint(self.unit))

    def fail_here(self) -> FlowError:
        self.skip()
        rest = self.text[self.place :]
        if not rest:
            return self.fail(f"{self.text.strip()} ends too early: a number is missing", max(self.place - 1, 0))
        word = re.match(r"\w+|.", rest, re.DOTALL)
        assert word is not None
        return self.fail(f"{word.group()} cannot stand here in {self.text.strip()}", length=word.end())

    # --- grammar

    def whole(self) -> _Code:
        if not self.text.strip():
            raise self.fail("a number is missing")
        code = self.sum()
        self.skip()
        if self.place < len(self.text):
            raise self.fail_here()
        return code

    def sum(self) -> _Code:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.fail(f"more than {_DEPTH} parentheses inside one another")
        left = self.product()
        while True:
            start = self.place
            operator = self.operator("+", "-")
            if operator is None:
                self.depth -= 1
                return left
            left = self.alike(operator, [left, self.product()], start)

    def product(self) -> _Code:
        left = self.signed()
        while True:
            start = self.place
            operator = self.operator("*", "//", "/", "%")
            if operator is None:
                return left
            right = self.signed()
            if operator == "%":
                left = self.alike(operator, [left, right], start)
                continue
            (code, one), (other, two) = left, right
            sign = 1 if operator == "*" else -1
            code.extend(other)
            code.append((operator, 2))
            soft = one.soft or two.soft
            left = code, _Dimension(one.memory + sign * two.memory, one.time + sign * two.time, soft)

    def signed(self) -> _Code:
        negative = False
        while True:
            sign = self.operator("+", "-")
            if sign is None:
                break
            negative ^= sign == "-"
        code, dimension = self.atom()
        if negative:
            code.append(("neg", 1))
        return code, dimension

    def atom(self) -> _Code:
        self.skip()
        if self.operator("("):
            code = self.sum()
            if not self.operator(")"):
                raise self.fail(f"a ) is missing in {self.text.strip()}", max(self.place - 1, 0))
            return code
        clock = _CLOCK.match(self.text, self.place)
        if clock is not None:
            return self.clock(clock)
        if _NUMBER.match(self.text, self.place):
            return self.number()
        name = _NAME.match(self.text, self.place)
        if name is None:
            raise self.fail_here()
        return self.name(name)

    def clock(self, match: re.Match[str]) -> _Code:
        if self.unit == "memory":
            raise self.fail(f"{match.group()} is a time", length=len(match.group()))
        self.place = match.end()
        days, first, second, third = match.groups()
        if third is not None or days is not None:
            seconds = float(first) * 3600 + float(second) * 60 + float(third or 0)
        else:
            seconds = float(first) * 60 + float(second)
        return [seconds + float(days or 0) * 86400], _Dimension(time=1)

    def number(self) -> _Code:
        value, dimension = self.literal()
        # 1h30m: further numbers with units right after a time
        while dimension.time and self.place < len(self.text) and self.text[self.place] in "0123456789":
            start = self.place
            more, other = self.literal()
            if other != dimension:
                raise self.fail(f"a unit of time is missing after {self.text[start : self.place]}", start)
            value += more
        return [value], dimension

    def literal(self) -> tuple[float, _Dimension]:
        match = _NUMBER.match(self.text, self.place)
        assert match is not None
        start = self.place
        value = float(match.group())
        self.place = match.end()
        if not math.isfinite(value):
            raise self.fail(f"{match.group()} is too large", start, len(match.group()))
        spaces = _SPACE.match(self.text, self.place)
        assert spaces is not None
        unit = _UNIT.match(self.text, spaces.end())
        if unit is None:
            return value, _Dimension()
        name = unit.group()
        self.place = unit.end()
        if name in _SECONDS and not (name == "m" and self.unit == "memory"):
            return value * _SECONDS[name], _Dimension(time=1)
        lower = name.lower()
        if lower == "b":
            return value, _Dimension(memory=1)
        if lower[0] in _POWERS and lower[1:] in ("", "b", "ib"):
            return value * _POWERS[lower[0]], _Dimension(memory=1)
        raise self.fail(f"{name} is no unit", unit.start(), len(name), "units: K M G T for sizes, s m h d for times")

    def name(self, match: re.Match[str]) -> _Code:
        name = match.group()
        start = self.place
        self.place = match.end()
        if name in ("min", "max"):
            if not self.operator("("):
                raise self.fail(f"{name} needs its values in parentheses", start, len(name), f"as {name}(2G, 4G)")
            values = [self.sum()]
            while self.operator(","):
                values.append(self.sum())
            if not self.operator(")"):
                raise self.fail(f"a ) is missing in {self.text.strip()}", max(self.place - 1, 0))
            return self.alike(name, values, start)
        if name == "size":
            self.skip()
            sized = _SIZED.match(self.text, self.place)
            if sized is None:
                raise self.fail("size needs the name of inputs", start, 4, "as size(in) or size(name)")
            self.place = sized.end()
            return [f"size({sized.group(1)})"], _Dimension(memory=1, soft=True)
        if name in self.known:
            return [name], _Dimension()
        hint = did_you_mean(name, [*self.known, "min", "max", "size(in)"])
        raise self.fail(f"{name} is not known in a number", start, len(name), hint)

    def alike(self, operator: str, values: list[_Code], start: int) -> _Code:
        """Code for an operator whose values must be of one kind; a bare number beside a size or time is one too."""
        kind = next((d for _, d in values if not d.bare and not d.soft), None)
        if kind is None:
            kind = next((d for _, d in values if not d.bare), _Dimension(soft=any(d.soft for _, d in values)))
        program: list[Op] = []
        for index, (code, dimension) in enumerate(values):
            if dimension.bare and kind[:2] == (1, 0):
                if self.unit == "memory":
                    code += [MIB, ("*", 2)]
            elif dimension[:2] != kind[:2] and self.unit not in ("count", "number"):
                number = dimension.soft and (dimension.memory - 1, dimension.time) in ((0, 0), kind[:2])
                if not number and not (dimension.bare and kind[:2] == (0, 1)):
                    what = f"{operator} of {kind} and {dimension}"
                    raise self.fail(f"{what} in {self.text.strip()}", start, len(operator))
            if index:
                program.extend(code)
            else:
                program = code
        if len(values) > 1 or operator in ("min", "max"):
            program.append((operator, len(values)))
        return program, kind._replace(soft=any(d.soft for _, d in values))


def compile_quantity(text: str, unit: str, span: Span | None = None, names: Collection[str] = ("attempt",)) -> Quantity:
    """The quantity that `text` (its holes filled) writes down.

    unit: `memory` (bytes), `time` (seconds), `count` (never negative) or `number`; names: the plain names it may use,
    besides `size(…)`. FlowError at the very place for what is no such arithmetic.
    """
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    parser = _Parser(text, unit, span, names)
    code, dimension = parser.whole()
    if unit in ("memory", "time"):
        wanted = (1, 0) if unit == "memory" else (0, 1)
        kind = dimension[:2]
        number = dimension.soft and (dimension.memory - 1, dimension.time) in ((0, 0), wanted)
        if dimension.bare:
            if unit == "memory":
                code += [MIB, ("*", 2)]
        elif kind != wanted and not number:
            raise parser.fail(f"{text.strip()} is {dimension}, not {_Dimension(*wanted)}", 0, len(text))
    return Quantity(text.strip(), unit, code, span)


def evaluate(text: str, names: Names, unit: str, span: Span | None = None) -> float:
    """The value of `text` at once; see `compile_quantity` and `Quantity.value`. Plain names are those of a mapping."""
    known = ("attempt",) if callable(names) else [name for name in names if "(" not in name]
    return compile_quantity(text, unit, span, known).value(names)


def whole(value: float) -> int:
    """`value` rounded up, but for the dust that floating point leaves."""
    return math.ceil(value - 1e-9 * max(1.0, abs(value)))


def format_memory(size: float) -> str:
    """Bytes as whole MiB, rounded up: `2048M`."""
    return f"{whole(size / MIB)}M"


def format_time(seconds: float) -> str:
    """Seconds as `H:MM:SS`, rounded up to whole ones; the form that Slurm and SGE read."""
    total = whole(seconds)
    return f"{total // 3600}:{total // 60 % 60:02d}:{total % 60:02d}"
