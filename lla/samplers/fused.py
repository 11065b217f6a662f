"""Fused vector kernels: the elementwise half of an LSTM step; the softmax with its gradient.

Torch makes many passes over memory where these make one, each row while it is in cache. So that
the compiler can vectorise them they have no branches, sums are kept in as many parts as a vector
has numbers, and a division by zero is infinite instead of an error. bfloat16 is passed as its 16
bits, the upper half of a float32.
"""

import numpy as np

from lla.common.compile import njit

VECTORS = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


ONE, TWO = np.float32(1.0), np.float32(2.0)


WIDTH = 128  # parts of a sum: eight of the longest vectors, so that none waits for the one before


LOG2_E = np.float32(np.log2(np.e))


# Beyond it σ is 0 or 1 to float32's accuracy; a product of three exponentials is still finite.
MAX_X = np.float32(25.0)


# 2^r on [-1/2, 1/2]: the polynomial of least largest error, 2e-8 of the value.
P1, P2, P3 = np.float32(0.6931471825), np.float32(0.2402265072), np.float32(0.05550365523)


P4, P5, P6 = np.float32(0.009617788717), np.float32(0.001340043386), np.float32(0.0001546973246)


@njit(**VECTORS)
def exp_neg(x):
    """exp(-x) = 2^(n + r), float32, with x clipped to ±25; NaN stays NaN."""
    t = -min(max(x, -MAX_X), MAX_X) * LOG2_E
    n = np.rint(t)
    r = t - n
    power = ONE + r * (P1 + r * (P2 + r * (P3 + r * (P4 + r * (P5 + r * P6)))))
    return power * np.int32((np.int32(n) + 127) << 23).view(np.float32)  # 2^n by its bits


@njit(**VECTORS)
def bf16_to_f32(bits):
    """The float32 of a bfloat16."""
    return np.int32(np.int32(bits) << 16).view(np.float32)


@njit(**VECTORS)
def f32_to_bf16(x):
    """The bits of a float32 rounded to bfloat16, ties to even; not for NaN."""
    bits = np.float32(x).view(np.int32)
    return np.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


@njit(**VECTORS)
def lstm_cell(recurrent_part, input_part, h, c):
    """One LSTM step of one lane; the parts add up to the pre-activations, (4H,) as i, f, o, g.

    With e_x = exp(-x), σ(x) = 1 / (1 + e_x) and tanh(x) = (1 - e_2x) / (1 + e_2x), so that it takes
    two divisions.
    """
    size = c.shape[0]
    for j in range(size):
        i = ONE + exp_neg(recurrent_part[j] + input_part[j])
        f = ONE + exp_neg(recurrent_part[size + j] + input_part[size + j])
        o = ONE + exp_neg(recurrent_part[2 * size + j] + input_part[2 * size + j])
        g = exp_neg(TWO * (recurrent_part[3 * size + j] + input_part[3 * size + j]))
        i *= ONE + g
        c[j] = (c[j] * i + (ONE - g) * f) / (i * f)  # σ(f) c + σ(i) tanh(g)
        t = exp_neg(TWO * c[j])
        h[j] = (ONE - t) / (o * (ONE + t))  # σ(o) tanh(c)


@njit(**VECTORS)
def step_lanes(product, table, ids, h, cell):
    """One LSTM step of many lanes, given their recurrent products.

    Parameters
    ----------
    product : (L, 4H) W_hh h of each lane, gates in the order i, f, o, g
    table : (n_inputs + 1, 4H) W_ih e_x + b of each input
    ids : (L,) int64 the inputs
    h, cell : (L, H or more) and (L, H), updated in place
    """
    for lane in range(ids.shape[0]):
        lstm_cell(product[lane], table[ids[lane]], h[lane], cell[lane])


@njit(**VECTORS)
def step_lanes_bf16(product, table, ids, h, cell):
    """`step_lanes` with product and table in bfloat16, as uint16: the upper halves of float32."""
    recurrent_part = np.empty(product.shape[1], np.float32)
    input_part = np.empty(product.shape[1], np.float32)
    for lane in range(ids.shape[0]):
        product_row, table_row = product[lane], table[ids[lane]]
        for j in range(product_row.shape[0]):
            recurrent_part[j] = bf16_to_f32(product_row[j])
            input_part[j] = bf16_to_f32(table_row[j])
        lstm_cell(recurrent_part, input_part, h[lane], cell[lane])


@njit(**VECTORS)
def sum_of(x, part):
    """Σ x, (n,); `part` (WIDTH,) is scratch."""
    whole = x.shape[0] - x.shape[0] % WIDTH
    part[:] = 0.0
    for first in range(0, whole, WIDTH):
        for j in range(WIDTH):
            part[j] += x[first + j]
    for j in range(x.shape[0] - whole):
        part[j] += x[whole + j]
    half = WIDTH // 2
    while half > 0:
        for j in range(half):
            part[j] += part[half + j]
        half //= 2
    return part[0]


@njit(**VECTORS)
def max_of(x, part):
    """The largest of x, (n,); `part` (WIDTH,) is scratch."""
    whole = x.shape[0] - x.shape[0] % WIDTH
    part[:] = -np.inf
    for first in range(0, whole, WIDTH):
        for j in range(WIDTH):
            part[j] = x[first + j] if x[first + j] > part[j] else part[j]
    for j in range(x.shape[0] - whole):
        part[j] = x[whole + j] if x[whole + j] > part[j] else part[j]
    half = WIDTH // 2
    while half > 0:
        for j in range(half):
            part[j] = part[half + j] if part[half + j] > part[j] else part[j]
        half //= 2
    return part[0]


@njit(**VECTORS)
def softmax_gradients(logits, targets, loss, bias):
    """-log softmax(logits)[target] of every row, and its gradient in place of the logits.

    Parameters
    ----------
    logits : (M, K) bfloat16 as uint16; becomes softmax - 1[target]
    targets : (M,) int64
    loss : (M,) float64 output, nats
    bias : (K,) float32, to which the gradients of all rows are added
    """
    size = logits.shape[1]
    row_f32, part = np.empty(size, np.float32), np.empty(WIDTH, np.float32)
    for row in range(logits.shape[0]):
        row_bf16, target = logits[row], targets[row]
        for j in range(size):
            row_f32[j] = bf16_to_f32(row_bf16[j])
        largest, target_logit = max_of(row_f32, part), row_f32[target]
        for j in range(size):
            row_f32[j] = exp_neg(largest - row_f32[j])
        total = sum_of(row_f32, part)
        loss[row] = np.log(np.float64(total)) + (largest - target_logit)
        scale = ONE / total
        for j in range(size):
            row_f32[j] *= scale
        row_f32[target] -= ONE
        for j in range(size):
            bias[j] += row_f32[j]
            row_bf16[j] = f32_to_bf16(row_f32[j])
