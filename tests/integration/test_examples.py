"""The examples that need more than Python and a compiler, with the real tools: what their READMEs walk through.

`tests/services/tools.sh install` gets the tools; docker.sh and apptainer.sh beside it get what runs containers. Tests
whose tools are missing are skipped, unless BFLOW_REQUIRE names `bwa`, `mrtrix`, `latex`, `docker` or `singularity`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from example import EXAMPLES, built, copy
from story import CHECKOUT, Story

TOOLS = {
    "bwa": ("bwa", "samtools", "bcftools", "wgsim"),
    "mrtrix": ("mrgrid", "mrconvert", "mrinfo", "mrstats"),
    "latex": ("pdflatex", "bibtex"),
}


SERVICES = CHECKOUT / "tests" / "services"


def need(name: str) -> None:
    """Go on only where the tools of that name are here."""
    missing = [tool for tool in TOOLS[name] if shutil.which(tool) is None]
    if missing:
        lacking(name, f"{', '.join(missing)} not here: tests/services/tools.sh install")


def lacking(name: str, reason: str) -> NoReturn:
    """Skip a test, or fail it where what it lacks was said to be there."""
    if name in os.environ.get("BFLOW_REQUIRE", "").replace(",", " ").split():
        pytest.fail(reason)
    pytest.skip(reason)


def output_of(story: Story, *command: str) -> str:
    return subprocess.run(command, cwd=story.root, capture_output=True, text=True, check=True).stdout


# ---- variants ----------------------------------------------------------------------------------------------------

LANES = {"ann": ("L1", "L2"), "ben": ("L1",), "cleo": ("L1", "L2", "L3")}


@pytest.fixture
def variants(story: Story) -> Story:
    need("bwa")
    return copy(story, "variants")


def of_sample(sample: str) -> set[str]:
    """What a sample's lanes come to, the figure of all included."""
    steps = {f"out/bam/{sample}.bam", f"out/flagstat/{sample}.txt", f"out/calls/{sample}.vcf.gz"}
    return steps | {f"out/filtered/{sample}.vcf.gz", f"out/variants/{sample}.tsv", "out/variants.svg"}


def of_lane(sample: str, lane: str) -> set[str]:
    return {f"out/reads/{sample}/{lane}_{end}.fq" for end in (1, 2)} | {f"out/lanes/{sample}/{lane}.bam"}


def test_variants(variants: Story) -> None:
    ran = built(variants)
    assert {name for sample in LANES for name in of_sample(sample)} <= ran
    assert {name for sample, lanes in LANES.items() for lane in lanes for name in of_lane(sample, lane)} <= ran
    assert "out/reference/genome.fa.fai" in ran and "out/reference/genome.fa.bwt" in ran
    assert built(variants) == set()

    # What was called is true, and where there are lanes enough it is nearly all that is.
    for sample, least in (("ann", 20), ("ben", 8), ("cleo", 22)):
        true = {tuple(line.split("\t")[:3]) for line in variants.read(f"out/people/{sample}.tsv").splitlines()}
        found = {tuple(line.split("\t")[:3]) for line in variants.read(f"out/variants/{sample}.tsv").splitlines()}
        assert len(true) == 25 and found <= true and len(found) >= least, sample
        assert f"{sample}: {len(found)} of 25 variants found, 0 others" in variants.read("out/variants.svg")
    header = output_of(variants, "samtools", "view", "-H", "out/bam/cleo.bam")
    assert re.findall(r"@RG\tID:(\S+)\tSM:(\S+)", header) == [(f"cleo.L{n}", "cleo") for n in (1, 2, 3)]
    assert "7000 + 0 primary" in variants.read("out/flagstat/cleo.txt")

    # A lane more.
    variants.write("lanes.tsv", variants.read("lanes.tsv") + "ben\tL2\t1200\t22\n")
    assert built(variants) == of_lane("ben", "L2") | of_sample("ben")

    # Another filter, and back.
    assert built(variants, "FILTER=QUAL>=100 && INFO/DP>=15") == {
        f"out/{kind}" for sample in LANES for kind in (f"filtered/{sample}.vcf.gz", f"variants/{sample}.tsv")
    } | {"out/variants.svg"}
    depths = [int(line.split("\t")[4]) for line in variants.read("out/variants/ann.tsv").splitlines()]
    assert depths and min(depths) >= 15
    assert built(variants) == set()


