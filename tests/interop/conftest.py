import jax
import pytest


@pytest.fixture(autouse=True)
def _as_other_libraries_need_it():
    """Keras and Flax add biases to batches by rank promotion, and Haiku and Equinox mix dtypes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield
