"""Classes of plain fields, as `dataclasses` has them: that module takes longer to import than an edit is planned.

    class Point(Record, frozen=True):
        x: int
        y: int = 0
        names: list[str] = field(factory=list)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from typing_extensions import dataclass_transform

    T = TypeVar("T")
    R = TypeVar("R", bound="Record")

    def field(*, factory: Callable[[], T]) -> T: ...

else:

    class field:
        """A default that is made anew for each instance."""

        def __init__(self, *, factory):
            self.factory = factory

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(field_specifiers=(field,))
class Record:
    """The annotated names of a subclass are its fields, in order, by position or name. Two are equal where all fields
    are; those of a `frozen` class have a hash, and are not to be changed."""

    if TYPE_CHECKING:

        def __init_subclass__(cls, *, frozen: bool = False) -> None: ...

    else:

        def __init_subclass__(cls, *, frozen=False):
            inherited = getattr(cls, "_fields", ())
            own = [name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar")]
            cls._fields = (*inherited, *own)
            cls._defaults = {**getattr(cls, "_defaults", {})}
            cls._factories = [*getattr(cls, "_factories", ())]
            for name in own:
                value = cls.__dict__.get(name, cls)
                if isinstance(value, field):
                    cls._factories.append((name, value.factory))
                    delattr(cls, name)
                elif value is not cls:
                    cls._defaults[name] = value
            if frozen:
                cls.__hash__ = lambda self: hash(tuple([getattr(self, name) for name in self._fields]))

        def __init__(self, *values, **named):
            state = self.__dict__
            state.update(self._defaults)
            if self._factories:
                given = self._fields[: len(values)]
                for name, factory in self._factories:
                    if name not in named and name not in given:
                        state[name] = factory()
            if values:
                state.update(zip(self._fields, values))
            state.update(named)
            if len(state) != len(self._fields) or len(values) > len(self._fields):
                wrong = sorted({*self._fields} ^ {*state}) or ["too many values"]
                raise TypeError(f"{type(self).__name__}: {', '.join(wrong)}")

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__


def replace(record: R, **changes: Any) -> R:
    """A copy of a record with some fields changed."""
    return type(record)(**{**record.__dict__, **changes})
