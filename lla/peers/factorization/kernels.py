"""Matrix factorisation's Numba kernels: least squares row by row, and the softmax over items."""

import numpy as np

from lla.common.compile import njit


@njit(nogil=True)
def als_rows(indptr, indices, data, fixed, gram, zero_weight, penalty, first, last, solved):
    """Solve for the factors of rows first..last-1 with the others' factors fixed.

    Row r minimises Σ_c a_rc (m_rc - x·v_c)² + λ (Σ_c a_rc) x·x over x, where a_rc is 1 for entries
    of the matrix and `zero_weight` for all others, whose m_rc is 0.

    Parameters
    ----------
    indptr, indices, data : the matrix in sparse rows
    fixed : v, (C, D)
    gram : Σ_c v_c v_cᵀ, (D, D)
    penalty : λ
    solved : (R, D), whose rows first..last-1 are filled; 0 where a row has no weight
    """
    n_columns, n_factors = fixed.shape
    matrix, x = np.empty((n_factors, n_factors)), np.empty(n_factors)
    for r in range(first, last):
        n_entries = indptr[r + 1] - indptr[r]
        total = n_entries + zero_weight * (n_columns - n_entries)
        x[:] = 0.0
        for a in range(n_factors):
            for b in range(a + 1):
                matrix[a, b] = zero_weight * gram[a, b]
        for e in range(indptr[r], indptr[r + 1]):
            c = indices[e]
            for a in range(n_factors):
                x[a] += data[e] * fixed[c, a]
                scaled = (1.0 - zero_weight) * fixed[c, a]
                for b in range(a + 1):
                    matrix[a, b] += scaled * fixed[c, b]
        for a in range(n_factors):
            matrix[a, a] += penalty * total
        if total > 0.0:
            solve(matrix, x)
        for a in range(n_factors):
            solved[r, a] = x[a]


@njit(nogil=True)
def solve(matrix, x):
    """Replace x (D,) by the solution of matrix·y = x, by Cholesky's factor, in place.

    Parameters
    ----------
    matrix : (D, D), symmetric and positive definite; its lower half is read and overwritten. Where
        rounding leaves it without a factor the solution is NaN
    """
    n = x.shape[0]
    for j in range(n):
        for k in range(j):
            factor = matrix[j, k]
            for i in range(j, n):
                matrix[i, j] -= factor * matrix[i, k]
        pivot = np.sqrt(matrix[j, j]) if matrix[j, j] > 0.0 else np.nan
        for i in range(j, n):
            matrix[i, j] /= pivot
    for j in range(n):
        for k in range(j):
            x[j] -= matrix[j, k] * x[k]
        x[j] /= matrix[j, j]
    for j in range(n - 1, -1, -1):
        for k in range(j + 1, n):
            x[j] -= matrix[k, j] * x[k]
        x[j] /= matrix[j, j]


@njit(nogil=True)
def squared_errors(indptr, indices, data, rows, columns):
    """Σ (m_rc - u_r·v_c)² and Σ (u_r·v_c)² over the entries of a matrix in sparse rows.

    Parameters
    ----------
    rows, columns : u (R, D) and v (C, D)
    """
    errors, products = 0.0, 0.0
    for r in range(rows.shape[0]):
        for e in range(indptr[r], indptr[r + 1]):
            product = 0.0
            for a in range(rows.shape[1]):
                product += rows[r, a] * columns[indices[e], a]
            errors += (data[e] - product) ** 2
            products += product**2
    return errors, products


@njit(nogil=True)
def item_logits(user, items_t, scale, logits):
    """logits (V,) = scale · u·v_i for all items; `items_t` is (D, V)."""
    logits[:] = 0.0
    for a in range(items_t.shape[0]):
        factor = scale * user[a]
        for i in range(items_t.shape[1]):
            logits[i] += factor * items_t[a, i]


@njit(nogil=True)
def held_out_log_p(words, offsets, n_observed, users, items_t, scale, scores):
    """Fill `scores` (B,) with log p of the words past `n_observed` (B,) of some documents.

    Parameters
    ----------
    words : (N,) of the whole corpus
    offsets : (B+1,) where each document starts, and where the last one ends
    users, items_t : (B, D), (D, V)
    scale : 1/T of the softmax
    """
    logits = np.empty(items_t.shape[1])
    for d in range(users.shape[0]):
        begin = offsets[d] + n_observed[d]
        scores[d] = 0.0
        if begin == offsets[d + 1]:
            continue
        item_logits(users[d], items_t, scale, logits)
        largest, total = np.max(logits), 0.0
        for i in range(logits.shape[0]):
            total += np.exp(logits[i] - largest)
        normaliser = largest + np.log(total)
        for t in range(begin, offsets[d + 1]):
            scores[d] += logits[words[t]] - normaliser
