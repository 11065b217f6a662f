"""The paper's autoencoder (4.1): a document's bag of words through a narrow code and back.

    p(· | d) = softmax(decoder(encoder(x_d))),   loss = -Σ_d Σ_w n_dw log p(w | d)

"A feed forward neural network that comprises of encoder and decoder", minimising reconstruction
error; the paper says no more. The error here is the multinomial one, in the unit of perplexity. In
training, words of the input are dropped but still have to be reconstructed; otherwise a wide
network learns to copy (denoising; Liang et al., 2018, call it Mult-DAE). One distribution, computed
from the observed words, predicts every held-out word of the document.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor, nn

from lla.common.display import Configuration
from lla.common.eager import Uninitialised
from lla.common.errors import (
    check_each,
    check_integer,
    check_positive,
    check_share,
)
from lla.common.parallel import check_threads
from lla.common.random import StreamId, stream, torch_stream
from lla.corpus import Corpus, Split
from lla.peers.bags import FittedBags, OnRows, bag_of_words, dense, drop, score_rows
from lla.peers.iterations import check_arguments
from lla.peers.training import (
    WEIGHTS,
    TrainingState,
    check_finite,
    check_loss,
    draw_weights,
    fit_epochs,
    initial_state,
    popularity,
)


@dataclass(frozen=True, repr=False)
class AutoencoderConfig(Configuration):
    """Everything a fit depends on but the seed; the paper states none of it.

    Attributes
    ----------
    hidden_size, code_size : units of the layers around the code, and of the code
    dropout : share of a document's distinct words hidden from the encoder
    learning_rate, batch_size : of Adam; documents per step
    n_epochs : maximum number of passes over the documents
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
        check_each(self, check_integer, "hidden_size", "code_size")
        check_each(self, check_integer, "batch_size", "n_epochs", "patience")
        check_each(self, check_positive, "learning_rate")
        check_each(self, check_share, "dropout")


class Autoencoder(nn.Module):
    """V -> hidden -> code -> hidden -> V, tanh between; weights are drawn from `generator`.

    Parameters
    ----------
    probability : (V,) what an untrained network roughly predicts: the unigram
    """

    def __init__(
        self, config: AutoencoderConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        n_words, hidden, code = len(probability), config.hidden_size, config.code_size
        with Uninitialised():
            self.encoder = nn.Sequential(
                nn.Linear(n_words, hidden), nn.Tanh(), nn.Linear(hidden, code), nn.Tanh()
            )
            self.decoder = nn.Sequential(
                nn.Linear(code, hidden), nn.Tanh(), nn.Linear(hidden, n_words)
            )
        draw_weights(self, generator)
        with torch.no_grad():
            last = self.decoder[-1]
            assert isinstance(last, nn.Linear)
            last.bias.copy_(torch.from_numpy(np.log(probability)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, V) of the bags `x` (B, V), rows of `scale`."""
        return self.decoder(self.encoder(x))


def scale(counts: csr_array) -> csr_array:
    """Input of the encoder: log(1 + n_dw), every document scaled to length 1.

    The logarithm keeps a few frequent words from dominating the input; the common length keeps long
    documents from saturating units that short ones hardly move.
    """
    x = counts.log1p()
    norm = np.sqrt((x**2).sum(axis=1))
    return (diags_array(1 / np.maximum(norm, 1e-12), dtype=x.dtype) @ x).tocsr()


class FittedAutoencoder(FittedBags):
    """A trained autoencoder."""

    network: Autoencoder

    def predict(self, observed: Corpus, on_rows: OnRows) -> None:
        """Call `on_rows(documents, log p (B, V))`, float64, batch by batch."""
        _predict(self.network, observed, on_rows)


def fit_autoencoder(
    split: Split,
    config: AutoencoderConfig,
    seed: int,
    *,
    start: None = None,
    checkpoint: str | Path | None = None,
    on_iteration: Callable[[TrainingState], None] | None = None,
    n_threads: int | None = None,
) -> FittedAutoencoder:
    """Train on the observed part of every document, on one thread (arguments: `lla.peers`)."""
    fit = check_arguments(
        split, config, AutoencoderConfig, seed, checkpoint=checkpoint, on_iteration=on_iteration
    )
    check_threads(n_threads)
    generator = torch_stream(fit.seed, StreamId.AUTOENCODER, WEIGHTS)
    network = Autoencoder(config, popularity(split), generator)
    state = initial_state(network, config.learning_rate)
    counts = bag_of_words(split.observed)
    fit_epochs(
        state,
        fit,
        identity=fit.identity("autoencoder"),
        name="autoencoder",
        train=partial(_train_epoch, state, scale(counts), counts, fit.seed),
        score=partial(score_rows, fit.part, partial(_predict, network, fit.part.observed)),
        on_own_thread=True,
    )
    return FittedAutoencoder(network, state.history, split.corpus.vocabulary)


def _train_epoch(
    state: TrainingState, inputs: csr_array, counts: csr_array, seed: int, epoch: int
) -> float:
    """One pass over all documents; mean of -log p(w | d), nats per word."""
    network, config = state.network, state.network.config
    total = 0.0
    order = stream(seed, StreamId.AUTOENCODER, epoch).permutation(inputs.shape[0])
    for number, begin in enumerate(range(0, len(order), config.batch_size)):
        documents = order[begin : begin + config.batch_size]
        draw = stream(seed, StreamId.AUTOENCODER, epoch, number)
        bags = dense(drop(inputs[documents], config.dropout, draw))  # (B, V)
        target = dense(counts[documents])  # (B, V)
        state.optimizer.zero_grad()
        loss = reconstruction_loss(network(bags), target)
        (loss / target.sum().clamp(min=1)).backward()
        state.optimizer.step()
        total += loss.item()
        check_finite(total, config.learning_rate)
    mean = total / max(1.0, float(counts.sum(dtype=np.float64)))
    return check_loss(mean, counts.shape[1], config.learning_rate)


def reconstruction_loss(logits: Tensor, target: Tensor) -> Tensor:
    """-Σ_d Σ_w n_dw log p(w | d), nats; logits and target n_dw are (B, V)."""
    return -(target * logits.log_softmax(dim=1)).sum()


@torch.no_grad()
def _predict(network: Autoencoder, observed: Corpus, on_rows: OnRows) -> None:
    """Call `on_rows(documents, log p (B, V))`, batch by batch.

    The batch size is the one of training: another could round a matrix product differently.
    """
    inputs, size = scale(bag_of_words(observed)), network.config.batch_size
    for i in range(0, inputs.shape[0], size):
        documents = range(i, min(i + size, inputs.shape[0]))
        logits = network(dense(inputs[documents]))
        on_rows(documents, logits.double().log_softmax(dim=1).numpy())
