"""Autoencoders of text: the sentence VAE of Bowman et al. (2016) and an LSTM of short phrases."""

from lla.peers.text_autoencoders.phrase_autoencoder import (
    FittedPhraseAutoencoder,
    fit_phrase_autoencoder,
)
from lla.peers.text_autoencoders.phrase_network import PhraseAutoencoder, PhraseConfig
from lla.peers.text_autoencoders.sentence_network import SentenceVAE, SentenceVAEConfig
from lla.peers.text_autoencoders.sentence_vae import FittedSentenceVAE, fit_sentence_vae

__all__ = [
    "FittedPhraseAutoencoder",
    "FittedSentenceVAE",
    "PhraseAutoencoder",
    "PhraseConfig",
    "SentenceVAE",
    "SentenceVAEConfig",
    "fit_phrase_autoencoder",
    "fit_sentence_vae",
]
