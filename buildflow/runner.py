"""The job's side of recipes that are no shell: `[python]` texts and functions. It is one file that needs nothing but
the standard library of Python 3.8 or later, so it can be copied to a cluster's node or into a container.

    python3 runner.py python JOB.json     run the recipe's text
    python3 runner.py call JOB.json       call a function

The warm process (`buildflow/workers/warm_server.py`) loads this file and calls `run` in its children.
It does not stage, check or commit anything: the driver did, or will. A job is one JSON file (ASCII, names that are no
UTF-8 as surrogate escapes); paths are as the recipe sees them, relative to the current folder or absolute:

    kind            "python" or "call" ("script" is for the recipe itself to read; nothing here runs it)
    inputs          [path]
    outputs         [path]; a folder's ends in /
    named           {label: path or [path]} of the inputs, order-only ones too
    named_outputs   {label: path or [path]} of the outputs
    wildcards       {name: value}
    names           {name: value or [value]}: the names that follow the wildcards, as the recipe sees them
    vars            {name: value}: the variables of the environment that the rule lists
    cpus mem gpus attempt depfile log     what the rule's holes of that name say; other keys do not reach the recipe
    returned        a file for "text", "bytes" or "json": how a function's value was written (optional)
    root_dirs       [path]: put in front of sys.path (for "python" behind the current folder)
  kind "python":
    text            the recipe
    file, line      the Flowfile and the line of the recipe's first line, for tracebacks
  kind "call":
    function        "module:name" or "module:Class.name", or null and
    pickle          the path of a function written by cloudpickle, and
    python          [major, minor] of the Python that wrote it

A recipe text runs as `__main__` with `job`, `inputs`, `outputs`, `out`, `wildcards` and all labels, wildcards, names
and vars as variables; values and paths are `str`. A function gets what its parameters name: the same, and `cpus mem
gpus attempt depfile log`; files are `pathlib.Path`. What it returns, unless None, is written to its one output. The
exit status is 0, what `sys.exit` says, or 1 after a traceback without this module's frames.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # (Python 3.8 has no list[Any] to inherit from)
    from collections.abc import Callable
    from typing import NoReturn

    AnyList = list[Any]
    AnyDict = dict[str, Any]
else:
    AnyList, AnyDict = list, dict

RESERVED = ("cpus", "mem", "gpus", "attempt", "depfile", "log")


class Wrong(Exception):
    """What is the user's to mend and needs no traceback."""


class Files(AnyList):
    """A list of paths; those that have a label are attributes (and `files["label"]`) too."""

    def __init__(self, paths: list[Any], labels: dict[str, Any]) -> None:
        super().__init__(paths)
        self.__dict__.update(labels)  # the instance's own come before list's methods: a label may be `index`

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.__dict__[key]
        return list.__getitem__(self, key)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(_unknown("nothing here is named", name, self.__dict__))

    def __reduce__(self) -> Any:  # this module is not importable where a worker process would unpickle it
        return list, (list(self),)


class Values(AnyDict):
    """A mapping with attribute access."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(_unknown("no value is named", name, self))

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _unknown(what: str, name: str, known: Any) -> str:
    return f"{what} {name!r} (known: {', '.join(sorted(known)) or 'none'})"


def values_of(job: dict[str, Any], path: Callable[[str], Any]) -> dict[str, Any]:
    """What a recipe can name; `path` makes a path's value."""

    def one_or_list(value: Any) -> Any:
        return path(value) if isinstance(value, str) else [path(p) for p in value]

    named = {label: one_or_list(p) for label, p in (job.get("named") or {}).items()}
    named_outputs = {label: one_or_list(p) for label, p in (job.get("named_outputs") or {}).items()}
    inputs = Files([path(p) for p in job.get("inputs") or []], named)
    outputs = Files([path(p) for p in job.get("outputs") or []], named_outputs)
    wildcards = Values(job.get("wildcards") or {})
    values = dict(job.get("vars") or {})
    for name, words in (job.get("names") or {}).items():
        values[name] = words if isinstance(words, str) else list(words)
    values.update(wildcards)
    values.update(named)
    values.update(named_outputs)
    reserved: dict[str, Any] = {name: job.get(name) for name in RESERVED}
    for name in ("depfile", "log"):
        if reserved[name] is not None:
            reserved[name] = path(reserved[name])
    values.update(reserved)
    values.update(inputs=inputs, outputs=outputs, wildcards=wildcards)
    values["out"] = outputs[0] if len(outputs) == 1 else list(outputs)

    import types

    values["job"] = types.SimpleNamespace(inputs=inputs, outputs=outputs, wildcards=wildcards, **reserved)
    return values


