"""Processes that torchrun starts: how they exchange what `lla.common.parallel` names.

    torchrun --nproc-per-node 4 -m lla fit CORPUS --output MODEL

Whole numbers are summed in any order, as sparse pairs of place and count where that is less.
Gradients are summed piece after piece: each process adds one slice of all pieces' gradients and
hands it round, so that bytes per process do not grow with their number.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from lla.common.errors import InputError
from lla.common.parallel import ALONE, Workers

CHUNK_BYTES = 2**22  # of an array that a process hands round at once
ROUND_BYTES = 2**26  # that all of them hand round at once
SMALL_BYTES = 2**16  # arrays below are summed whole
TIMEOUT = timedelta(hours=1)  # until a process that does not answer counts as lost


def chunk_bytes(n_processes: int) -> int:
    """How many of an array a process hands round at once: many processes do less each."""
    return min(CHUNK_BYTES, ROUND_BYTES // n_processes)


class LostProcessError(InputError):
    """Another process has ended, or does not answer."""


@contextmanager
def _exchange(workers: Workers) -> Iterator[None]:
    """Turn what Torch raises when another process is lost into one line."""
    try:
        yield
    except RuntimeError as error:  # which all errors of torch.distributed are
        place_in_source = r"\[/[^]]*\]"  # gloo's lines begin with it
        reason = " ".join(re.sub(place_in_source, "", str(error)).split()).strip(": ")
        raise LostProcessError(
            f"process {workers.rank} of {workers.size} lost another one ({reason[:100]}); the "
            "same command goes on from the last checkpoint"
        ) from None


class Processes(Workers):
    """Those of torchrun, once their group has been made.

    Attributes
    ----------
    n_sent : bytes that this process has sent to others so far, by purpose
    """

    def __init__(self, store: Any) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.n_sent = {"arrays": 0, "counts": 0, "gradients": 0}
        self._store = store
        self._rooms: dict[str, Tensor] = {}

    def share(
        self, array: np.ndarray, starts: np.ndarray, ends: np.ndarray, owners: np.ndarray
    ) -> None:
        """See `Workers.share`; `chunk_bytes` of each owner at a time."""
        room = max(1, chunk_bytes(self.size) // array.itemsize)
        chunks = [
            _chunks(starts[owners == rank], ends[owners == rank], room) for rank in range(self.size)
        ]
        for number in range(max(map(len, chunks))):
            spans = [of[number] if number < len(of) else [] for of in chunks]
            width = max(sum(span.stop - span.start for span in of) for of in spans)
            own = np.zeros(width, array.dtype)
            _copy(spans[self.rank], array, own, to_array=False)
            parts = self._gather(torch.from_numpy(own.view(np.uint8)), "arrays")
            for rank, part in enumerate(parts):
                if rank != self.rank:
                    _copy(spans[rank], array, part.numpy().view(array.dtype), to_array=True)

    def add_up(self, array: np.ndarray) -> None:
        """See `Workers.add_up`."""
        flat = array.reshape(-1)
        assert np.shares_memory(flat, array) or not array.size, "summed in place"
        if flat.nbytes > SMALL_BYTES and array.dtype.kind in "iu":
            places = np.flatnonzero(flat).astype(np.int32 if flat.size < 2**31 else np.int64)
            longest = int(max(self._gather(torch.tensor([len(places)]), "counts")))
            if longest * (places.itemsize + flat.itemsize) * self.size < 2 * flat.nbytes:
                all_places = self._gather_uneven(places)
                all_counts = self._gather_uneven(flat[places])
                for rank, (where, counts) in enumerate(zip(all_places, all_counts, strict=True)):
                    if rank != self.rank:
                        flat[where] += counts
                return
        whole = torch.from_numpy(flat)
        with _exchange(self):
            dist.all_reduce(whole)
        self.n_sent["counts"] += 2 * flat.nbytes * (self.size - 1) // self.size

    def exchange(self, array: np.ndarray, cuts: np.ndarray) -> np.ndarray:
        """See `Workers.exchange`."""
        sizes = torch.from_numpy(np.diff(cuts) * array.itemsize)
        own_sizes = torch.empty_like(sizes)
        with _exchange(self):
            dist.all_to_all_single(own_sizes, sizes)
            own = torch.empty(int(own_sizes.sum()), dtype=torch.uint8)
            dist.all_to_all_single(
                own, torch.from_numpy(array.view(np.uint8)), own_sizes.tolist(), sizes.tolist()
            )
        self.n_sent["counts"] += array.nbytes - int(sizes[self.rank])
        return own.numpy().view(array.dtype)

    def mean_gradients(
        self,
        gradients: Mapping[int, Sequence[Tensor]],
        owners: np.ndarray,
        like: Sequence[Tensor],
        n_tokens: int,
    ) -> list[Tensor]:
        """See `Workers.mean_gradients`; the order of additions is that of the pieces everywhere.

        The next call writes over what was returned: new memory at every step would cost more than
        all else here.
        """
        own = np.flatnonzero(owners == self.rank)
        n_rows = int(np.bincount(owners, minlength=self.size).max())
        sizes = [parameter.numel() for parameter in like]
        part = -(-sum(sizes) // self.size)
        rows = self._room("rows", like[0], n_rows, self.size * part)
        for row, piece in zip(rows, own.tolist(), strict=False):
            torch.cat([of.reshape(-1) for of in gradients[piece]], out=row[: sum(sizes)])
        if self.size == 2:  # as many bytes as by parts, in one exchange
            other = self._swap(rows, self._room("other", like[0], *rows.shape))
            total = _sum_in_order([rows, other] if self.is_first else [other, rows], owners)
        else:
            # (process, row, part): what each process is to add, and then what this one is
            outgoing = self._room("outgoing", like[0], self.size, n_rows, part)
            outgoing.copy_(rows.view(n_rows, self.size, part).transpose(0, 1))
            incoming = self._room("incoming", like[0], *outgoing.shape)
            total = self._room("total", like[0], self.size * part)
            with _exchange(self):
                dist.all_to_all_single(incoming, outgoing)
                summed = _sum_in_order(list(incoming), owners)
                dist.all_gather_into_tensor(total, summed)
            sent = outgoing.nbytes // self.size + summed.nbytes
            self.n_sent["gradients"] += sent * (self.size - 1)
        parts = total.div_(n_tokens)[: sum(sizes)].split(sizes)
        return [of.view_as(one) for of, one in zip(parts, like, strict=True)]

    def _room(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """A tensor of any values, where the last one of this name was if that is large enough."""
        room, n = self._rooms.get(name), math.prod(shape)
        if room is None or len(room) < n or (room.device, room.dtype) != (like.device, like.dtype):
            room = self._rooms[name] = like.detach().new_empty(n)
        return room[:n].view(shape)

    def check_same(self, what: str, *values: str | np.ndarray) -> None:
        """See `Workers.check_same`."""
        sha256 = hashlib.sha256()
        for value in values:
            sha256.update(value.encode() if isinstance(value, str) else np.ascontiguousarray(value))
        digest = torch.tensor(list(sha256.digest()), dtype=torch.uint8)
        digests = self._gather(digest, "counts")
        if others := [rank for rank, of in enumerate(digests) if not of.equal(digests[0])]:
            raise InputError(
                f"process {others[0]} has another {what} than process 0: give all the same files, "
                "in folders that all of them can read, and machines of one kind"
            )

    def wait(self) -> None:
        """See `Workers.wait`."""
        self.add_up(np.zeros(1, np.int64))  # by gloo: a barrier may take a GPU that is another's

    def speaks(self) -> bool:
        """Whether this process is the first that has an error to show: the others keep silent."""
        try:
            return bool(self._store.add("lla.errors", 1) == 1)
        except RuntimeError:  # whoever had the store has ended
            return True

    def _swap(self, own: Tensor, other: Tensor) -> Tensor:
        """The other one's tensor, of two processes; without the copies that a gathering makes."""
        with _exchange(self):
            peer = 1 - self.rank
            both = [dist.P2POp(dist.isend, own, peer), dist.P2POp(dist.irecv, other, peer)]
            for request in dist.batch_isend_irecv(both):
                request.wait()
        self.n_sent["gradients"] += own.nbytes
        return other

    def _gather(self, own: Tensor, purpose: str) -> list[Tensor]:
        """The tensor of each process, all of one size."""
        parts = [torch.empty_like(own) for _ in range(self.size)]
        with _exchange(self):
            dist.all_gather(parts, own)
        self.n_sent[purpose] += own.nbytes * (self.size - 1)
        return parts

    def _gather_uneven(self, array: np.ndarray) -> list[np.ndarray]:
        """The array (n,) of each process; n may differ."""
        sizes = [int(n) for n in self._gather(torch.tensor([len(array)]), "counts")]
        padded = np.zeros(max(sizes), array.dtype)
        padded[: len(array)] = array
        parts = self._gather(torch.from_numpy(padded.view(np.uint8)), "counts")
        return [part.numpy().view(array.dtype)[:n] for part, n in zip(parts, sizes, strict=True)]