def test_the_same_reads_make_the_same_bytes(variants: Story) -> None:
    made = ("out/bam/cleo.bam", "out/calls/cleo.vcf.gz", "out/filtered/cleo.vcf.gz", "out/stats/cleo.txt")
    built(variants, *made)
    first = {name: variants.path(name).read_bytes() for name in made}
    variants.remove("out", ".bflow")
    built(variants, *made)
    assert {name: variants.path(name).read_bytes() for name in made} == first
    assert b".bflow" not in first["out/bam/cleo.bam"]


def test_what_else_the_library_has_for_reads(variants: Story) -> None:
    """A packed reference outside of the project, single reads, samples called together, indexes, statistics."""
    built(variants, "out/genome.fa", "out/reads/ann/L1_1.fq", "out/reads/ben/L1_1.fq")
    genome = variants.root.parent / "genome.fa.gz"
    genome.write_bytes(b"")
    with genome.open("wb") as packed:
        subprocess.run(["gzip", "-c", "out/genome.fa"], cwd=variants.root, stdout=packed, check=True)
    variants.write(
        "Flowfile",
        """
        sample = ann ben
        include <ngs.flow> reference=../genome.fa.gz build=made

        all: made/filtered/both.vcf.gz.csi made/stats/both.txt made/bam/{sample}.bam.bai
        made/lanes/{sample}/L1.bam: reads/{sample}.fq
        made/bam/{sample}.bam: made/lanes/{sample}/L1.bam
        made/calls/both.vcf.gz: made/bam/{sample}.bam
        """,
    )
    for sample in ("ann", "ben"):
        variants.write(f"reads/{sample}.fq", variants.path(f"out/reads/{sample}/L1_1.fq").read_bytes())
    built(variants)
    beside = sorted(path.name for path in genome.parent.iterdir())
    assert beside == ["genome.fa.gz", "home", "project"]  # no index was written there
    assert output_of(variants, "bcftools", "query", "-l", "made/filtered/both.vcf.gz").split() == ["ann", "ben"]
    assert re.search(r"number of SNPs:\t[1-9]", variants.read("made/stats/both.txt"))
    assert output_of(variants, "samtools", "view", "made/bam/ann.bam", "chr1:1000-1200")
    assert built(variants) == set()

    error = variants.bflow("build", "made/bam/zoe.bam", ok=1).err
    assert "no lanes: say which, as in made/bam/zoe.bam: made/lanes/zoe/a.bam" in error
    variants.edit("Flowfile", "reference=../genome.fa.gz ", "")
    assert "include <ngs.flow> reference=…" in variants.bflow("build", ok=2).err


# ---- mrtrix ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mrtrix(story: Story) -> Story:
    need("mrtrix")
    copy(story, "mrtrix")
    output_of(story, sys.executable, "images.py", "data", *map(str, range(10)))
    return story


def history(story: Story, image: str) -> str:
    """The command line that MRtrix wrote into an image."""
    return output_of(story, "mrinfo", "-quiet", "-property", "command_history", image)


def voxels(story: Story, image: str) -> bytes:
    """The numbers in an image of MRtrix's own format, without its header."""
    data = story.path(image).read_bytes()
    found = re.search(rb"\nfile: \. (\d+)\n", data)
    assert found, image
    return data[int(found[1]) :]


