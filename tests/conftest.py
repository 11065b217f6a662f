"""What every test starts from: few threads, no progress bar, no window, nobody's own data."""

import os

# Before any test module imports NumPy, Numba or Torch. Two threads: enough to catch a result that
# depends on their number, few enough that small matrices do not wait for one another.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "2")
os.environ["LLA_PROGRESS"] = os.devnull
os.environ["MPLBACKEND"] = "agg"
os.environ.pop("LLA_DATA", None)
os.environ.pop("LLA_ROOT", None)
