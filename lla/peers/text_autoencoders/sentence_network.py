"""The sentence VAE of Bowman et al. (2016), and without its latent vector a language model.

    z ~ N(0, I),   p(w_1..w_T | z) = Π_t softmax(W h_t + b)[w_t],
    h_t = LSTM([e(w_{t-1}); z], h_{t-1})
    q(z | w) = N(μ, diag σ²),   (μ, log σ²) = A · (last states of an LSTM over w) + a

z is read at every step and gives the decoder's first state. With `latent_size` 0 there is no z and
no encoder: an LSTM language model with the same decoder. With `beta` 0 it is a plain autoencoder:
z = μ, without noise, and nothing keeps it near the prior.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lla.common.display import Configuration
from lla.common.eager import Uninitialised
from lla.common.errors import (
    InputError,
    check_each,
    check_flag,
    check_integer,
    check_not_negative,
    check_number,
    check_positive,
    check_share,
)
from lla.lstm import State
from lla.peers.sequence import drop
from lla.peers.text_autoencoders.layers import (
    Batch,
    Encoder,
    reset_parameters,
    sum_by_document,
    target_log_p,
)


@dataclass(frozen=True, repr=False)
class SentenceVAEConfig(Configuration):
    """Everything a fit depends on but the seed.

    Attributes
    ----------
    latent_size : numbers in z; 0 is the language model
    embedding_size, hidden_size : of a word, and of each LSTM's state
    bidirectional : whether the encoder reads in both directions
    dropout : share of units dropped of embeddings and of what the output layer reads
    word_dropout : share of the words that the decoder does not see in training; at 1 ("inputless")
        it never sees any, nor when it is scored
    beta : weight of the KL; 0 is a plain autoencoder, of which the epoch is kept that reproduces
        development sentences best
    warm_up : epochs in which that weight rises from 0; 0 is the whole from the start
    cycle : epochs after which the weight begins anew (Fu et al., 2019); 0 is never
    free_bits : nats per latent dimension, a mean over the batch, below which the KL costs nothing
        less (Kingma et al., 2016)
    learning_rate, batch_size : of Adam; sentences per step
    n_epochs, patience : maximum number of passes, and of those without a better development bound
    n_samples : of the importance-weighted bound that `score` returns
    """

    latent_size: int = 16
    embedding_size: int = 64
    hidden_size: int = 128
    bidirectional: bool = False
    dropout: float = 0.0
    word_dropout: float = 0.0
    beta: float = 1.0
    warm_up: float = 0.0
    cycle: float = 0.0
    free_bits: float = 0.0
    learning_rate: float = 2e-3
    batch_size: int = 64
    n_epochs: int = 10
    patience: int = 10
    n_samples: int = 100

    def __post_init__(self) -> None:
        check_each(self, check_integer, "embedding_size", "hidden_size", "batch_size")
        check_each(self, check_integer, "n_epochs", "patience", "n_samples")
        check_each(self, check_integer, "latent_size", least=0)
        check_each(self, check_flag, "bidirectional")
        check_each(self, check_share, "dropout")
        check_each(self, check_positive, "learning_rate")
        check_each(self, check_not_negative, "beta", "warm_up", "cycle", "free_bits")
        number = check_number("word_dropout", self.word_dropout, "a number from 0 to 1")
        if not 0 <= number <= 1:
            raise InputError(f"word_dropout is {self.word_dropout}: give a number from 0 to 1")
        if self.cycle and self.warm_up > self.cycle:
            raise InputError(
                f"warm_up is {self.warm_up} and cycle {self.cycle}: the weight of the KL would "
                "never reach 1; give a longer cycle"
            )

    def kl_weight(self, epochs: float) -> float:
        """The weight of the KL after so many epochs, counted in fractions."""
        if self.cycle:
            epochs %= self.cycle
        return self.beta * (min(1.0, epochs / self.warm_up) if self.warm_up else 1.0)


class SentenceVAE(nn.Module):
    """Encoder and decoder; weights are drawn from `generator`.

    Parameters
    ----------
    probability : (V,) what an untrained network roughly predicts: the unigram
    """

    def __init__(
        self, config: SentenceVAEConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        n_words, e, h = len(probability), config.embedding_size, config.hidden_size
        latent = config.latent_size
        with Uninitialised():
            self.decoder_embedding = nn.Parameter(torch.empty(n_words + 1, e))  # last: not seen
            self.decoder = nn.LSTM(e + latent, h)
            self.output = nn.Linear(h, n_words)
            if latent:
                self.encoder_embedding = nn.Parameter(torch.empty(n_words, e))
                self.encoder = Encoder(e, h, config.bidirectional)
                self.posterior = nn.Linear(self.encoder.output_size, 2 * latent)
                self.first_cell = nn.Linear(latent, h)
        reset_parameters(self, generator)
        with torch.no_grad():
            self.output.bias.copy_(torch.from_numpy(np.log(probability)))

    @property
    def unseen(self) -> int:
        """What the decoder reads in place of a word that is dropped."""
        return self.decoder_embedding.shape[0] - 1

    def encode(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z | words), (B, L) each.

        Parameters
        ----------
        generator : of dropout masks; None means no dropout
        """
        x = drop(self.encoder_embedding[batch.targets], self.config.dropout, generator)
        mean, log_variance = self.posterior(self.encoder(x, batch.lengths)).chunk(2, dim=1)
        return mean, log_variance

    def first_state(self, z: Tensor) -> State | None:
        """The decoder's state before the first word, from z (B, L)."""
        if not self.config.latent_size:
            return None
        cell = self.first_cell(z)[None]  # (1, B, H)
        return cell.tanh(), cell

    def read(
        self,
        words: Tensor,
        z: Tensor,
        state: State | None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """What the output layer reads after each of `words` (T, B), (T, B, H), and the state."""
        config = self.config
        if config.word_dropout >= 1:
            words = torch.full_like(words, self.unseen)
        elif generator is not None and config.word_dropout:
            hidden = torch.empty(words.shape).uniform_(generator=generator) < config.word_dropout
            words = words.masked_fill(hidden, self.unseen)
        x = drop(self.decoder_embedding[words], config.dropout, generator)  # (T, B, E)
        if config.latent_size:
            x = torch.cat([x, z.expand(len(x), *z.shape)], dim=2)
        states, state = self.decoder(x, state)
        return drop(states, config.dropout, generator), state

    def logits(self, batch: Batch, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(M, V) logits of the counted targets, in the order of (T, B)."""
        states, _ = self.read(batch.inputs, z, self.first_state(z), generator)
        return self.output(states[batch.counted])

    def log_p(self, batch: Batch, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """log p(words | z) of every document, (B,) nats."""
        logits = self.logits(batch, z, generator)
        return sum_by_document(target_log_p(logits, batch.targets[batch.counted]), batch.counted)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) of every dimension, (B, L) nats."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def negative_elbo(
    network: SentenceVAE,
    batch: Batch,
    kl_weight: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """What training minimises, summed over the batch, and -log p(words | z) alone.

    Parameters
    ----------
    kl_weight : of the KL
    generator : of z, dropout masks and words not seen
    """
    config, n_documents = network.config, len(batch.lengths)
    if not config.latent_size:
        loss = -network.log_p(batch, torch.empty(n_documents, 0), generator).sum()
        return loss, loss
    mean, log_variance = network.encode(batch, generator)
    if not config.beta:
        loss = -network.log_p(batch, mean, generator).sum()
        return loss, loss
    noise = torch.empty(mean.shape).normal_(generator=generator)
    z = mean + (0.5 * log_variance).exp() * noise  # (B, L)
    loss = -network.log_p(batch, z, generator).sum()
    kl = gaussian_kl(mean, log_variance).mean(dim=0)  # (L,)
    return loss + kl_weight * n_documents * kl.clamp(min=config.free_bits).sum(), loss
