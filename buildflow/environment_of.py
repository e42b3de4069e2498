"""Which environment each job of a build runs in, and what is asked of environments in the course of a build.

The run's own (`--env`) goes before the table `[env]` of the settings, that before the rule's `env`, that before
`--default-env`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from buildflow.environments.base import Environment, Site, base_variables
from buildflow.environments.registry import check_name, environment
from buildflow.errors import FlowError

if TYPE_CHECKING:
    from buildflow.cache import Cache
    from buildflow.disk import Disk
    from buildflow.events import Stream
    from buildflow.job import Job
    from buildflow.reads import Reads
    from buildflow.rule import Rule
    from buildflow.state import State


class Environments:
    """Those of one build. `env`: that of every job; `default`: of jobs that have none."""

    def __init__(
        self, reads: Reads, disk: Disk, state: State, cache: Cache, *, env: str | None, default: str | None
    ) -> None:  # fmt: skip
        self.reads = reads
        self.env = env
        self.default = default
        self.site = Site(
            root=disk.root, folder=f"{disk.root}/.bflow", cache_root=cache.root, readonly=cache.roots[1:],
            variable=reads.variable, digest=disk.digest, writes=state.writable,
            recall=state.misc.get, remember=lambda name, value: _remember(state, name, value),
        )  # fmt: skip
        self._table: list[tuple[str, str, re.Pattern[str] | None]] = []
        self._own: Environment | None = None
        self._known: dict[str, Environment] = {}
        self._identities: dict[Environment, str] = {}
        self._bases: dict[Environment, dict[str, str]] = {}
        self._checked: set[Environment] = set()
        self._prepared: set[Environment] = set()

    def settle(self, chosen: Mapping[str, Any]) -> None:
        """Take what the settings say."""
        settings = dict(chosen.get("environments") or {})
        if chosen.get("container"):
            settings["container"] = chosen["container"]
        self.site.settings = settings
        for key, value in (chosen.get("env_of") or {}).items():
            try:
                check_name(value)
            except FlowError as error:
                raise FlowError(f"[env] {key} = {value}: {error.message}", None, error.hint) from None
        self._table = [(key, value, _pattern(key)) for key, value in (chosen.get("env_of") or {}).items()]

    @property
    def one_a_rule(self) -> bool:
        """Whether all jobs of a rule run in one environment, unless its `env` has holes."""
        return not self._table

    @contextlib.contextmanager
    def serving(self, chosen: Mapping[str, Any], stream: Stream) -> Iterator[None]:
        """For one build: with what the settings say, and whom to tell. What was kept for it is ended at its end."""
        self.settle(chosen)
        self.site.say = lambda text: stream.emit("note", text=text)
        try:
            yield
        finally:
            self.site.close()

    def use(self, environment: Environment) -> None:
        """Run every job in this environment, whatever rules and settings say."""
        environment.attach(self.site)
        self._own = environment

    def of(self, rule: Rule, job: Job) -> Environment:
        """The environment of a job; whether it can be had is not asked. Raises FlowError for an unknown one."""
        if self._own is not None:
            return self._own
        text = self.env or (self._of_table(rule, job) if self._table else None)
        span = None
        if text is None:
            text = job.attribute("env")
            if text:
                span = rule.attributes["env"].span
            else:
                text = self.default or "native"
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = environment(text, self.site.root, span)
            found.attach(self.site)
        return found

    def _of_table(self, rule: Rule, job: Job) -> str | None:
        """What the table says of a job: an exact name goes before a pattern; of several patterns the last counts."""
        names = {rule.name, *job.outputs, *(word.text for word in rule.targets)}
        found: str | None = None
        for key, value, pattern in self._table:
            if key in names:
                return value
            if pattern is not None and any(pattern.fullmatch(name) for name in job.outputs):
                found = value
        return found

    def check(self, rule: Rule, job: Job) -> None:
        """Raises FlowError, at the rule's `env`, where the environment of a planned job cannot be had."""
        found = self.of(rule, job)
        if found not in self._checked:
            with self._placed(rule):
                found.check()
            self._checked.add(found)

    @contextlib.contextmanager
    def _placed(self, rule: Rule) -> Iterator[None]:
        """An error within is at the rule's `env`, where that is what named the environment."""
        try:
            yield
        except FlowError as error:
            attribute = rule.attributes.get("env")
            if self._own is None and not self.env and attribute is not None:
                error.span = error.span or attribute.span
            raise

    def prepare(self, rule: Rule, found: Environment) -> None:
        """Before a job runs in an environment, for the first of a build: see to it that it can."""
        if found not in self._prepared:
            with self._placed(rule):
                found.prepare()
            self._prepared.add(found)
            self._bases.pop(found, None)  # what it starts with may be known only now

    def identity(self, found: Environment) -> str:
        """What stands in the key; what it was read from is remembered."""
        known = self._identities.get(found)
        if known is None:
            known = self._identities[found] = found.identity()
            for name in found.read():
                if os.path.isdir(name):
                    self.reads.folder(name)
                elif os.path.exists(name):
                    self.reads.file(name)
                else:
                    self.reads.missing(name)
            images = getattr(found, "images", None)
            if images is not None:
                self.reads.images.update(images())
            if found.volatile:
                self.reads.volatile = True
        return known

    def base(self, found: Environment) -> dict[str, str]:
        """The variables that jobs start with."""
        known = self._bases.get(found)
        if known is None:
            known = self._bases[found] = found.variables(base_variables(self.reads.environ))
        return known


def _remember(state: State, name: str, value: Any) -> None:
    if state.misc.get(name) != value:
        state.put("misc", name, value)


def _pattern(key: str) -> re.Pattern[str] | None:
    """A key of the table with `*`, `**` or `?` in it, or a target's pattern with `{names}`, as an expression."""
    if not any(c in key for c in "*?{"):
        return None
    parts = re.split(r"(\*\*/?|\*|\?|\{\w+\})", key)
    kinds = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(
        kinds.get(part) or (".+" if part.startswith("{") and part.endswith("}") else re.escape(part)) for part in parts
    ))  # fmt: skip
