"""Plain NumPy, float64, one row and one step at a time: the oracle that the library is held against.

Written from the papers' equations. A step is a function (params, carry, x, noise) -> (carry, y) of vectors: x [D], the
carry a vector or a tuple of them, `noise` one step's Noise, or None in evaluation.
"""

from typing import Any, NamedTuple

import jax
import numpy as np


class Noise(NamedTuple):
    """One step's randomness for one row: the units that dropout keeps, the entries that zoneout holds, the rest."""

    dropout: Any = None
    zoneout: Any = None
    process: Any = None


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def relu(z):
    return np.maximum(z, 0.0)


def gate(w, k, H):
    """Block k of H columns."""
    return w[..., k * H : (k + 1) * H]


def dropped(h, rate, noise):
    """h as the recurrent product sees it: kept units are scaled by 1 / (1 - rate), which keeps the expectation."""
    if not rate or noise is None:
        return h
    return np.array([value / (1.0 - rate) if keep else 0.0 for value, keep in zip(h, noise.dropout, strict=True)])


def zoned(old, new, rate, held):
    """Held entries stay old; in evaluation (held is None) old and new are averaged by the rate."""
    if not rate:
        return new
    if held is None:
        return rate * old + (1.0 - rate) * new
    return np.array([a if keep else b for a, b, keep in zip(old, new, held, strict=True)])


def bias(params, name="b"):
    return params.get(name, 0.0)


# Cells.


def elman(activation=np.tanh, dropout=0.0, zoneout=0.0):
    def step(p, h, x, noise):
        new = activation(p["w_x"].T @ x + p["w_h"].T @ dropped(h, dropout, noise) + bias(p))
        new = zoned(h, new, zoneout, None if noise is None else noise.zoneout)
        return new, new

    return step


def heads(step):
    """A step of any of these cells, of heads: w_h [n, K, G*K] as the block-diagonal matrix of each gate."""

    def run(p, carry, x, noise):
        n, K, columns = p["w_h"].shape
        H, G = n * K, columns // K
        w_h = np.zeros((H, G * H))
        for i in range(n):
            for g in range(G):
                first = g * H + i * K
                w_h[i * K : (i + 1) * K, first : first + K] = gate(p["w_h"][i], g, K)
        return step(p | {"w_h": w_h}, carry, x, noise)

    return run


def layer_normalised(z, scale):
    centred = z - np.mean(z)
    return centred / np.sqrt(np.mean(centred**2) + 1e-5) * scale


def lstm(peephole=False, coupled=False, layer_norm=False, dropout=0.0, zoneout=(0.0, 0.0), projection=False):
    def step(p, carry, x, noise):
        h, c = carry
        H = len(c)
        names = "igo" if coupled else "ifgo"
        from_x, from_h = p["w_x"].T @ x, p["w_h"].T @ dropped(h, dropout, noise)
        if layer_norm:
            norm = p["norm"]
            from_x = layer_normalised(from_x, norm["scale_x"].reshape(-1))
            from_h = layer_normalised(from_h, norm["scale_h"].reshape(-1)) + norm["shift"].reshape(-1)
        total = from_x + from_h + bias(p)
        z = {name: gate(total, k, H) for k, name in enumerate(names)}
        if peephole:
            w_c = dict(zip(names.replace("g", ""), p["w_c"], strict=True))
            z["i"] = z["i"] + w_c["i"] * c
            if not coupled:
                z["f"] = z["f"] + w_c["f"] * c
        i = sigmoid(z["i"])
        f = 1.0 - i if coupled else sigmoid(z["f"])
        c_new = f * c + i * np.tanh(z["g"])
        if peephole:
            z["o"] = z["o"] + w_c["o"] * c_new
        c_out = c_new
        if layer_norm:
            c_out = layer_normalised(c_new, norm["scale_c"]) + norm["shift_c"]
        h_new = sigmoid(z["o"]) * np.tanh(c_out)
        if projection:
            h_new = p["w_p"].T @ h_new
        held = (None, None) if noise is None or noise.zoneout is None else noise.zoneout
        h_new, c_new = zoned(h, h_new, zoneout[0], held[0]), zoned(c, c_new, zoneout[1], held[1])
        return (h_new, c_new), h_new

    return step


