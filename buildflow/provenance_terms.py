"""The words that provenance is told in: the JSON-LD context, the names of things, and how values are written.

PROV-O's terms for what PROV has a term for, `bflow:` for the rest. The context is written into each document, so that
whoever reads one needs nothing from the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

URN = "urn:x-bflow"

CONTEXT: dict[str, Any] = {
    "prov": "http://www.w3.org/ns/prov#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "bflow": f"{URN}:terms:",
    **{
        f"prov:{name}": {"@type": "@id"}
        for name in ("used", "wasGeneratedBy", "wasDerivedFrom", "wasAssociatedWith", "wasInformedBy", "hadMember")
    },
    "prov:startedAtTime": {"@type": "xsd:dateTime"},
    "prov:endedAtTime": {"@type": "xsd:dateTime"},
    "bflow:entry": {"@type": "@id"},
}

AGENT = f"{URN}:bflow"

SOFTWARE: dict[str, Any] = {"@id": AGENT, "@type": ["prov:Agent", "prov:SoftwareAgent"], "rdfs:label": "bflow"}
"""bflow itself; which version made an entry is not on record."""

RUNTIME = ("wall_s", "rss_peak_gb", "vms_peak_gb", "cpu_peak_percent")
"""What is known of a job's resources, named as in `Result.runtime`: seconds, GB (1000³ bytes), % of one processor."""


def urn(kind: str, *parts: str) -> str:
    """The name of a thing; parts may hold anything."""
    return ":".join((URN, kind, *map(quoted, parts)))


def job_urn(step: str) -> str:
    """The name of the run that made an entry; `step`: `<kind>-<key>`."""
    return urn("job", step)


def quoted(text: str) -> str:
    """A text (of any bytes) as a part of a URI; slashes stay."""
    from urllib.parse import quote

    return quote(os.fsencode(text))


def shown(text: str) -> str:
    """A text without what is no UTF-8 in it: JSON has no way to say such bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def time_text(seconds: float) -> str:
    """Seconds since 1970 as xsd:dateTime, in UTC."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def runtime_of(runtime: Mapping[str, Any] | None) -> dict[str, float]:
    """What of a job's resources is known."""
    known = runtime or {}
    return {name: known[name] for name in RUNTIME if isinstance(known.get(name), (int, float))}
