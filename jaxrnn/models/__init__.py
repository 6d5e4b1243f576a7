"""Models as classes, and the types that they return."""

from jaxrnn.models.bidirectional import BidirectionalCarry
from jaxrnn.models.encoder_decoder import EncoderDecoder

__all__ = [
    "BidirectionalCarry",
    "EncoderDecoder",
]


def __dir__() -> list[str]:
    return __all__
