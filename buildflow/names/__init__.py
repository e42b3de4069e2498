"""Names and their domains: what `=`, `?=`, `+=`, `~` and joint assignments mean, and how a word expands.

A `Scope` holds the assignments of the Flowfile and its local includes, or those of one library file. A name is
*free* (no assignment), *finite* (it belongs to a `Relation`: a table of rows, of which a plain list is the one-column
case) or a *follower* (its value holds other names). Nothing is evaluated before it is used; what is read on the way is
read through the `World`, so that the plan knows what it depends on. This package knows neither rules nor files.
"""

from __future__ import annotations

from buildflow.names.definition import Circular, Definition, Follower, Pending, Unbound, World, holds_names
from buildflow.names.expand import NOTHING
from buildflow.names.parts import CallHole, Flat, GlobText, apply_attribute, pick
from buildflow.names.relation import Binding, Cell, Relation, Row, join
from buildflow.names.scope import RESERVED, Scope

__all__ = [
    "NOTHING", "RESERVED", "Binding", "CallHole", "Cell", "Circular", "Definition", "Flat", "Follower", "GlobText",
    "Pending", "Relation", "Row", "Scope", "Unbound", "World", "apply_attribute", "holds_names", "join", "pick",
]  # fmt: skip
