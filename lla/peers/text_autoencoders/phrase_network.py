"""An LSTM autoencoder of short phrases with a small latent vector.

After the blog "Latent space encoding using LSTMs": embedding, LSTM, batch normalisation and a dense
layer make the vector, which goes through dense layers to every step of a second LSTM.

    z = A · norm(last states of an LSTM over w) + a
    p(w_t | z) = softmax(W relu(D h_t + d) + b)[w_t],   h_t = LSTM(f(z), h_{t-1}),
    f(z) = relu(C relu(B z + b') + c)

The decoder reads no words, so all words of a phrase are independent given z. The vector has no
noise and no prior: p(w | z(w)) is how well a phrase is reproduced, no probability of the phrase.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.display import Configuration
from lla.common.eager import Uninitialised
from lla.common.errors import (
    check_choice,
    check_each,
    check_flag,
    check_integer,
    check_not_negative,
    check_positive,
)
from lla.peers.text_autoencoders.layers import Encoder, reset_parameters

HEADS = ("none", "decoder", "latent")


@dataclass(frozen=True, repr=False)
class PhraseConfig(Configuration):
    """Everything a fit depends on but the seed; the blog states the size of z alone.

    Attributes
    ----------
    latent_size : numbers in z
    embedding_size, hidden_size : of a word, and of each LSTM's state
    bidirectional : whether the encoder reads in both directions
    head : what the sentiment is read from: nothing, the decoder's last state, as in the blog, or z
    head_weight : of the sentiment's cross-entropy beside that of a word
    learning_rate, batch_size : of Adam; phrases per step
    n_epochs, patience : maximum number of passes, and of those without a better development loss
    """

    latent_size: int = 3
    embedding_size: int = 32
    hidden_size: int = 64
    bidirectional: bool = True
    head: str = "none"
    head_weight: float = 1.0
    learning_rate: float = 4e-3
    batch_size: int = 128
    n_epochs: int = 15
    patience: int = 5

    def __post_init__(self) -> None:
        check_each(self, check_integer, "latent_size", "embedding_size", "hidden_size")
        check_each(self, check_integer, "n_epochs", "patience")
        check_each(self, check_integer, "batch_size", least=2)  # of one phrase there is no variance
        check_each(self, check_flag, "bidirectional")
        check_each(self, check_choice, "head", choices=HEADS)
        check_each(self, check_not_negative, "head_weight")
        check_each(self, check_positive, "learning_rate")


class Standardise(nn.Module):
    """Batch normalisation; outside training with the statistics of all training phrases.

    Averages over the last batches, as PyTorch's own layer keeps, depend on a momentum and are no
    parameters, so that a checkpoint of parameters would not have them.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))
        self.shift = nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H), by the batch's own statistics in training."""
        if self.training:
            mean, variance = x.mean(dim=0), x.var(dim=0, unbiased=False)
        else:
            mean, variance = self.mean, self.variance
        return (x - mean) / (variance + 1e-5).sqrt() * self.scale + self.shift


class PhraseAutoencoder(nn.Module):
    """Encoder, decoder and head; weights are drawn from `generator`.

    Parameters
    ----------
    probability : (V,) what an untrained network roughly predicts: the unigram
    """

    def __init__(
        self, config: PhraseConfig, probability: np.ndarray, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        n_words, e, h = len(probability), config.embedding_size, config.hidden_size
        with Uninitialised():
            self.embedding = nn.Parameter(torch.empty(n_words, e))
            self.encoder = Encoder(e, h, config.bidirectional)
            self.norm = Standardise(self.encoder.output_size)
            self.to_latent = nn.Linear(self.encoder.output_size, config.latent_size)
            self.from_latent = nn.Sequential(
                nn.Linear(config.latent_size, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU()
            )
            self.decoder = nn.LSTM(h, h)
            self.before_output = nn.Linear(h, h)
            self.output = nn.Linear(h, n_words)
            if config.head != "none":
                self.head = nn.Linear(h if config.head == "decoder" else config.latent_size, 1)
        reset_parameters(self, generator)
        with torch.no_grad():
            self.norm.scale.fill_(1.0)
            self.output.bias.copy_(torch.from_numpy(np.log(probability)))

    def final_states(self, words: Tensor) -> Tensor:
        """What batch normalisation reads, (B, H or 2H), from words (B, n)."""
        x = F.embedding(words.T, self.embedding)  # (n, B, E)
        return self.encoder(x, torch.full((len(words),), words.shape[1]))

    def encode(self, words: Tensor) -> Tensor:
        """z (B, L) of phrases (B, n)."""
        return self.to_latent(self.norm(self.final_states(words)))

    def decode(self, z: Tensor, n_words: int) -> tuple[Tensor, Tensor]:
        """Logits (n, B, V) of every word, and the decoder's last state (B, H)."""
        repeated = self.from_latent(z).expand(n_words, -1, -1)
        states, _ = self.decoder(repeated)  # (n, B, H)
        return self.output(self.before_output(states).relu()), states[-1]

    def positive_logit(self, z: Tensor, last_state: Tensor) -> Tensor:
        """(B,) log-odds that a phrase is from a positive review."""
        return self.head(last_state if self.config.head == "decoder" else z)[:, 0]


def loss_of(
    network: PhraseAutoencoder, words: Tensor, positive: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What training minimises, a mean over the phrases, and the cross-entropy per word alone.

    Parameters
    ----------
    words : (B, n)
    positive : (B,) share of positive reviews among those that have the phrase
    """
    z = network.encode(words)
    logits, last_state = network.decode(z, words.shape[1])
    per_word = F.cross_entropy(logits.flatten(0, 1), words.T.flatten())
    if network.config.head == "none" or positive is None:
        return per_word, per_word
    logit = network.positive_logit(z, last_state)
    sentiment = F.binary_cross_entropy_with_logits(logit, positive)
    return per_word + network.config.head_weight * sentiment, per_word
