"""The paper's autoencoder (4.1): a document's bag of words through a narrow code and back.

    p(· | d) = softmax(decoder(encoder(x_d))),   loss = -Σ_d Σ_w n_dw log p(w | d)

"A feed forward neural network that comprises of encoder and decoder", minimising reconstruction
error; the paper says no more. The error here is the multinomial one, in the unit that perplexity
counts, and while training words of the input are dropped but still to be reconstructed, without
which a wide network learns to copy (denoising; Liang et al., 2018, call it Mult-DAE). One
distribution, made from the observed words, predicts every held-out word of the document.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array, diags_array
from torch import Tensor, nn

from lla.corpus import Corpus, Split
from lla.errors import InputError, check_positive, check_whole
from lla.evaluate import perplexity
from lla.progress import progress
from lla.store import load_tensors, save_tensors
from lla.streams import Use, stream, torch_stream
from lla.threads import workers

WEIGHTS = 0  # in a stream's key where an epoch has its number, from 1 on


@dataclass(frozen=True)
class AutoencoderConfig:
    """What a fit depends on, the seed apart; the paper states none of it.

    Attributes
    ----------
    hidden_size, code_size : units of the layer on either side of the code, and of the code
    dropout : share of a document's distinct words the encoder does not get to see
    learning_rate, batch_size : of Adam; documents a step
    n_epochs : passes over the documents at most
    patience : stop after so many epochs without a better development perplexity
    """

    hidden_size: int = 300
    code_size: int = 100
    dropout: float = 0.5
    learning_rate: float = 1e-3
    batch_size: int = 64
    n_epochs: int = 100
    patience: int = 5

    def __post_init__(self) -> None:
        for name in ("hidden_size", "code_size", "batch_size", "n_epochs", "patience"):
            check_whole(name, getattr(self, name))
        check_positive("learning_rate", self.learning_rate)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give a share from 0 to below 1")


class Autoencoder(nn.Module):
    """V -> hidden -> code -> hidden -> V, tanh between; weights are drawn from `generator`.

    Parameters
    ----------
    probability : (V,) what it predicts before it has learnt anything, about; the unigram
    """

    def __init__(
        self, config: AutoencoderConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        n_words, hidden, code = len(probability), config.hidden_size, config.code_size
        with torch.device("meta"):  # the default initialisers would draw from the global generator
            self.encoder = nn.Sequential(
                nn.Linear(n_words, hidden), nn.Tanh(), nn.Linear(hidden, code), nn.Tanh()
            )
            self.decoder = nn.Sequential(
                nn.Linear(code, hidden), nn.Tanh(), nn.Linear(hidden, n_words)
            )
        self.to_empty(device="cpu")
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                else:
                    nn.init.xavier_uniform_(parameter, generator=generator)
            self.decoder[-1].bias.copy_(torch.from_numpy(np.log(probability)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, V) of the bags `x` (B, V), rows of `scale`."""
        return self.decoder(self.encoder(x))

    def n_parameters(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.parameters())


@dataclass
class AutoencoderState:
    """All that an interrupted fit needs to go on.

    Attributes
    ----------
    module, optimizer : the network and Adam's moments
    best : weights of the epoch with the lowest development perplexity
    history : one dict an epoch: iteration, loss (nats an observed word, words dropped),
        development_perplexity, seconds
    """

    module: Autoencoder
    optimizer: torch.optim.Adam
    best: dict[str, Tensor]
    history: list[dict[str, float]]

    @property
    def best_iteration(self) -> int:
        """Epoch with the lowest development perplexity, 0 before the first."""
        if not self.history:
            return 0
        return int(min(self.history, key=lambda row: row["development_perplexity"])["iteration"])


def bag_of_words(corpus: Corpus) -> csr_array:
    """n_dw, (D, V) float32."""
    document = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    ones = np.ones(corpus.n_tokens, np.float32)
    entries = (ones, (document, corpus.words.astype(np.int64)))
    return coo_array(entries, (corpus.n_documents, corpus.n_words)).tocsr()


def scale(counts: csr_array) -> csr_array:
    """What the encoder reads: log(1 + n_dw), every document of length 1.

    The logarithm keeps a few frequent words from being all there is to see; the common length
    keeps a long document from saturating units that a short one hardly moves.
    """
    x = counts.log1p()
    norm = np.sqrt((x**2).sum(axis=1))
    return (diags_array(1 / np.maximum(norm, 1e-12), dtype=x.dtype) @ x).tocsr()


def fit_autoencoder(
    split: Split,
    config: AutoencoderConfig,
    seed: int,
    checkpoint: Path | None = None,
    on_iteration: Callable[[AutoencoderState], None] | None = None,
) -> tuple[Autoencoder, list[dict[str, float]]]:
    """Train on the observed part of every document; Torch runs on one thread.

    Parameters
    ----------
    split : the development documents' held-out words decide when to stop
    checkpoint : file to go on from, and to save to after every epoch
    on_iteration : called after each epoch

    Returns
    -------
    module, history : the module of the best epoch; one row an epoch (see `AutoencoderState`)

    Raises
    ------
    InputError
        When no development document has a held-out word, or the checkpoint is broken.
    FloatingPointError
        When training diverges.
    """
    if not split.n_held_out[split.development].any():
        raise InputError(
            "development: none of its documents has a held-out word to decide when to stop; "
            "split with a development part, such as 0.1, and documents of 3 words or more"
        )
    state = _resume(checkpoint, split, config, seed) or _begin(split.observed, config, seed)
    part = split.restrict(split.development)
    counts = bag_of_words(split.observed)
    x = scale(counts)
    done, name = len(state.history), f"autoencoder, seed {seed}"
    bar = progress(total=config.n_epochs, initial=done, description=name, unit="epoch")
    with bar, workers(1) as pool:
        while not _finished(state, config):
            epoch, begun = len(state.history) + 1, perf_counter()
            loss = pool.submit(_train_epoch, state, x, counts, seed, epoch).result()
            scores = pool.submit(_score, state.module, part).result()
            with np.errstate(over="ignore"):
                development = perplexity(scores, part, part.development)
            _check_converging(development, config)
            row = {"iteration": epoch, "loss": loss, "development_perplexity": development}
            state.history.append(row | {"seconds": perf_counter() - begun})
            if state.best_iteration == epoch:
                weights = state.module.state_dict()
                state.best = {name: value.detach().clone() for name, value in weights.items()}
            if checkpoint:
                _save(checkpoint, split, config, seed, state)
            if on_iteration:
                on_iteration(state)
            bar.update()
    state.module.load_state_dict(state.best)
    return state.module, state.history


def score_autoencoder(module: Autoencoder, split: Split) -> np.ndarray:
    """log p(held-out words) of every document given its observed words, (D,) nats."""
    with workers(1) as pool:
        return pool.submit(_score, module, split).result()


def _begin(observed: Corpus, config: AutoencoderConfig, seed: int) -> AutoencoderState:
    counts = np.bincount(observed.words, minlength=observed.n_words) + 1.0  # no log of 0
    generator = torch_stream(seed, Use.AUTOENCODER, WEIGHTS)
    module = Autoencoder(config, counts / counts.sum(), generator)
    optimizer = torch.optim.Adam(module.parameters(), lr=config.learning_rate)
    return AutoencoderState(module, optimizer, {}, [])


def _finished(state: AutoencoderState, config: AutoencoderConfig) -> bool:
    done = len(state.history)
    return done >= config.n_epochs or done - state.best_iteration >= config.patience


def _train_epoch(
    state: AutoencoderState, x: csr_array, counts: csr_array, seed: int, epoch: int
) -> float:
    """One pass over all documents; mean of -log p(w | d), nats a word."""
    module, config, total = state.module, state.module.config, 0.0
    order = stream(seed, Use.AUTOENCODER, epoch).permutation(x.shape[0])
    for number, begin in enumerate(range(0, len(order), config.batch_size)):
        documents = order[begin : begin + config.batch_size]
        draw = stream(seed, Use.AUTOENCODER, epoch, number)
        bags = dense(drop(x[documents], config.dropout, draw))  # (B, V)
        target = dense(counts[documents])  # (B, V)
        state.optimizer.zero_grad()
        loss = reconstruction_loss(module(bags), target)
        (loss / target.sum().clamp(min=1)).backward()
        state.optimizer.step()
        total += loss.item()
        _check_converging(total, config)
    loss = total / max(1.0, float(counts.sum(dtype=np.float64)))
    # Weights can run away without leaving the numbers; the uniform distribution has log V.
    _check_converging(loss if loss <= 2 * np.log(counts.shape[1]) + 5 else np.inf, config)
    return loss


def drop(bags: csr_array, dropout: float, draw: np.random.Generator) -> csr_array:
    """Leave out a share `dropout` of the entries; the others grow, so that means stay."""
    kept = draw.random(bags.nnz, np.float32) >= dropout
    data = bags.data * (kept / np.float32(1 - dropout))
    return csr_array((data, bags.indices, bags.indptr), bags.shape)


def reconstruction_loss(logits: Tensor, target: Tensor) -> Tensor:
    """-Σ_d Σ_w n_dw log p(w | d), nats; logits and target n_dw are (B, V)."""
    return -(target * logits.log_softmax(dim=1)).sum()


def dense(rows: csr_array) -> Tensor:
    """(B, V) float32."""
    return torch.from_numpy(rows.toarray())


def _check_converging(value: float, config: AutoencoderConfig) -> None:
    if not np.isfinite(value):
        raise FloatingPointError(
            f"training diverged at learning_rate={config.learning_rate}; "
            "give a smaller learning_rate"
        )


@torch.no_grad()
def _score(module: Autoencoder, split: Split) -> np.ndarray:
    """The module's own batch size: another one could round a matrix product another way."""
    x = scale(bag_of_words(split.observed))
    ends = np.concatenate([[0], split.n_held_out.cumsum()])
    words = split.corpus.words[split.held_out].astype(np.int64)
    document = np.repeat(np.arange(x.shape[0]), split.n_held_out)
    log_p = np.zeros(split.corpus.n_tokens)
    held_out = np.empty(len(words))
    for begin in range(0, x.shape[0], module.config.batch_size):
        end = min(begin + module.config.batch_size, x.shape[0])
        log_phi = module(dense(x[begin:end])).double().log_softmax(dim=1).numpy()  # (B, V)
        tokens = slice(ends[begin], ends[end])
        held_out[tokens] = log_phi[document[tokens] - begin, words[tokens]]
    log_p[split.held_out] = held_out
    return split.sum_held_out(log_p)


def _identity(split: Split, config: AutoencoderConfig, seed: int) -> dict[str, object]:
    """What a checkpoint must have been made with, as JSON gives it back."""
    return {
        "kind": "autoencoder",
        "corpus": split.corpus.fingerprint,
        "development": hashlib.sha256(np.packbits(split.development)).hexdigest(),
        "n_observed": hashlib.sha256(split.n_observed).hexdigest(),
        # More epochs, or more patience, continue the same run.
        "config": asdict(replace(config, n_epochs=1, patience=1)),
        "seed": seed,
    }


def _save(
    path: Path, split: Split, config: AutoencoderConfig, seed: int, state: AutoencoderState
) -> None:
    tensors = {f"best.{name}": value for name, value in state.best.items()}
    for name, parameter in state.module.named_parameters():
        tensors[f"module.{name}"] = parameter.detach()
        for moment, value in state.optimizer.state[parameter].items():
            tensors[f"adam.{name}.{moment}"] = value
    save_tensors(path, tensors, _identity(split, config, seed) | {"history": state.history})


def _resume(
    path: Path | None, split: Split, config: AutoencoderConfig, seed: int
) -> AutoencoderState | None:
    """The state saved at `path`; None when there is none, or it belongs to another fit."""
    if path is None or not path.exists():
        return None
    tensors, meta = load_tensors(path)
    wanted = _identity(split, config, seed)
    if any(meta.get(name) != value for name, value in wanted.items()):
        return None
    state = _begin(split.observed, config, seed)
    state.history = meta["history"]
    state.best = {name: tensors[f"best.{name}"] for name in state.module.state_dict()}
    for name, parameter in state.module.named_parameters():
        parameter.data.copy_(tensors[f"module.{name}"])
        prefix = f"adam.{name}."
        state.optimizer.state[parameter] = {
            key.removeprefix(prefix): value
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
    return state