def _chunks(starts: np.ndarray, ends: np.ndarray, room: int) -> list[list[slice]]:
    """Spans in their order, cut into chunks of at most `room` places."""
    chunks: list[list[slice]] = []
    left = 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while start < end:
            if left == 0:
                chunks.append([])
                left = room
            stop = min(end, start + left)
            chunks[-1].append(slice(start, stop))
            left -= stop - start
            start = stop
    return chunks


def _copy(spans: list[slice], array: np.ndarray, packed: np.ndarray, *, to_array: bool) -> None:
    """Copy the spans of `array` to `packed`, where they lie side by side, or back."""
    place = 0
    for span in spans:
        end = place + span.stop - span.start
        if to_array:
            array[span] = packed[place:end]
        else:
            packed[place:end] = array[span]
        place = end


def _sum_in_order(rows: Sequence[Tensor], owners: np.ndarray) -> Tensor:
    """Sum over pieces; rows[rank] (rows, length) holds those of a process, in their order.

    It takes the place of the first piece.
    """
    left = [iter(of) for of in rows]
    total, *others = [next(left[rank]) for rank in owners.tolist()]
    for row in others:
        total.add_(row)
    return total


@contextmanager
def torchrun_workers(device: str | None = None) -> Iterator[Workers]:
    """The processes that torchrun has started, or this one alone.

    An error in several of them is raised in one, and the others leave with its status.

    Parameters
    ----------
    device : a CUDA device: gradients are exchanged by NCCL then; all else by gloo
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    on_gpu = device is not None and torch.device(device).type == "cuda"
    store, rank, size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    workers = Processes(store)
    try:
        yield workers
    except (InputError, KeyboardInterrupt) as error:
        if not workers.speaks():
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from None
        raise
    finally:
        with suppress(RuntimeError):  # another process may have left already
            dist.destroy_process_group()


def local_device(device: str | None) -> str | None:
    """The name of this process' own device: with several GPUs "cuda" is one per process."""
    number = os.environ.get("LOCAL_RANK")
    return f"cuda:{number}" if device == "cuda" and number is not None else device
