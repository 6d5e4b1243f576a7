"""Attention in plain NumPy, one query at a time."""

import numpy as np


def additive_scores(p, query, memory):
    """query [Q], memory [S, M]: [S]."""
    return np.array([(np.tanh(query @ p["w_q"] + m @ p["w_m"] + p["b"]) @ p["v"])[0] for m in memory])


def dot_scores(p, query, memory):
    return np.array([query @ (m @ p["w"] if "w" in p else m) for m in memory])


def attend(scores, p, query, memory):
    """(context [M], weights [S]) of a memory without padding; zeros if it has no step."""
    if not len(memory):
        return np.zeros(memory.shape[1]), np.zeros(0)
    e = scores(p, query, memory)
    weights = np.exp(e - e.max())
    weights /= weights.sum()
    return weights @ memory, weights