def gru(reset_after=True, dropout=0.0, zoneout=0.0):
    def step(p, h, x, noise):
        H = len(h)
        seen = dropped(h, dropout, noise)
        w_x, w_h = ([gate(p[name], k, H).T for k in range(3)] for name in ("w_x", "w_h"))
        b, b_h = ([gate(np.broadcast_to(bias(p, name), 3 * H), k, H) for k in range(3)] for name in ("b", "b_h"))
        r = sigmoid(w_x[0] @ x + b[0] + w_h[0] @ seen + b_h[0])
        z = sigmoid(w_x[1] @ x + b[1] + w_h[1] @ seen + b_h[1])
        if reset_after:
            n = np.tanh(w_x[2] @ x + b[2] + r * (w_h[2] @ seen + b_h[2]))
        else:
            n = np.tanh(w_x[2] @ x + b[2] + w_h[2] @ (r * seen))
        new = zoned(h, (1.0 - z) * n + z * h, zoneout, None if noise is None else noise.zoneout)
        return new, new

    return step


def ctrnn(dt, tau, sigma=0.0, activation=relu):
    """Euler-Maruyama for tau dv = (-v + input) dt + sqrt(2 tau) sigma dW."""

    def step(p, v, x, noise):
        drive = p["w_x"].T @ x + bias(p) + p["w_h"].T @ activation(v)
        new = v + dt / tau * (drive - v)
        if noise is not None and sigma:
            new = new + np.sqrt(2.0 * dt / tau) * sigma * noise.process
        return new, activation(new)

    return step


def custom_gated(rate, sigma):
    """The cell of `tests.registry.custom_gated`: two gates, a carry of two parts, zh used apart from zx."""

    def step(p, carry, x, noise):
        fast, slow = carry
        H = len(fast)
        zx = p["w_x"].T @ x + p["b"]
        zh = p["w_h"].T @ (np.tanh(slow) + fast) + p["b_h"]
        keep = sigmoid(gate(zx, 0, H) + gate(zh, 0, H))
        fast = keep * fast + (1.0 - keep) * np.sin(gate(zx, 1, H)) * gate(zh, 1, H) * p["gain"]
        if noise is not None:
            fast = fast + sigma * noise.process
        slow = rate * slow + (1.0 - rate) * fast
        return (fast, slow), np.tanh(slow) + fast

    return step


def custom_plain(rate, sigma):
    """The cell of `tests.registry.custom_plain`: it counts its steps, and the count shows in the output."""

    def step(p, carry, x, noise):
        h, count = carry
        h = np.tanh(p["w"].T @ x + p["u"] * h + rate * np.cos(float(count)))
        if noise is not None:
            h = h + sigma * noise.process
        return (h, count + 1), h * (1.0 + float(count))

    return step


# Sequences.


def at(tree, *index):
    """The same entry of each array of a tree."""
    return jax.tree.map(lambda a: np.asarray(a)[index], tree)


def unroll_row(step, params, xs, carry, initial, length=None, resets=None, reverse=False, noise=None):
    """One row: xs [T, D]; `initial` is what a reset restores; noise is drawn by the order of reading."""
    T = len(xs)
    length = T if length is None else int(length)
    y_like = step(params, initial, np.zeros_like(xs[0]), None)[1]
    ys = np.zeros((T, *y_like.shape))
    for t in reversed(range(length)) if reverse else range(length):
        if resets is not None:
            starts = (t + 1 < length and resets[t + 1]) if reverse else resets[t]
            if starts:
                carry = initial
        read_at = T - 1 - t if reverse else t
        carry, ys[t] = step(params, carry, xs[t], None if noise is None else at(noise, read_at))
    return carry, ys


def unroll(step, params, xs, carry, initial, lengths=None, resets=None, reverse=False, noise=None):
    """xs [T, *batch_shape, D], one row after the other; `carry` has leaves [*batch_shape, ...], `initial` has not."""
    params, xs, noise = jax.tree.map(np.asarray, (params, xs, noise))
    carry = tuple(carry) if isinstance(carry, tuple) else carry  # a NamedTuple's names mean nothing to the steps
    batch_shape = xs.shape[1:-1]
    rows = {}
    for b in np.ndindex(batch_shape):
        rows[b] = unroll_row(
            step,
            params,
            xs[:, *b],
            at(carry, *b),
            initial,
            None if lengths is None else np.asarray(lengths)[b],
            None if resets is None else np.asarray(resets)[:, *b],
            reverse,
            at(noise, slice(None), *b) if noise is not None else None,
        )
    carries, outputs = zip(*rows.values(), strict=True)
    carry = jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*batch_shape, *np.shape(leaves[0])), *carries)
    ys = np.stack(outputs, 1)
    return carry, ys.reshape(len(xs), *batch_shape, *ys.shape[2:])