@pytest.fixture(scope="session")
def engine() -> Iterator[dict[str, str]]:
    """What a process must have in its environment to reach a Docker engine; one is started where none answers."""
    if shutil.which("docker") is None or shutil.which("dockerd") is None:
        lacking("docker", "docker is not here: tests/services/docker.sh install")
    found = {"DOCKER_HOST": os.environ["DOCKER_HOST"]} if "DOCKER_HOST" in os.environ else {}
    if answers(found):
        yield found
        return
    home = os.environ.get("DOCKER_HOME", "/var/tmp/bflow-docker")
    found = {"DOCKER_HOST": f"unix://{home}/docker.sock"}
    running = answers(found)
    if not running:
        started = subprocess.run([SERVICES / "docker.sh", "start"], capture_output=True, text=True)
        if started.returncode != 0:
            lacking("docker", f"the Docker engine does not start: {started.stderr[-500:]}")
    yield found
    if not running:
        subprocess.run([SERVICES / "docker.sh", "stop"], check=True)


def answers(environment: dict[str, str]) -> bool:
    asked = subprocess.run(["docker", "version"], env={**os.environ, **environment}, capture_output=True)
    return asked.returncode == 0


class Place:
    """Where the example runs: `words` say it to bflow, `environment` is what that needs."""

    def __init__(self, name: str, story: Story, request: pytest.FixtureRequest) -> None:
        self.words: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}
        make = EXAMPLES / "mrtrix" / "image.sh"
        if name == "docker":
            self.environment = request.getfixturevalue("engine")
            self.image = f"bflow-mrtrix:{os.getpid()}"
            self.words = ("--env", f"docker://{self.image}")
            self._call(make, "docker", self.image)
            request.addfinalizer(lambda: self._call("docker", "rmi", "--force", self.image))
        if name == "singularity":
            if shutil.which("apptainer") is None:
                lacking("singularity", "apptainer is not here: tests/services/apptainer.sh install")
            self.words = ("--env", f"singularity://{story.root.parent}/mrtrix3.sif")
            self._call(make, "apptainer", story.root.parent / "mrtrix3.sif")

    def _call(self, *command: str | Path) -> None:
        subprocess.run(command, env={**os.environ, **self.environment}, check=True, capture_output=True)


@pytest.fixture(params=["native", "docker", "singularity"])
def place(request: pytest.FixtureRequest, mrtrix: Story) -> Place:
    return Place(request.param, mrtrix, request)


def test_mrtrix(mrtrix: Story, place: Place) -> None:
    """The example as its README has it, natively and in images that its script makes here."""

    def ran(*words: str) -> set[str]:
        return built(mrtrix, *place.words, *words, env=place.environment)

    images = {f"out/head{number}.mif" for number in range(10)}
    assert ran() == images
    rows = [line.split("\t") for line in mrtrix.read("voxels.tsv").splitlines()[1:]]
    for name, voxel in rows:
        spacing = output_of(mrtrix, "mrinfo", "-quiet", "-spacing", f"out/{name}.mif").split()
        assert {round(float(size), 4) for size in spacing} == {float(voxel)}
    assert len({voxel for _, voxel in rows}) == 10
    assert ran() == set()

    # Renamed: its result is there already, and what is in it does not tell the name.
    mrtrix.path("data/head0.nii").rename(mrtrix.path("data/first.nii"))
    mrtrix.edit("voxels.tsv", "head0", "first")
    again = mrtrix.build(*place.words, env=place.environment)
    assert (again.ran, again.cached, again.up_to_date) == (0, 1, 9)
    assert "in0.nii" in history(mrtrix, "out/first.mif") and "head0" not in history(mrtrix, "out/first.mif")

    # Replaced by another image: one job.
    output_of(mrtrix, sys.executable, "images.py", "new", "100")
    mrtrix.path("new/head100.nii").rename(mrtrix.path("data/first.nii"))
    assert ran() == {"out/first.mif"}
    # Another voxel size: one job.
    mrtrix.edit("voxels.tsv", "\t0.75", "\t0.7")
    assert ran() == {"out/head6.mif"}
    # Its copy under another name, at the same size: none.
    shutil.copy(mrtrix.path("data/head1.nii"), mrtrix.path("data/copy.nii"))
    mrtrix.write("voxels.tsv", mrtrix.read("voxels.tsv") + "copy\t0.25\n")
    again = mrtrix.build(*place.words, env=place.environment)
    assert (again.ran, again.cached) == (0, 1)

    # Outside of the image the same tools make the same images, under keys of their own. (Apptainer starts a command by
    # its full path, which MRtrix writes down, so the headers may differ.)
    if place.words:
        here = {name: voxels(mrtrix, name) for name in mrtrix.files("out")}
        assert mrtrix.build().ran == 10
        assert {name: voxels(mrtrix, name) for name in mrtrix.files("out")} == here


