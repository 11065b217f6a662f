"""One draw from unnormalised weights, and systematic resampling."""

from numba import njit


@njit(nogil=True, cache=True)
def draw_index(weights, target):
    """Index k at which the running sum of `weights` first exceeds `target`.

    Rounding can leave the last running sum below `target`; then the last index of positive
    weight is returned, so that an index of weight zero is never drawn.
    """
    running = 0.0
    last = 0
    for k in range(weights.shape[0]):
        if weights[k] > 0.0:
            running += weights[k]
            last = k
            if running > target:
                return k
    return last


@njit(nogil=True, cache=True)
def systematic_resample(weights, uniform, ancestors):
    """Systematic resampling: ancestor p is the particle at (p + uniform)/P of the running sum."""
    n_particles = weights.shape[0]
    running = weights[0]
    source = 0
    for p in range(n_particles):
        target = (p + uniform) / n_particles
        while running <= target and source < n_particles - 1:
            source += 1
            running += weights[source]
        ancestors[p] = source
