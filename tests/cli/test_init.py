"""`bflow init`: the Flowfile that it writes is right, and can be built where the tools are there."""

from __future__ import annotations

import gzip
import shutil

import pytest

from story import Story

cc = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")


def init(story: Story) -> str:
    """Write it; it must be read without complaint."""
    ran = story.bflow("init")
    assert "Flowfile is written" in ran.err and not ran.out
    story.bflow("list")
    story.bflow("build", "-n")
    return ran.err


def test_an_empty_folder_gets_a_first_rule(story: Story) -> None:
    init(story)
    story.build()
    assert story.read("out/hello.txt") == "hello\n"


def test_it_never_replaces_a_flowfile(story: Story) -> None:
    story.write("Flowfile", "mine:\n    touch {out}\n")
    assert "stays as it is" in story.bflow("init", ok=2).err
    assert story.read("Flowfile").startswith("mine")
    assert "hello" in story.bflow("init", "-n").out
    story.path("Flowfile").rename(story.path("Flowfile.py"))
    assert "Flowfile.py is there" in story.bflow("init", ok=2).err


@cc
def test_a_program_in_c(story: Story) -> None:
    story.write("src/main.c", '#include "greet.h"\n#include <math.h>\nint main(void) { return greet(sqrt(4.0)); }\n')
    story.write("src/greet.c", '#include "greet.h"\nint greet(double x) { return x != 2; }\n')
    story.write("src/greet.h", "int greet(double x);\n")
    assert "2 C or C++ sources" in init(story)
    story.build()
    assert story.exists("build/project") and "build/greet.o" in story.read("Flowfile")


@cc
def test_programs_and_sources_in_the_root(story: Story) -> None:
    story.write("one.c", "int f(void);\nint main(void) { return f(); }\n")
    story.write("two.c", "int f(void);\nint\nmain(void) { return f(); }\n")
    story.write("f.c", "int f(void) { return 0; }\n")
    init(story)
    story.build()
    assert story.exists("build/one") and story.exists("build/two")


@cc
def test_a_library_where_there_is_no_main(story: Story) -> None:
    story.write("src/f.c", "int f(void) { return 0; }\n")
    init(story)
    story.build()
    assert story.exists("build/libproject.a")


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
def test_a_program_in_cpp(story: Story) -> None:
    story.write("src/main.cpp", '#include <iostream>\nint main() { std::cout << "hi"; }\n')
    init(story)
    story.build()
    assert story.exists("build/project")


@pytest.mark.parametrize(("mark", "end"), [("_R", ".fastq.gz"), ("_", ".fq.gz"), ("_S1_L001_R", "_001.fastq.gz")])
def test_paired_reads(story: Story, mark: str, end: str) -> None:
    for sample in ("a", "b"):
        for n in (1, 2):
            story.write(f"reads/{sample}{mark}{n}{end}", gzip.compress(b"@r\nACGT\n+\nIIII\n"))
    story.write("genome.fa", ">1\nACGT\n")
    assert "paired reads of 2 samples in reads" in init(story)
    story.build()
    made = [name for name in story.files("out") if name.startswith("out/reads/")]
    assert len(made) == 2 and story.read(made[0]).strip() == "2"
    text = story.read("Flowfile")
    assert "# include <ngs.flow> reference=genome.fa" in text
    story.write("Flowfile", text.replace("# include <ngs", "include <ngs").replace("# out/", "out/"))
    assert "out/calls/" in story.bflow("list").out


def test_images(story: Story) -> None:
    story.write("data/sub-01/anat/t1.nii.gz")
    story.write("data/sub-02/anat/t1.nii.gz")
    assert "2 images" in init(story)
    assert "out/images/sub-02/anat/t1.mif" in story.bflow("graph", "--all").out


def test_documents(story: Story) -> None:
    story.write("text/paper.tex", "\\documentclass{article}\\begin{document}x\\end{document}\n")
    story.write("text/part.tex", "x\n")
    assert "1 LaTeX document" in init(story)
    assert "out/paper.pdf" in story.read("Flowfile") and "out/part.pdf" not in story.read("Flowfile")


def test_all_of_it_together_with_scripts_and_other_tools(story: Story) -> None:
    story.write("src/main.c", "int main(void) { return 0; }\n")
    story.write("paper.tex", "\\documentclass{article}\\begin{document}x\\end{document}\n")
    story.write("scripts/mean.py", "print(1)\n")
    story.write("Makefile", "all:\n")
    story.write("Snakefile", "\n")
    story.write("odd {name}.c", "int main(void) { return 0; }\n")
    said = init(story)
    assert "docs/from-make.md" in said and "docs/from-snakemake.md" in said and "1 script (scripts/mean.py)" in said
    text = story.read("Flowfile")
    assert "#     python3 scripts/mean.py {in} > {out}" in text and "odd" not in text