def test_mrtrix_diffusion(mrtrix: Story) -> None:
    steps = ("dwi", "denoised", "unringed", "tensor", "fa")
    assert {f"out/{step}/series.mif" for step in steps} <= built(mrtrix, "anisotropy")
    mean = float(output_of(mrtrix, "mrstats", "-quiet", "-output", "mean", "out/fa/series.mif"))
    assert 0.77 < mean < 0.83  # of a tensor of 1.7, 0.3 and 0.3: 0.80
    assert built(mrtrix, "out/md/series.mif", "out/noise/series.mif") == {"out/md/series.mif"}
    assert built(mrtrix, "anisotropy", "THREADS=1") == set()
    assert "-nthreads" not in history(mrtrix, "out/fa/series.mif")
    mrtrix.write("data/dwi/series.bval", "0 " + "990 " * 12 + "\n")
    assert {f"out/{step}/series.mif" for step in steps} <= built(mrtrix, "anisotropy")


def test_mrtrix_formats(mrtrix: Story) -> None:
    mrtrix.write(
        "Flowfile",
        """
        include <mrtrix3.flow>
        include <mrtrix3.flow> from=mif to=nii.gz src=out/images build=packed REGRID="-interp nearest"
        """,
    )
    made = ("packed/images/head1.nii.gz", "packed/regrid/1,1,2/head1.nii.gz", "out/regrid/2/dwi/series.mif")
    assert built(mrtrix, *made) == {"out/images/head1.mif", *made}
    assert output_of(mrtrix, "mrinfo", "-quiet", "-spacing", made[1]).split() == ["1", "1", "2"]
    assert output_of(mrtrix, "mrinfo", "-quiet", "-size", made[2]).split()[3:] == ["13"]
    assert mrtrix.path(made[0]).read_bytes()[:2] == b"\x1f\x8b"
    assert "no rule makes it" in mrtrix.bflow("build", "out/regrid/big/head1.mif", ok=2).err


# ---- paper -------------------------------------------------------------------------------------------------------


def figures_in(pdf: bytes) -> int:
    return pdf.count(b"/Subtype /Form")


