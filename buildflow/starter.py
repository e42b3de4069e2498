"""A first Flowfile for what lies in a folder: C sources, reads, images, TeX documents, scripts, a Makefile.

It is a start for people to go on from: each part says what it is for, and all of it can be built as it stands, where
the tools are there. Nothing is written here.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MOST = 20_000
"""Files that are looked at; a folder of more is not read to its end."""

_PLAIN = re.compile(r"[\w./+@-]+")
_C, _CXX = (".c",), (".cc", ".cpp", ".cxx")
_READS = re.compile(r"(?P<sample>[^/]+?)(?P<mark>_R?)1(?P<rest>(?:_001)?\.(?:fastq|fq)(?:\.gz)?)")
_MAIN = re.compile(rb"^\s*(?:int|void|auto)?\s*\bmain\s*\(", re.MULTILINE)
_LIBRARIES = ((b"<math.h>", "-lm"), (b"<pthread.h>", "-lpthread"), (b"<zlib.h>", "-lz"))
_SKIPPED = frozenset(("node_modules", "venv", "__pycache__", "site-packages", "out", "build"))


@dataclass
class Starter:
    """The text of a Flowfile, what was found for it and what to know (a sentence each)."""

    text: str
    found: list[str]
    notes: list[str]


@dataclass
class _Part:
    """What one kind of files comes to: lines above `all`, what `all` names, and the rules."""

    found: str
    head: list[str] = field(default_factory=list)
    goals: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)


def starter(root: str) -> Starter:
    """A first Flowfile for a folder."""
    files = _files(root)
    parts = [part for part in (_c(root, files), _reads(files), _images(files), _tex(root, files)) if part is not None]
    scripts = [name for name in files if name.endswith((".py", ".R", ".sh")) and not name.startswith("tests/")]
    notes = _others(root)
    lines = [
        "# The Flowfile of this project: rules say what is made of what, and how.",
        "#     bflow build       makes what the first rule names",
        "#     bflow list        shows the rules",
        "# “targets: inputs”, and an indented recipe. {name} in a target is a wildcard; {in} and {out} are the files.",
    ]
    for part in parts:
        lines += ["", f"# {part.found}", *part.head]
    goals = [goal for part in parts for goal in part.goals]
    lines += ["", "## Everything", f"all: {' '.join(goals or ['out/hello.txt'])}"]
    for part in parts:
        lines += part.rules
    if not goals:
        lines += ["", "## A first file, to be replaced by yours", "out/hello.txt:", "    echo hello > {out}"]
    if scripts:
        lines += ["", *_script(scripts)]
    found = [part.found for part in parts]
    if scripts:
        found.append(f"{_count(len(scripts), 'script')} ({', '.join(scripts[:3])}{', …' if len(scripts) > 3 else ''})")
    return Starter("\n".join(lines) + "\n", found, notes)


def _files(root: str) -> list[str]:
    """The files below a folder whose names need no quotes, sorted; no hidden ones, none of environments or outputs."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders
            if name[0] != "." and name not in _SKIPPED and not os.path.exists(f"{folder}/{name}/pyvenv.cfg")
        )  # fmt: skip
        below = folder[len(root) + 1 :]
        found.extend(f"{below}/{name}" if below else name for name in names if name[0] != ".")
        if len(found) > MOST:
            break
    return sorted(name for name in found if _PLAIN.fullmatch(name))


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


# ---- C and C++ -------------------------------------------------------------------------------------------------


def _c(root: str, files: Sequence[str]) -> _Part | None:
    sources = [name for name in files if name.endswith((*_C, *_CXX)) and not name.startswith(("tests/", "test/"))]
    if not sources:
        return None
    src = "src" if any(name.startswith("src/") for name in sources) else "."
    units = {}
    for name in sources:
        if src == "." or name.startswith("src/"):
            units[os.path.splitext(name if src == "." else name[4:])[0]] = name
    texts = {unit: _head(f"{root}/{name}") for unit, name in units.items()}
    mains = [unit for unit in units if _MAIN.search(texts[unit])]
    others = [f"build/{unit}.o" for unit in units if unit not in mains]
    own = re.sub(r"[^\w.-]", "-", os.path.basename(os.path.abspath(root))) or "program"
    words = ["include <cc.flow>"]
    part = _Part(f"{_count(len(units), 'C or C++ source')} in {src if src != '.' else 'this folder'}")
    if mains:
        names = [own if unit == "main" and len(mains) == 1 else unit for unit in mains]
        words.extend(f"program={name}" for name in names[:1])
        if len(names) > 1:
            words[-1] = f"program='{' '.join(names)}'"
        for name, unit in zip(names, mains, strict=True):
            part.goals.append(f"build/{name}")
            part.rules += ["", f"build/{name}: {' '.join([f'build/{unit}.o', *others])}"]
    else:
        words.append(f"library={own}")
        part.goals.append(f"build/lib{own}.a")
        part.rules += ["", f"build/lib{own}.a: {' '.join(others)}"]
    if src != "src":
        words.append(f"src={src}")
    if any(name.endswith(_CXX) for name in units.values()):
        words.append("LINK=c++")
    libraries = [flag for header, flag in _LIBRARIES if any(header in text for text in texts.values())]
    if libraries:
        words.append(f"LDLIBS='{' '.join(libraries)}'" if len(libraries) > 1 else f"LDLIBS={libraries[0]}")
    part.head.append(" ".join(words))
    return part


