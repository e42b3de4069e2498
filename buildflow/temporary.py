"""`[temp]` outputs: they stay in the cache, and only as long as the build needs them.

What is known of one stays, so nothing is stale; it is made again only where a job must read it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildflow.cache import Entry, read_entry, write_result
from buildflow.files import remove_tree
from buildflow.job import Job
from buildflow.schedule import DONE

if TYPE_CHECKING:
    from buildflow.build import Build


class Temporaries:
    """Which outputs of one build are temporary, where they stand, and who still reads them."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.plan = build.plan
        self._of_job: dict[int, frozenset[str]] = {}
        self._asked: set[str] | None = None
        self._readers: dict[int, set[int]] = {}  # temporary output → jobs that are not done and read it
        self._reads: dict[int, tuple[int, ...]] = {}
        self._indexed = -1

    def asked(self, name: str) -> bool:
        """Whether a path was asked for by name, or is read by a function."""
        if self._asked is None:
            plan = self.plan
            self._asked = {plan.paths[f] for text, files, _ in plan.goals for f in files if plan.paths[f] == text}
        return (
            name in self._asked
            or any(name in paths for paths in self.build.resolver.deferred.values())
            or any(name in paths for _, _, paths in self.build.resolver.open_goals)
        )

    def stays_in_cache(self, job: Job, name: str) -> bool:
        attribute = job.rule.attributes.get("temp")
        if attribute is None:
            return False
        names = self._of_job.get(job.number)
        if names is None:
            if attribute.text is None:
                names = frozenset(job.outputs)
            else:
                labels = job.named_outputs
                found: set[str] = set()
                for word in job.words(attribute):
                    if word in labels:
                        found.update(labels[word])
                    elif word in job.outputs:
                        found.add(word)
                    elif word.lower() in ("yes", "true", "1"):
                        found.update(job.outputs)
                    elif word.lower() not in ("no", "false", "0"):
                        from buildflow.errors import FlowError

                        raise FlowError(f"temp = {word}: the rule has no output of that name", attribute.span)
                names = frozenset(found)
            self._of_job[job.number] = names
        return name in names and not self.asked(name)

    def known(self, job: Job, key: bytes, entry: Entry | None) -> None:
        """A job is done: where its temporary outputs stand, if they do."""
        for i, f in enumerate(self.plan.outputs[job.number]):
            if self.stays_in_cache(job, self.plan.paths[f]):
                if entry is not None and not entry.outputs[i].get("temp_gone"):
                    self.stands(f, entry.file(entry.outputs[i]))

    def stands(self, f: int, path: str) -> None:
        name = self.plan.paths[f]
        self.build.decider.places[f] = path + ("/" if name.endswith("/") else "")
        self.build.resolver.world.where[name] = path

    def unplaced(self) -> set[int]:
        """The numbers of the outputs that stay in the cache."""
        rules = self.build.resolver.builder.rules
        found: set[int] = set()
        for number in range(len(self.plan.rule)):
            if "temp" in rules[self.plan.rule[number]].attributes:
                job = self.build.decider.job(number)
                found.update(
                    f for f in self.plan.outputs[number] if self.stays_in_cache(job, self.plan.paths[f])
                )
        return found

    def missing(self, job: Job) -> bool:
        """Whether a job must wait for a temporary input to be made again; it is queued then."""
        build = self.build
        waits = False
        for f in (*job.input_ids, *job.after_ids, *job.extra_ids):
            folder = self.plan.within.get(f, f)
            maker = self.plan.maker[folder]
            if maker < 0 or build.schedule.status[maker] != DONE:
                continue
            other = build.decider.job(maker)
            if other.rule.inplace or not self.stays_in_cache(other, self.plan.paths[folder]):
                continue
            place = build.decider.places.get(folder)
            if place is not None and os.path.exists(place.rstrip("/")):
                continue
            key = build.decider.keys.get(maker)
            if key is None:
                continue  # of a dry run: it would be made anyway
            entry = build.decider.entry(other, key)
            index = self.plan.outputs[maker].index(folder)
            if entry is not None:
                self.stands(folder, entry.file(entry.outputs[index]))
                continue
            self._make_again(maker)
            build.schedule.wait_for(job.number, maker)
            waits = True
        return waits

    def _make_again(self, maker: int) -> None:
        build = self.build
        if maker in build.lookup.forced and build.schedule.status[maker] != DONE:
            return
        state = build.summary.states.get(maker)
        if state in ("up_to_date", "cached"):
            setattr(build.summary, state, getattr(build.summary, state) - 1)
        build.lookup.forced.add(maker)
        build.lookup.ran_first.clear()  # it may have run in this build: what it made is gone all the same
        build.schedule.again(maker, urgent=True)

    def finished(self, number: int) -> None:
        """A job is done: the temporaries that nobody else of this build still reads are removed."""
        if len(self.plan.rule) != self._indexed:
            self._index()
        for f in self._reads.get(number, ()):
            readers = self._readers[f]
            readers.discard(number)
            if not readers:
                self._remove(f, self.plan.maker[f])

    def _index(self) -> None:
        """Who reads which temporary output; made anew when a dynamic plan has grown."""
        plan = self.plan
        self._indexed = len(plan.rule)
        self._reads = {}
        self._readers = {}
        temporary = self.unplaced()
        if not temporary:
            return
        for job in range(len(plan.rule)):
            found = {plan.within.get(f, f) for f in plan.inputs[job] + plan.after[job] + plan.extra[job]} & temporary
            if found:
                self._reads[job] = tuple(found)
                if self.build.schedule.status[job] != DONE:
                    for f in found:
                        self._readers.setdefault(f, set()).add(job)
        for reads in self._reads.values():
            for f in reads:
                self._readers.setdefault(f, set())

    def _remove(self, f: int, maker: int) -> None:
        place = self.build.decider.places.pop(f, None)
        key = self.build.decider.keys.get(maker)
        if place is None or key is None:
            return
        other = self.build.decider.job(maker)
        entry = read_entry(self.build.cache.path_of(other.kind, key))
        if entry is None or not place.startswith(entry.path + "/"):
            return
        index = self.plan.outputs[maker].index(f)
        entry.outputs[index]["temp_gone"] = True
        write_result(entry.path, entry.result)
        remove_tree(place.rstrip("/"))

    def mend(self, f: int) -> bool:
        """Restore a built input that a job has written into, from its entry. Where the two were one file the entry is
        dropped, and the job that makes it is queued again: whether that is so."""
        build = self.build
        folder = self.plan.within.get(f, f)
        maker = self.plan.maker[folder]
        key = build.decider.keys.get(maker)
        name = self.plan.paths[folder]
        if key is None:
            return False
        other = build.decider.job(maker)
        entry = build.decider.entry(other, key)
        if entry is None:
            build.cache.discard(build.cache.path_of(other.kind, key))
            build.state.drop("results", key)
            build.decider.places.pop(folder, None)
            self._make_again(maker)
            return True
        index = self.plan.outputs[maker].index(folder)
        digest = entry.digests()[index]
        if not self.stays_in_cache(other, name) and not build.decider.stands(name, digest, key):
            build.workspace.put(entry.file(entry.outputs[index]), name, digest, key)
        return False
