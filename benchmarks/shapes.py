"""The shapes of trees, each a function of the number of jobs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.trees import Content, Step, Tree

HEADERS = 5_000
LAYERS = 30
RULES = 2_000


def chains(size: int) -> Tree:
    """Chains of two copies: recipes that start directly."""
    return _chains("chains", size, "cp {in} {out}")


def bash_chains(size: int) -> Tree:
    """The same chains with a recipe that needs a shell."""
    return _chains("bash-chains", size, "cp {in} {out} && :")


def slurm(size: int) -> Tree:
    """The chains, whose jobs a cluster's scheduler starts."""
    return _chains("slurm", size, "cp {in} {out}")


def _chains(shape: str, size: int, recipe: str) -> Tree:
    count = max(size // 2, 1)
    width = len(str(count - 1))

    def sources() -> Iterator[tuple[str, Content]]:
        return ((f"src/{i:0{width}d}.txt", b"source %d\n" % i) for i in range(count))

    def steps() -> Iterator[Step]:
        for i in range(count):
            name = f"{i:0{width}d}.txt"
            yield Step((f"mid/{name}",), (f"src/{name}",), recipe)
            yield Step((f"out/{name}",), (f"mid/{name}",), recipe)

    flowfile = f"""\
n = glob(src/{{n}}.txt)

all: out/{{n}}.txt

mid/{{n}}.txt: src/{{n}}.txt
    {recipe}

out/{{n}}.txt: mid/{{n}}.txt
    {recipe}
"""
    in_snakemake = recipe.replace("{in}", "{input}").replace("{out}", "{output}")
    snakefile = f"""\
rule all:
    input: expand("out/{{n}}.txt", n=glob_wildcards("src/{{n}}.txt").n)
rule mid:
    input: "src/{{n}}.txt"
    output: "mid/{{n}}.txt"
    shell: "{in_snakemake}"
rule out:
    input: "mid/{{n}}.txt"
    output: "out/{{n}}.txt"
    shell: "{in_snakemake}"
"""
    return Tree(shape, 2 * count, sources, steps, ("mid", "out"), flowfile,
                lambda number: f"src/{number * 7919 % count:0{width}d}.txt", {"snakemake": snakefile})  # fmt: skip


def single(size: int) -> Tree:
    """One job."""
    del size
    return Tree("single", 1, lambda: iter([("in.txt", b"source\n")]),
                lambda: iter([Step(("out.txt",), ("in.txt",), "cp {in} {out}")]), (),
                "out.txt: in.txt\n    cp {in} {out}\n", lambda number: "in.txt")  # fmt: skip


def gather(size: int) -> Tree:
    """One job that reads `size` inputs."""
    width = len(str(size - 1))
    names = [f"src/{i:0{width}d}.txt" for i in range(size)]

    def sources() -> Iterator[tuple[str, Content]]:
        yield "names.list", "".join(f"{name}\n" for name in names).encode()  # a command line is too short for them
        yield from ((name, b"source %d\n" % i) for i, name in enumerate(names))

    def steps() -> Iterator[Step]:
        yield Step(("all.txt",), (), "xargs cat < names.list > {out}", implicit=("names.list", *names))

    flowfile = """\
n = glob(src/{n}.txt)

all.txt: src/{n}.txt
    xargs cat < {in.list} > {out}
"""
    return Tree("gather", size, sources, steps, (), flowfile, lambda number: names[number * 7919 % size])


def lattice(size: int) -> Tree:
    """Thirty layers; each job reads three of the layer before."""
    columns = max(size // LAYERS, 3)
    width = len(str(columns - 1))

    def name(layer: int, column: int) -> str:
        return f"l{layer:02d}/{column % columns:0{width}d}.txt"

    def sources() -> Iterator[tuple[str, Content]]:
        rows = ["n\ta\tb\tc\n"]
        rows += ["\t".join(f"{(i + k) % columns:0{width}d}" for k in (0, 0, 1, 2)) + "\n" for i in range(columns)]
        yield "neighbours.tsv", "".join(rows).encode()
        yield from ((name(0, i), b"source %d\n" % i) for i in range(columns))

    def steps() -> Iterator[Step]:
        for layer in range(1, LAYERS + 1):
            for i in range(columns):
                inputs = tuple(name(layer - 1, i + k) for k in range(3))
                yield Step((name(layer, i),), inputs, "cksum {in} > {out}")

    rules = "".join(
        f"\nl{layer:02d}/{{n}}.txt: l{layer - 1:02d}/{{a}}.txt l{layer - 1:02d}/{{b}}.txt l{layer - 1:02d}/{{c}}.txt\n"
        "    cksum {in} > {out}\n"
        for layer in range(1, LAYERS + 1)
    )
    flowfile = f"(n, a, b, c) = table(neighbours.tsv)\n\nall: l{LAYERS:02d}/{{n}}.txt\n{rules}"
    made = tuple(f"l{layer:02d}" for layer in range(1, LAYERS + 1))
    return Tree("lattice", LAYERS * columns, sources, steps, made, flowfile, lambda number: name(0, number * 7919))


def rules(size: int) -> Tree:
    """Many rules (one a job where there are fewer jobs), each with a few jobs."""
    count = min(RULES, size)
    each = max(size // count, 1)

    def sources() -> Iterator[tuple[str, Content]]:
        return ((f"src/{r:04d}/{j:04d}.txt", b"source %d %d\n" % (r, j)) for r in range(count) for j in range(each))

    def steps() -> Iterator[Step]:
        for r in range(count):
            for j in range(each):
                yield Step((f"out/{r:04d}/{j:04d}.txt",), (f"src/{r:04d}/{j:04d}.txt",), "cp {in} {out}")

    text = [f"n = {' '.join(f'{j:04d}' for j in range(each))}\n\n"]
    text += ["all:", *(f" out/{r:04d}/{{n}}.txt" for r in range(count)), "\n"]
    text += [f"\nout/{r:04d}/{{n}}.txt: src/{r:04d}/{{n}}.txt\n    cp {{in}} {{out}}\n" for r in range(count)]

    def editable(number: int) -> str:
        return f"src/{number * 7919 % count:04d}/{number % each:04d}.txt"

    made = tuple(f"out/{r:04d}" for r in range(count))
    return Tree("rules", count * each, sources, steps, made, "".join(text), editable)


def compiles(size: int) -> Tree:
    """A C program: each source may read 5,000 headers (fewer in a tiny tree), and reads six of them."""
    headers = min(HEADERS, 100 * size)
    recipe = "cc -Iinclude -MMD -MF {depfile} -c {in} -o {out}"

    def sources() -> Iterator[tuple[str, Content]]:
        for h in range(headers):
            yield f"include/h{h:04d}.h", b"#define H%d %d\n" % (h, h)
        for i in range(size):
            chosen = [(i * 31 + k * 977) % headers for k in range(6)]
            text = "".join(f'#include "h{h:04d}.h"\n' for h in chosen)
            text += f"int f{i}(void) {{ return {' + '.join(f'H{h}' for h in chosen)}; }}\n"
            yield f"src/f{i:05d}.c", text.encode()

    def steps() -> Iterator[Step]:
        all_headers = tuple(f"include/h{h:04d}.h" for h in range(headers))
        for i in range(size):
            name = f"f{i:05d}"
            yield Step((f"obj/{name}.o",), (f"src/{name}.c",), recipe, all_headers, f"obj/{name}.d")

    flowfile = """\
n = glob(src/{n}.c)

all: obj/{n}.o

[depfile = obj/{n}.d]
obj/{n}.o: src=src/{n}.c include/*.h
    cc -Iinclude -MMD -MF {depfile} -c {src} -o {out}
"""
    return Tree("compiles", size, sources, steps, ("obj",), flowfile,
                lambda number: f"include/h{(number * 7919) % headers:04d}.h")  # fmt: skip


def huge(size: int) -> Tree:
    """Four files of `size` MiB in all, whose sizes one job prints: what is left is to hash them."""
    count = 4
    blocks = max(size // count, 1)

    def content(number: int) -> Iterator[bytes]:
        block = random.Random(number).randbytes(1 << 20)
        for i in range(blocks):
            yield i.to_bytes(8, "little") + block[8:]

    def sources() -> Iterator[tuple[str, Content]]:
        return ((f"data/{i}.bin", content(i)) for i in range(count))

    def steps() -> Iterator[Step]:
        yield Step(("sizes.txt",), tuple(f"data/{i}.bin" for i in range(count)), "wc -c {in} > {out}")

    flowfile = "i = 0 1 2 3\n\nsizes.txt: data/{i}.bin\n    wc -c {in} > {out}\n"
    return Tree("huge", count * blocks, sources, steps, (), flowfile, lambda number: f"data/{number % count}.bin")


@dataclass(frozen=True)
class Shape:
    """A function of the size, the phases that make sense for it, the unit of its size, and default and full sizes.

    `fixed`: no other sizes make sense; `alone`: no peer takes part.
    """

    name: str
    make: Callable[[int], Tree]
    phases: tuple[str, ...]
    unit: str = "jobs"
    sizes: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    fixed: bool = False
    alone: bool = False


_ALL = ("plan", "nothing", "from-nothing", "restored", "edit")

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("single", single, ("start",), sizes=(1,), full=(1,), fixed=True, alone=True),
        Shape("chains", chains, (*_ALL, "watch"), sizes=(100, 1_000, 5_000, 10_000),
              full=(100, 1_000, 5_000, 10_000, 50_000, 100_000, 250_000, 500_000)),
        Shape("bash-chains", bash_chains, ("from-nothing",), sizes=(10_000,), full=(5_000, 10_000)),
        Shape("gather", gather, _ALL, "inputs", sizes=(5_000, 10_000), full=(25_000, 50_000)),
        Shape("lattice", lattice, _ALL, sizes=(1_500, 3_000), full=(15_000, 30_000)),
        Shape("rules", rules, _ALL, sizes=(2_000, 4_000), full=(10_000, 20_000)),
        Shape("compiles", compiles, _ALL, sizes=(25, 50), full=(500, 1_000)),
        Shape("huge", huge, ("hash",), "MiB", sizes=(512, 1024), full=(5 * 1024, 10 * 1024),
              alone=True),
        Shape("slurm", slurm, ("slurm",), sizes=(100,), full=(1_000, 10_000)),
    )
}  # fmt: skip
