"""The chains as a Pydra workflow (0.2x): `pydra_chains.py WORKER N` in the tree. What it makes stays in .pydra."""

import sys
from pathlib import Path

from pydra import ShellCommandTask, Submitter, Workflow  # type: ignore[import-not-found]
from pydra.engine.specs import File, ShellSpec, SpecInfo  # type: ignore[import-not-found]

source = {"argstr": "", "position": 1, "help_string": "what is copied", "mandatory": True}
target = {"argstr": "", "position": 2, "help_string": "the copy", "output_file_template": "{source}_copy"}
copying = SpecInfo(name="Copying", fields=[("source", File, source), ("target", str, target)], bases=(ShellSpec,))


def main() -> None:
    here = Path.cwd()
    flow = Workflow(name="chains", input_spec=["source"], cache_dir=here / ".pydra")
    flow.split("source", source=sorted(str(path) for path in here.glob("src/*")))
    flow.add(ShellCommandTask(name="mid", executable="cp", input_spec=copying, source=flow.lzin.source))
    flow.add(ShellCommandTask(name="out", executable="cp", input_spec=copying, source=flow.mid.lzout.target))
    flow.set_output([("copy", flow.out.lzout.target)])
    worker, count = sys.argv[1:]
    with Submitter(plugin=worker, **({"n_procs": int(count)} if worker == "cf" else {})) as submitter:
        submitter(flow)
    if flow.result() is None:
        sys.exit("no result")


if __name__ == "__main__":
    main()