def test_paper(story: Story) -> None:
    need("latex")
    copy(story, "paper")
    figures = {f"out/figures/{cup}.pdf" for cup in ("flask", "mug", "saucer")}
    assert figures | {"out/paper.tex", "out/paper.pdf"} <= built(story, "pdf")
    pdf = story.path("out/paper.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and figures_in(pdf) == 3
    assert "Warning" not in story.bflow("log", "out/paper.pdf").out
    assert built(story, "pdf") == set()

    built(story, "page")
    story.edit("paper.md", "whoever", "who")
    assert built(story, "page", "pdf") == {"out/paper.html", "out/paper.tex", "out/paper.pdf"}
    story.edit("data/mug.tsv", "71.5", "71.6")
    made = {"out/fits/mug.json", "out/figures/mug.svg", "out/figures/mug.pdf"}
    assert made < built(story, "page", "pdf")
    story.edit("paper.md", "\n![A saucer.](saucer)\n", "")
    assert "out/paper.pdf" in built(story, "page", "pdf")
    story.edit("data/saucer.tsv", "78.5", "78.8")  # in the text still, no more in a figure
    assert "out/figures/saucer.pdf" in built(story, "page", "pdf")


# ---- latex -------------------------------------------------------------------------------------------------------


@pytest.fixture
def thesis(story: Story) -> Story:
    """Chapters in a folder, a bibliography, a number that a rule makes, and files beside that it does not read."""
    need("latex")
    story.write(
        "Flowfile",
        """
        include <latex.flow> src=thesis

        all: out/thesis.pdf
        out/thesis.pdf: out/number.tex pictures/*.png

        out/number.tex: number.txt
            cp {in} {out}
        """,
    )
    story.write("number.txt", "42\n")
    story.write("pictures/unused.png", "x")
    story.write(
        "thesis/thesis.tex",
        r"""
        \documentclass{report}
        \usepackage{own}
        \begin{document}
        \tableofcontents
        See chapter~\ref{end} and \cite{turing}: \own{\input{number}}
        \include{chapters/one}
        \include{chapters/two}
        \bibliographystyle{plain}
        \bibliography{books}
        \end{document}
        """,
    )
    story.write("thesis/own.sty", "\\newcommand{\\own}[1]{\\emph{#1}}\n")
    story.write("thesis/chapters/one.tex", "\\chapter{One}\nA text.\n")
    story.write("thesis/chapters/two.tex", "\\chapter{Two}\\label{end}\nAn end.\n")
    story.write("thesis/chapters/three.tex", "\\chapter{Three}\nNot yet.\n")
    story.write("thesis/books.bib", "@misc{turing, author={Alan Turing}, title={On numbers}, year=1936}\n")
    story.write("thesis/other.bib", "@misc{other, author={Another}}\n")
    return story


def test_a_document_is_set_until_its_references_stand(thesis: Story) -> None:
    assert built(thesis) == {"out/number.tex", "out/thesis.pdf"}
    assert thesis.path("out/thesis.pdf").read_bytes().startswith(b"%PDF")
    assert "Warning" not in thesis.bflow("log", "out/thesis.pdf", ok=None).out  # no “undefined”, no “rerun”
    assert thesis.files("out") == ["out/number.tex", "out/thesis.pdf"]
    assert built(thesis) == set()


def test_what_a_document_reads_sets_it_again(thesis: Story) -> None:
    built(thesis)
    for name in ("thesis/other.bib", "thesis/chapters/three.tex", "pictures/unused.png"):
        thesis.write(name, thesis.read(name) + "\n")
        assert built(thesis) == set(), name
    for name in ("thesis/books.bib", "thesis/chapters/two.tex", "thesis/own.sty", "thesis/thesis.tex"):
        thesis.write(name, thesis.read(name) + "\n% a comment\n")
        assert built(thesis) == {"out/thesis.pdf"}, name
    thesis.write("number.txt", "43\n")
    assert built(thesis) == {"out/number.tex", "out/thesis.pdf"}


def test_the_same_text_makes_the_same_bytes(thesis: Story) -> None:
    built(thesis)
    first = thesis.path("out/thesis.pdf").read_bytes()
    thesis.remove(".bflow", "out")
    built(thesis)
    assert thesis.path("out/thesis.pdf").read_bytes() == first
    assert built(thesis, "SOURCE_DATE_EPOCH=1700000000") == {"out/thesis.pdf"}
    assert b"D:20231114" in thesis.path("out/thesis.pdf").read_bytes()


def test_a_document_with_a_mistake_says_where(thesis: Story) -> None:
    thesis.edit("thesis/chapters/two.tex", "An end", r"An \nd")
    failed = thesis.bflow("build", ok=1).err
    assert "thesis/chapters/two.tex:2: Undefined control sequence." in failed
    assert "not declared" not in failed  # LaTeX's own files are no news
    thesis.edit("thesis/chapters/two.tex", r"An \nd", r"An end, as \cite{nobody} says")
    assert built(thesis) == {"out/thesis.pdf"}
    assert "Citation `nobody' on page" in thesis.bflow("log", "out/thesis.pdf").out


def test_documents_in_the_root_and_below(story: Story) -> None:
    need("latex")
    story.write(
        "Flowfile",
        """
        include <latex.flow>
        all: out/letter.pdf "out/my notes/first one.pdf"
        """,
    )
    story.write("shared.tex", "Yours")
    for name in ("letter.tex", "my notes/first one.tex"):
        story.write(name, "\\documentclass{article}\n\\begin{document}\n\\input{shared}\n\\end{document}\n")
    both = {"out/letter.pdf", "out/my notes/first one.pdf"}
    assert built(story) == both
    assert built(story) == set()
    story.write("shared.tex", "Sincerely")
    assert built(story) == both
