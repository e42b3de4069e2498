"""The files that a job needs where it runs, and that no installed buildflow is needed for: `.bflow/node/<digest>/`.

`runner.py` for `[python]` recipes and functions, cloudpickle where a function travels by it. A folder is made once by
one rename and never changed.
"""

from __future__ import annotations

import os

from buildflow.files import remove_tree


class NodeFiles:
    """Copies of files of this package (and of cloudpickle) below `folder`, the project's `.bflow`."""

    def __init__(self, folder: str) -> None:
        self.folder = f"{folder}/node"
        self._made: dict[tuple[str, ...], str] = {}

    def runner(self, *, pickled: bool = False) -> str:
        """The path of `runner.py`; `pickled`: with cloudpickle beside it."""
        return self.path("runner.py", pickled=pickled)

    def path(self, name: str, *, pickled: bool = False) -> str:
        """The path of a copy of a module of this package (`name` in it), in a folder that is named by the contents."""
        known = self._made.get((name, str(pickled)))
        if known is None:
            files = {name.rpartition("/")[2]: os.path.join(os.path.dirname(os.path.abspath(__file__)), name)}
            if pickled:
                import cloudpickle

                home = os.path.dirname(cloudpickle.__file__)
                files.update({f"cloudpickle/{n}": f"{home}/{n}" for n in os.listdir(home) if n.endswith(".py")})
            known = self._made[(name, str(pickled))] = f"{self._folder(files)}/{name.rpartition('/')[2]}"
        return known

    def _folder(self, files: dict[str, str]) -> str:
        """A folder with these files (name in it → path)."""
        from xxhash import xxh3_64_hexdigest

        contents: dict[str, bytes] = {}
        for name, path in sorted(files.items()):
            with open(path, "rb") as file:
                contents[name] = file.read()
        digest = xxh3_64_hexdigest(b"\0".join(name.encode() + b"\0" + text for name, text in contents.items()))
        target = f"{self.folder}/{digest}"
        if os.path.isdir(target):
            return target
        new = f"{self.folder}/.new.{os.getpid()}"
        remove_tree(new)
        for name, text in contents.items():
            os.makedirs(os.path.dirname(f"{new}/{name}"), exist_ok=True)
            with open(f"{new}/{name}", "wb") as file:
                file.write(text)
        try:
            os.rename(new, target)
        except OSError:
            remove_tree(new)
            if not os.path.isdir(target):
                raise
        return target