# ---- running one job


def load_job(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        job: dict[str, Any] = json.load(file)
    return job


def run(job: dict[str, Any]) -> int:
    """Run a job in this process, its output to the descriptors 1 and 2; the exit status. `SystemExit` passes."""
    for stream in (sys.stdout, sys.stderr):  # lines in the order in which they were printed; a name never fails
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        if job["kind"] == "python":
            run_python(job)
        elif job["kind"] == "call":
            run_call(job)
        else:
            raise Wrong(f"a job of kind {job['kind']!r} is not run by Python")
    except Wrong as error:
        print(f"bflow: {error}", file=sys.stderr)
        return 1
    except SystemExit:
        raise
    except BaseException as error:
        report(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def report(error: BaseException) -> None:
    """Print the traceback from the first frame that is the user's."""
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == report.__code__.co_filename:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def set_path(roots: list[str]) -> None:
    """The folders in front of sys.path, and this file's own folder (whose names are not the user's) out of it."""
    own = os.path.dirname(os.path.abspath(__file__))
    if sys.path and sys.path[0] == own:
        del sys.path[0]
    sys.path[:0] = [root for root in roots if root not in sys.path[: len(roots)]]
    from_source([root.rstrip("/") for root in roots])


_from_source: set[str] = set()


def from_source(roots: list[str]) -> None:
    """Import what is below these folders from its source: bytecode beside it goes by whole seconds and sizes, and may
    be that of a text from before a quick edit."""
    if _from_source.issuperset(roots):
        return
    from importlib import machinery

    class Loader(machinery.SourceFileLoader):
        def path_stats(self, path: Any) -> NoReturn:
            raise OSError("bytecode is not asked for")

    kinds = (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES), (Loader, machinery.SOURCE_SUFFIXES)
    finder = machinery.FileFinder.path_hook(*kinds, (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES))

    def below(path: str) -> bool:
        return "site-packages" not in path and any((path + "/").startswith(root + "/") for root in roots)

    def hook(path: str) -> Any:
        if below(path):
            return finder(path)
        raise ImportError("not of the project")

    _from_source.update(roots)
    sys.path_hooks.insert(0, hook)
    for path in [path for path in sys.path_importer_cache if below(path)]:
        del sys.path_importer_cache[path]


def forget_source() -> None:
    """The roots of `from_source` are as others again (its hook is the caller's to take out of sys.path_hooks)."""
    below = tuple(f"{root}/" for root in _from_source)
    for path in [path for path in sys.path_importer_cache if below and (path + "/").startswith(below)]:
        del sys.path_importer_cache[path]
    _from_source.clear()


def run_python(job: dict[str, Any]) -> None:
    import linecache
    import types

    here = os.getcwd()
    set_path([here] + [os.path.join(here, root) for root in job.get("root_dirs") or []])
    sys.argv = [job.get("file") or "<recipe>"]
    text = "\n" * ((job.get("line") or 1) - 1) + job["text"] + "\n"
    lines = [line + "\n" for line in text.split("\n")]
    linecache.cache[sys.argv[0]] = (len(text), None, lines, sys.argv[0])  # the Flowfile itself is not in the sandbox
    module = types.ModuleType("__main__")  # so that what the text defines can be pickled (multiprocessing)
    values = values_of(job, str)
    module.__dict__.update((name, value) for name, value in values.items() if name not in RESERVED)
    module.__dict__["__builtins__"] = __builtins__
    code = compile(text, sys.argv[0], "exec", dont_inherit=True)
    run_python.main = sys.modules["__main__"]  # type: ignore[attr-defined]  # kept alive: it is this module
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


def run_call(job: dict[str, Any]) -> None:
    from pathlib import Path

    here = os.getcwd()
    set_path([os.path.join(here, root) for root in job.get("root_dirs") or []])
    function, name = find_function(job)
    arguments, keywords = bind(function, name, values_of(job, Path))
    result = function(*arguments, **keywords)
    if result is not None:
        deliver(result, name, job.get("outputs") or [], here, job.get("returned"))


def find_function(job: dict[str, Any]) -> Any:
    """The function of the job and its name for messages."""
    if job.get("function"):
        module_name, _, qualname = job["function"].partition(":")
        __import__(module_name)  # (import_module would leave its frames in the traceback)
        found: Any = sys.modules[module_name]
        for part in qualname.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise Wrong(f"the module {module_name!r} has no {qualname!r}") from None
        if not callable(found):
            raise Wrong(f"{job['function']} is no function")
        return found, qualname + "()"
    wrote, have = list(job.get("python") or sys.version_info[:2]), list(sys.version_info[:2])
    if wrote != have:
        raise Wrong(
            f"the function was sent from Python {wrote[0]}.{wrote[1]}, and here runs Python {have[0]}.{have[1]} "
            f"({sys.executable}): put it in a module of the project, or use the same minor version"
        )
    import pickle

    try:
        __import__("cloudpickle")
    except ImportError:  # a copy of it lies beside this file
        sys.path.append(os.path.dirname(os.path.abspath(__file__)))
        __import__("cloudpickle")
        del sys.path[-1]
    with open(job["pickle"], "rb") as file:
        found = pickle.load(file)
    return found, getattr(found, "__qualname__", repr(found)) + "()"


def bind(function: Any, name: str, values: dict[str, Any]) -> Any:
    """The arguments that a function's parameters name: (positional, keywords)."""
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise Wrong(f"{name} does not tell its parameters") from None
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in values and parameter.default is parameter.empty:
            raise Wrong(_unknown(f"a parameter of {name} names nothing known:", parameter.name, values))
        if parameter.kind is parameter.POSITIONAL_ONLY:
            arguments.append(values.get(parameter.name, parameter.default))
        elif parameter.name in values:
            keywords[parameter.name] = values[parameter.name]
    return arguments, keywords


def deliver(result: Any, name: str, outputs: list[str], here: str, note: str | None = None) -> None:
    """Write a function's value to its one output; `here`: where the job began, since the function may have moved.
    `note`: a file that is to hold how it was written: text, bytes or json."""
    import inspect

    if inspect.iscoroutine(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        kind = "coroutine (it is `async def`)" if inspect.iscoroutine(result) else "generator (it has a `yield`)"
        if hasattr(result, "close"):
            result.close()
        raise Wrong(f"{name} gave a {kind}, which nothing runs: let it return a value")
    if len(outputs) != 1:
        raise Wrong(f"{name} returned a value, and its rule has {len(outputs)} outputs: let it write them itself")
    if outputs[0].endswith("/"):
        raise Wrong(f"{name} returned a value, and its output {outputs[0]} is a folder: let it write files there")
    try:
        if isinstance(result, (bytes, bytearray, memoryview)):
            how, content = "bytes", bytes(result)
        elif isinstance(result, str):
            how, content = "text", str.encode(result, "utf-8", "surrogateescape")
        else:
            _check_keys(result, ())
            how, content = "json", json.dumps(result, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        kind = type(result).__name__
        raise Wrong(
            f"{name} returned a {kind} that cannot be written: {error} (text and bytes are written as they are, "
            f"anything else as JSON; a function that wrote {outputs[0]} itself returns nothing)"
        ) from None
    with open(os.path.join(here, outputs[0]), "wb") as file:
        file.write(content)
    if note is not None:
        try:
            with open(note, "w", encoding="ascii") as told:
                told.write(how)
        except OSError:
            pass  # a file that reads as JSON will be taken for that


def _check_keys(value: Any, above: Any) -> None:
    """JSON's keys are text: 1 and "1" in one mapping would become one."""
    if id(value) in above:
        return  # json.dumps tells of the circle
    if isinstance(value, dict):
        texts = [k if isinstance(k, str) else json.dumps(k) for k in value]
        if len(set(texts)) != len(texts):
            raise ValueError("two of its keys are the same in JSON")
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_keys(item, above + (id(value),))


def main(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] in ("python", "call"):
        return run(dict(load_job(arguments[1]), kind=arguments[0]))
    print("usage: runner.py python|call JOB.json", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
