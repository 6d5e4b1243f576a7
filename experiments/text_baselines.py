"""Prediction and compression of text without a network: bits per byte of a text, given another to learn from."""

import collections
import lzma
import math

SYMBOLS = 256


def witten_bell(train: bytes, test: bytes, order: int = 5) -> float:
    """Bits per byte under an n-gram model that looks back `order` bytes, all lengths of context interpolated.

    p(x | c) = (count(c x) + types(c) p(x | c without its first byte)) / (count(c) + types(c)), where types(c) is how
    many different bytes followed c; the shortest context backs off to the uniform distribution. Counts are those of
    `train`; the first bytes of `test` are seen after its last ones.

    References:
      Witten and Bell 1991, The zero-frequency problem, IEEE Transactions on Information Theory 37(4); in the form of
      Chen and Goodman 1999, Computer Speech and Language 13(4).
    """
    counts: dict[bytes, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for i, symbol in enumerate(train):
        for n in range(min(order, i) + 1):
            counts[train[i - n : i]][symbol] += 1
    seen = {context: (sum(found.values()), len(found)) for context, found in counts.items()}
    bits, text, start = 0.0, train + test, len(train)
    for i in range(start, len(text)):
        p = 1.0 / SYMBOLS
        for n in range(order + 1):
            context = text[i - n : i]
            if context not in seen:
                break
            total, types = seen[context]
            p = (counts[context][text[i]] + types * p) / (total + types)
        bits -= math.log2(p)
    return bits / len(test)


def xz(test: bytes, given: bytes = b"") -> float:
    """Bits per byte that xz needs for `test`; with `given`, the additional bits for both texts over `given` alone."""
    return 8 * (_packed(given + test) - (_packed(given) if given else 0)) / len(test)


def _packed(text: bytes) -> int:
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
