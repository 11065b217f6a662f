"""What LLA is compared with, one file or folder per family, all of them fitted alike.

    fit_NAME(split, config, seed, *, start, checkpoint, on_iteration, n_threads)

split : its observed part is fitted; the development documents' held-out words decide when to stop
config : all that a fit depends on but the seed
seed : of every draw
start : what some families start from, and say so; the others do not use it
checkpoint : file to save to after every iteration, and to go on from when it is there
on_iteration : called with the state after each iteration; of a network an iteration is an epoch
n_threads : changes no result; some networks run on one thread whatever it is

A fit raises `InputError` when an argument is not what it should be, no development document has a
held-out word, or the checkpoint cannot be written, is broken, is in use, or is of another fit; and
`NumericalError` when training diverges. Where a family differs, its own function says how.
"""
