"""NumPy's Philox streams in Numba: a stream's uniforms by its key and their place in it.

`streams.stream` makes a generator object for every document, and each of its calls holds Python's
lock. Philox (Salmon et al., 2011) has no state but a counter, so the same numbers can be made by a
kernel, many documents at a time. They are those of NumPy to the last bit: SeedSequence turns seed
and key into the two words that Philox4x64-10 needs, and a uniform is the upper 53 bits of a word.

Numbers are uint64 throughout; those of 32 bits never outgrow it, those of Philox wrap.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

U = np.uint64


LOW = U(0xFFFFFFFF)  # the lower half of a word


HALF, SHORT, UNUSED = U(32), U(16), U(11)  # shifts, in bits


POOL, WORDS, ROUNDS = 4, 4, 10  # numbers of 32 bits in SeedSequence's pool; words a block of Philox


# SeedSequence: how a number enters the pool, how two are mixed (a subtraction, modulo 2^32), and
# how numbers leave.
ENTER, ENTER_TIMES = U(0x43B0D7E5), U(0x931E8875)


MIX, MIX_LESS = U(0xCA01F9DD), U(0x100000000 - 0x4973F715)


LEAVE, LEAVE_TIMES = U(0x8B51F9DD), U(0x58F38DED)


# Philox4x64: multipliers, and what is added to the key after every round.
M0, M1 = U(0xD2E7470EE14C6C93), U(0xCA5A826395121157)


W0, W1 = U(0x9E3779B97F4A7C15), U(0xBB67AE8584CAA73B)


UNIT = 2.0**-53


def entropy_of(seed: int, *key: int) -> np.ndarray:
    """What SeedSequence reads of a seed and a key, as numbers of 32 bits (uint64).

    Raises
    ------
    ValueError
        When one of them is negative.
    """
    if min(seed, *key, 0) < 0:
        raise ValueError(f"seed {seed}, key {key}: give numbers of 0 or more")
    parts = [[n >> i & 0xFFFFFFFF for i in range(0, max(n.bit_length(), 1), 32)] for n in key]
    start = [seed >> i & 0xFFFFFFFF for i in range(0, max(seed.bit_length(), 1), 32)]
    start += [0] * (POOL - len(start))  # as it does wherever a key follows
    return np.array([*start, *(n for part in parts for n in part)], np.uint64)


@njit(nogil=True, cache=True)
def times(a, b):
    """a b modulo 2^32, of numbers below it."""
    return (a * b) & LOW


@njit(nogil=True, cache=True)
def folded(x):
    """x xor its upper half, 32 bits."""
    return x ^ (x >> SHORT)


@njit(nogil=True, cache=True)
def mixed(x, y):
    """SeedSequence's mix of two numbers of the pool."""
    return folded((times(MIX, x) + times(MIX_LESS, y)) & LOW)


@njit(nogil=True, cache=True)
def stream_keys(entropy, numbers, keys):
    """Philox keys of the streams (seed, *key, number), for many numbers.

    Parameters
    ----------
    entropy : (n,) `entropy_of` seed and key
    numbers : (D,) int64 from 0 to 2^32 - 1, such as documents
    keys : (D, 2) uint64 output
    """
    pool = np.empty(POOL, np.uint64)
    n = entropy.shape[0]
    for d in range(numbers.shape[0]):
        constant = ENTER
        for i in range(POOL):
            x = entropy[i] ^ constant
            constant = times(constant, ENTER_TIMES)
            pool[i] = folded(times(x, constant))
        for source in range(n + 1):
            # First the pool into itself, then what did not fit into it: the key, and the number.
            for i in range(POOL):
                if source == i:
                    continue
                if source < POOL:
                    x = pool[source]
                elif source < n:
                    x = entropy[source]
                else:
                    x = U(numbers[d])
                x = x ^ constant
                constant = times(constant, ENTER_TIMES)
                pool[i] = mixed(pool[i], folded(times(x, constant)))
        constant = LEAVE
        for i in range(POOL):
            x = pool[i] ^ constant
            constant = times(constant, LEAVE_TIMES)
            pool[i] = folded(times(x, constant))
        keys[d, 0] = pool[0] | (pool[1] << HALF)
        keys[d, 1] = pool[2] | (pool[3] << HALF)


def upper(a, b):
    """Upper word of a b, 128 bits."""
    return U(int(a) * int(b) >> 64)


@overload(upper)
def _upper_compiled(a, b):
    return lambda a, b: _upper_instruction(a, b)


@intrinsic
def _upper_instruction(context, a, b):
    """`upper` as one instruction, where four products of halves would take as long as the rest."""

    def generate(_, builder, signature, words):
        wide = ir.IntType(128)
        a, b = (builder.zext(word, wide) for word in words)
        upper = builder.lshr(builder.mul(a, b), ir.Constant(wide, 64))
        return builder.trunc(upper, ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@njit(nogil=True, cache=True)
def fill_block(k0, k1, number, block):
    """The four words of block `number` (from 0 on) of the stream of a key."""
    c0, c1, c2, c3 = U(number + 1), U(0), U(0), U(0)  # NumPy counts before it draws
    for _ in range(ROUNDS):
        c0, c1, c2, c3 = upper(M1, c2) ^ c1 ^ k0, M1 * c2, upper(M0, c0) ^ c3 ^ k1, M0 * c0
        k0, k1 = k0 + W0, k1 + W1
    block[0], block[1], block[2], block[3] = c0, c1, c2, c3


@njit(nogil=True, cache=True)
def fill_uniforms(keys, taken, lanes, column, uniforms):
    """The next uniforms of some lanes' streams, in [0, 1).

    Parameters
    ----------
    keys : (L, 2) uint64 of the lanes' streams
    taken : (L,) int64 uniforms that were taken of each before, moved on
    lanes : (n,) int64 which of them
    column : where in a lane's block of time steps to begin
    uniforms : (L, B, m) output, [lanes, column:] of it
    """
    block = np.empty(WORDS, np.uint64)
    for lane in lanes:
        place = taken[lane]
        now = -1  # the block at hand
        for t in range(column, uniforms.shape[1]):
            for i in range(uniforms.shape[2]):
                if place // WORDS != now:
                    now = place // WORDS
                    fill_block(keys[lane, 0], keys[lane, 1], now, block)
                uniforms[lane, t, i] = (block[place % WORDS] >> UNUSED) * UNIT
                place += 1
        taken[lane] = place