# ---- reads, images, documents ----------------------------------------------------------------------------------


def _reads(files: Sequence[str]) -> _Part | None:
    there = set(files)
    forms: Counter[tuple[str, str, str]] = Counter()
    for name in files:
        folder, _, base = name.rpartition("/")
        match = _READS.fullmatch(base)
        if match is not None and _mate(name, match) in there:
            forms[(folder, match["mark"], match["rest"])] += 1
    if not forms:
        return None
    (folder, mark, rest), count = forms.most_common(1)[0]
    stem = f"{folder}/{{sample}}{mark}" if folder else f"{{sample}}{mark}"
    unpack = "gzip -dc" if rest.endswith(".gz") else "cat"
    part = _Part(f"paired reads of {_count(count, 'sample')} in {folder or 'this folder'}")
    part.head.append(f"sample = glob({stem}1{rest})")
    part.goals.append("out/reads/{sample}.txt")
    part.rules += [
        "",
        "## How many reads a sample has",
        f"out/reads/{{sample}}.txt: forward={stem}1{rest} reverse={stem}2{rest}",
        f"    {unpack} {{forward}} {{reverse}} | awk 'END {{{{ print NR / 4 }}}}' > {{out}}",
    ]
    genome = next((name for name in files if name.endswith((".fa", ".fasta", ".fa.gz", ".fasta.gz"))), "genome.fa")
    part.rules += [
        "",
        "# Mapped and called with bwa, samtools and bcftools (“bflow list” shows what it makes):",
        f"# include <ngs.flow> reference={genome}",
        f"# out/lanes/{{sample}}/1.bam: {stem}1{rest} {stem}2{rest}",
        "# out/bam/{sample}.bam: out/lanes/{sample}/1.bam",
        "# out/calls/{sample}.vcf.gz: out/bam/{sample}.bam",
    ]
    return part


def _mate(name: str, match: re.Match[str]) -> str:
    return f"{name[: len(name) - len(match['rest']) - 1]}2{match['rest']}"


def _images(files: Sequence[str]) -> _Part | None:
    endings = Counter(end for name in files for end in (".nii", ".nii.gz") if name.endswith(end))
    if not endings:
        return None
    end, count = endings.most_common(1)[0]
    images = [name for name in files if name.endswith(end)]
    tops = {name.partition("/")[0] if "/" in name else "." for name in images}
    src = tops.pop() if len(tops) == 1 else "."
    below = [name if src == "." else name[len(src) + 1 :] for name in images]
    part = _Part(f"{_count(count, 'image')} ({end}) in {src if src != '.' else 'this folder'}")
    part.head.append(f"include <mrtrix3.flow> src={src} from={end[1:]}")
    if any("/" in name for name in below):
        part.head.append("image ~ .+             # folders too")
    part.head.append(f"image = glob({src + '/' if src != '.' else ''}{{image}}{end})")
    part.goals.append("out/images/{image}.mif")
    return part


def _tex(root: str, files: Sequence[str]) -> _Part | None:
    documents = [
        name for name in files if name.endswith(".tex") and rb"\documentclass" in _head(f"{root}/{name}")
    ]  # fmt: skip
    if not documents:
        return None
    folders = {name.rpartition("/")[0] for name in documents}
    src = folders.pop() if len(folders) == 1 else ""
    part = _Part(f"{_count(len(documents), 'LaTeX document')}")
    part.head.append("include <latex.flow>" + (f" src={src}" if src else ""))
    part.goals += [f"out/{(name[len(src) + 1 :] if src else name)[:-4]}.pdf" for name in documents]
    return part


# ---- scripts and other tools' files ----------------------------------------------------------------------------


def _script(scripts: Sequence[str]) -> list[str]:
    name = scripts[0]
    tool = {"py": "python3", "R": "Rscript", "sh": "bash"}[name.rpartition(".")[2]]
    return [
        "# A script that a recipe names is an input by itself, with the project’s modules that it imports:",
        "# out/result.txt: data/input.csv",
        f"#     {tool} {name} {{in}} > {{out}}",
    ]


def _others(root: str) -> list[str]:
    notes = []
    if any(os.path.exists(f"{root}/{name}") for name in ("Makefile", "makefile", "GNUmakefile")):
        notes.append("a Makefile is here: docs/from-make.md says all of it both ways; “bflow adopt” takes what it made")
    if any(os.path.exists(f"{root}/{name}") for name in ("Snakefile", "workflow/Snakefile")):
        notes.append(
            "a Snakefile is here: docs/from-snakemake.md says all of it both ways; “bflow adopt” takes what it made"
        )
    return notes
