"""Loops that feed a model's outputs back to it, and searches for the best output."""

from jaxrnn.decoding.beams import Beams, beam_search
from jaxrnn.decoding.closed_loop import rollout
from jaxrnn.decoding.ctc_beams import CTCBeam, ctc_beam
from jaxrnn.decoding.ctc_best_path import ctc_greedy
from jaxrnn.decoding.distance import edit_distance
from jaxrnn.decoding.generation import generate
from jaxrnn.decoding.sampling import scheduled_sampling

__all__ = [
    "Beams",
    "CTCBeam",
    "beam_search",
    "ctc_beam",
    "ctc_greedy",
    "edit_distance",
    "generate",
    "rollout",
    "scheduled_sampling",
]


def __dir__() -> list[str]:
    return __all__
