"""Connectionist temporal classification by going through all alignments, in plain Python and NumPy."""

import itertools

import numpy as np


def log_softmax(ys):
    ys = np.asarray(ys, np.float64)
    top = ys.max(-1, keepdims=True)
    return ys - top - np.log(np.exp(ys - top).sum(-1, keepdims=True))


def collapse(alignment, blank):
    merged = [symbol for symbol, _ in itertools.groupby(alignment)]
    return tuple(symbol for symbol in merged if symbol != blank)


def labellings(ys, blank):
    """{labels: their probability} of one row's logits [T, O], and {labels: how probable class k is at step t then}."""
    log_p = log_softmax(ys)
    T, O = log_p.shape
    total, occupied = {}, {}
    for alignment in itertools.product(range(O), repeat=T):
        p = np.exp(log_p[np.arange(T), list(alignment)].sum()) if T else 1.0
        labels = collapse(alignment, blank)
        total[labels] = total.get(labels, 0.0) + p
        at = occupied.setdefault(labels, np.zeros((T, O)))
        at[np.arange(T), list(alignment)] += p
    return total, {labels: at / total[labels] for labels, at in occupied.items()}


def prefix_beam(ys, beam, blank, max_length):
    """Prefix beam search with a dict of strings: [(labels, log-probability), ...], the most probable first."""
    p = np.exp(log_softmax(ys))
    found = {(): (1.0, 0.0)}
    for t in range(len(p)):
        after = {}

        def add(labels, in_blank, in_label, after=after):
            b, n = after.get(labels, (0.0, 0.0))
            after[labels] = b + in_blank, n + in_label

        for labels, (b, n) in found.items():
            add(labels, (b + n) * p[t, blank], n * p[t, labels[-1]] if labels else 0.0)
            for c in set(range(p.shape[1])) - {blank}:
                grown = b if labels and labels[-1] == c else b + n
                if len(labels) < max_length and (grown > 0.0 or (*labels, c) in found):
                    add((*labels, c), 0.0, grown * p[t, c])
        found = dict(sorted(after.items(), key=lambda item: -sum(item[1]))[:beam])
    return [(labels, np.log(b + n)) for labels, (b, n) in found.items()]
