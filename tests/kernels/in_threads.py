"""A Triton kernel's blocks as threads, which run at once, as blocks that wait for each other have to."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as backend

from jaxrnn.kernels import triton
from jaxrnn.kernels.specs import Time, in_specs, out_specs


class Ref:
    """What a block sees of an array: a view of it."""

    def __init__(self, array):
        self.array = array

    @property
    def shape(self):
        return self.array.shape

    @property
    def at(self):
        return At(self.array)

    def __getitem__(self, index):
        return jnp.asarray(self.array[plain(index)].copy())

    def __setitem__(self, index, x):
        self.array[plain(index)] = x


class At:
    """`ref.at[index]`."""

    def __init__(self, array):
        self.array = array

    def __getitem__(self, index):
        return Ref(self.array[plain(index)])


def plain(index):
    """An index of NumPy's."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(
        slice(int(p.start), int(p.start) + p.size)
        if isinstance(p, pl.Slice)
        else p
        if isinstance(p, slice | type(...))
        else int(p)
        for p in parts
    )


def block_of(array, spec, at):
    """The view that a specification says."""
    starts = spec.index_map(*at)
    index = tuple(
        int(i) if size is None else slice(int(i) * size, int(i) * size + size)
        for i, size in zip(starts, spec.block_shape, strict=True)
    )
    return Ref(array[index])


def run(blocks, monkeypatch, seed=0, without=None):
    """The results of `triton.run`, and how often blocks looked whether the others were there.

    Each block is delayed, now and then, by chance, and one may not run at all.
    """
    looks = []
    place, lock = threading.local(), threading.Lock()
    delays = np.random.default_rng(seed)

    def atomic_add(ref, index, value):
        if delays.random() < 0.3:
            time.sleep(0.003)
        with lock:
            before = int(ref.array[plain(index)])
            ref.array[plain(index)] += int(value)
        return before

    def atomic_max(ref, index, value):
        looks.append(place.at)
        with lock:
            before = int(ref.array[plain(index)])
            ref.array[plain(index)] = max(before, int(value))
        return before

    def fori_loop(start, stop, body, state):
        for i in range(start, stop):
            state = body(jnp.int32(i), state)
        return state

    def while_loop(goes_on, body, state):
        end = time.monotonic() + 30
        while goes_on(state):
            state = body(state)
            assert time.monotonic() < end, "blocks wait for each other for ever"
        return state

    def call(blocks, kernel, memory, interpret):
        arrays = [np.array(x) for x in blocks.parts.listed]
        outs = [np.full(x.shape, np.nan if x.dtype != bool else False, x.dtype) for x in blocks.out_shapes]
        for read, written in blocks.aliases.items():
            outs[written] = arrays[read]
        everywhere = [Ref(np.full(x.shape, np.nan if k else 0, x.dtype)) for k, x in enumerate(memory)]
        specs = [*in_specs(blocks, Time(blocks.T)), *out_specs(blocks, Time(blocks.T))]
        failures = []

        def block(at):
            place.at = at
            try:
                kernel(*(block_of(x, s, at) for x, s in zip([*arrays, *outs], specs, strict=True)), *everywhere)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=block, args=(at,)) for at in np.ndindex(*blocks.grid) if at != without]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return [jnp.asarray(x) for x in outs]

    with monkeypatch.context() as patched:
        patched.setattr(triton, "_call", call)
        patched.setattr(pl, "program_id", lambda axis: jnp.int32(place.at[axis]))
        patched.setattr(pl, "num_programs", lambda axis: jnp.int32(blocks.grid[axis]))
        patched.setattr(backend, "debug_barrier", lambda: None)
        patched.setattr(backend, "atomic_add", atomic_add)
        patched.setattr(backend, "atomic_max", atomic_max)
        patched.setattr(backend, "load", lambda ref, volatile: jnp.asarray(ref.array.copy()))
        patched.setattr(jax.lax, "fori_loop", fori_loop)
        patched.setattr(jax.lax, "while_loop", while_loop)
        return triton.run(blocks, interpret=False), len(looks)
