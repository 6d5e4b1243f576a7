"""Other libraries: weights in and out of PyTorch, Keras, Equinox, Haiku and Flax, and jaxrnn's layers inside of Flax.

Each library is imported at its first use. The modules `nnx` and `linen` hold replacements for Flax's layers.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.interop import linen, nnx
    from jaxrnn.interop.equinox import from_equinox, to_equinox
    from jaxrnn.interop.haiku import from_haiku, to_haiku
    from jaxrnn.interop.keras import from_keras, to_keras
    from jaxrnn.interop.linen import from_linen, to_linen
    from jaxrnn.interop.nnx import from_nnx, to_nnx
    from jaxrnn.interop.torch import from_torch, to_torch

__all__ = [
    "from_equinox",
    "from_haiku",
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_torch",
    "linen",
    "nnx",
    "to_equinox",
    "to_haiku",
    "to_keras",
    "to_linen",
    "to_nnx",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'jaxrnn.interop' has no attribute {name!r}")
    library = name.partition("_")[2] or name
    try:
        module = importlib.import_module(f"jaxrnn.interop.{library}")
    except ImportError as error:
        if error.name is None or error.name.startswith("jaxrnn"):
            raise
        raise ImportError(f"jaxrnn.interop.{name} needs {error.name}: pip install {error.name}") from error
    return module if name == library else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