# Backpropagation through time by hand. In all three: dys [T, B, H] and d_final are the loss's derivatives with respect
# to the outputs and to the final carry; the result is (gradients of params, of xs, of the initial carry).


def elman_bptt(p, xs, h0, dys, d_final):
    hs = [h0]
    for x in xs:
        hs.append(np.tanh(x @ p["w_x"] + hs[-1] @ p["w_h"] + p["b"]))
    d_params, d_xs, d_h = {k: np.zeros_like(v) for k, v in p.items()}, np.zeros_like(xs), d_final
    for t in reversed(range(len(xs))):
        d_h = d_h + dys[t]
        d_z = d_h * (1.0 - hs[t + 1] ** 2)
        d_params["w_x"] += xs[t].T @ d_z
        d_params["w_h"] += hs[t].T @ d_z
        d_params["b"] += d_z.sum(0)
        d_xs[t] = d_z @ p["w_x"].T
        d_h = d_z @ p["w_h"].T
    return d_params, d_xs, d_h


def lstm_bptt(p, xs, carry, dys, d_final):
    H = p["w_h"].shape[0]
    h, c = carry
    tape = []
    for x in xs:
        z = x @ p["w_x"] + h @ p["w_h"] + p["b"]
        i, f, o = sigmoid(gate(z, 0, H)), sigmoid(gate(z, 1, H)), sigmoid(gate(z, 3, H))
        g = np.tanh(gate(z, 2, H))
        c_new = f * c + i * g
        tape.append((x, h, c, i, f, g, o, c_new))
        h, c = o * np.tanh(c_new), c_new
    d_params, d_xs = {k: np.zeros_like(v) for k, v in p.items()}, np.zeros_like(xs)
    d_h, d_c = d_final
    for t in reversed(range(len(xs))):
        x, h, c, i, f, g, o, c_new = tape[t]
        d_h = d_h + dys[t]
        squashed = np.tanh(c_new)
        d_o = d_h * squashed
        d_c = d_c + d_h * o * (1.0 - squashed**2)
        d_i, d_f, d_g = d_c * g, d_c * c, d_c * i
        d_z = np.concatenate([d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)], -1)
        d_params["w_x"] += x.T @ d_z
        d_params["w_h"] += h.T @ d_z
        d_params["b"] += d_z.sum(0)
        d_xs[t] = d_z @ p["w_x"].T
        d_h, d_c = d_z @ p["w_h"].T, d_c * f
    return d_params, d_xs, (d_h, d_c)


def gru_bptt(p, xs, h0, dys, d_final):
    H = p["w_h"].shape[0]
    h, tape = h0, []
    for x in xs:
        zx, zh = x @ p["w_x"] + p["b"], h @ p["w_h"] + p["b_h"]
        r, z = sigmoid(gate(zx, 0, H) + gate(zh, 0, H)), sigmoid(gate(zx, 1, H) + gate(zh, 1, H))
        inner = gate(zh, 2, H)
        n = np.tanh(gate(zx, 2, H) + r * inner)
        tape.append((x, h, r, z, n, inner))
        h = (1 - z) * n + z * h
    d_params, d_xs, d_h = {k: np.zeros_like(v) for k, v in p.items()}, np.zeros_like(xs), d_final
    for t in reversed(range(len(xs))):
        x, h, r, z, n, inner = tape[t]
        d_h = d_h + dys[t]
        d_n = d_h * (1 - z) * (1 - n**2)
        d_r = d_n * inner * r * (1 - r)
        d_z = d_h * (h - n) * z * (1 - z)
        d_zx, d_zh = np.concatenate([d_r, d_z, d_n], -1), np.concatenate([d_r, d_z, d_n * r], -1)
        d_params["w_x"] += x.T @ d_zx
        d_params["b"] += d_zx.sum(0)
        d_params["w_h"] += h.T @ d_zh
        d_params["b_h"] += d_zh.sum(0)
        d_xs[t] = d_zx @ p["w_x"].T
        d_h = d_h * z + d_zh @ p["w_h"].T
    return d_params, d_xs, d_h
