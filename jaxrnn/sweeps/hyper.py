"""The hyperparameters of one member, the argument of a task's `build`."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from jaxrnn import checks


class Hyper(Mapping[str, Any]):
    """Hyperparameters by name, `hyper.lr` or `hyper["lr"]`; it records which of them were read.

    Example:
      >>> import jaxrnn
      >>> hyper = jaxrnn.Hyper(lr=0.01, hidden=32)
      >>> hyper.lr, hyper["hidden"]
      (0.01, 32)
    """

    def __init__(self, values: Mapping[str, Any] = MappingProxyType({}), /, **named: Any) -> None:
        checks.instance("values", values, Mapping)
        self._values = {**values, **named}
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        if name not in self._values:
            raise KeyError(self._missing(name))
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self.read.add(name)
        if name not in self._values:
            raise AttributeError(self._missing(name))
        return self._values[name]

    def _missing(self, name: str) -> str:
        return f"space: expected a hyperparameter {name!r}, which build reads, got {sorted(self._values)}"

    def __iter__(self) -> Iterator[str]:
        self.read.update(self._values)
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Hyper({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"
