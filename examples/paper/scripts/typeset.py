"""typeset.py html|tex TEXT FITS… [FIGURES…]: a text with headings, paragraphs, *emphasis* and ![pictures](by name).

A number is written {cup.key} and comes from the fit of that cup (FITS: *.json). A web page holds its figures (*.svg); for
LaTeX they are named, without their suffix.
"""

import html
import json
import re
import sys
from pathlib import Path

TEX = {"°": r"$^\circ$", "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#"}
HEAD = {
    "html": '<!doctype html>\n<meta charset="utf-8">\n<title>{title}</title>\n'
    "<style>body {{ max-width: 40em; margin: auto; font-family: serif }} figure {{ text-align: center }}</style>\n",
    "tex": "\\documentclass{{article}}\n\\usepackage{{graphicx}}\n\\title{{{title}}}\n\\author{{}}\\date{{}}\n"
    "\\begin{{document}}\n\\maketitle\n",
}
FORMS = {
    "html": ("<h2>{}</h2>", "<p>{}</p>", r"<em>\1</em>", "<figure>{picture}<figcaption>{caption}</figcaption></figure>"),
    "tex": (
        "\\section{{{}}}",
        "{}",
        r"\\emph{\1}",
        "\\begin{{figure}}[ht]\\centering\\includegraphics{{figures/{name}}}\\caption{{{caption}}}\\end{{figure}}",
    ),
}


def inline(kind: str, text: str) -> str:
    """A piece of text: what the language needs escaped, and emphasis."""
    escaped = html.escape(text) if kind == "html" else "".join(TEX.get(c, c) for c in text)
    return re.sub(r"\*([^*]+)\*", FORMS[kind][2], escaped)


def main(kind: str, text: Path, *files: Path) -> None:
    fits = {path.stem: json.loads(path.read_text()) for path in files if path.suffix == ".json"}
    pictures = {path.stem: path.read_text() for path in files if path.suffix == ".svg"}
    filled = re.sub(r"\{(\w+)\.(\w+)\}", lambda hole: f"{fits[hole[1]][hole[2]]:g}", text.read_text())
    heading, paragraph, _, figure = FORMS[kind]
    for block in filled.strip().split("\n\n"):
        if block.startswith("# "):
            title = inline(kind, block[2:])
            print(HEAD[kind].format(title=title) + (f"<h1>{title}</h1>" if kind == "html" else ""))
        elif block.startswith("## "):
            print(heading.format(inline(kind, block[3:])))
        elif picture := re.fullmatch(r"!\[(.*)\]\((\w+)\)", block, re.DOTALL):
            name = picture[2]
            print(figure.format(name=name, caption=inline(kind, picture[1]), picture=pictures.get(name, "")))
        else:
            print(paragraph.format(inline(kind, block)) + "\n")
    if kind == "tex":
        print("\\end{document}")


main(sys.argv[1], *map(Path, sys.argv[2:]))
