"""Autoencoders of text: the sentence VAE of Bowman et al. (2016) and an LSTM of short phrases."""

from lla.peers.text_autoencoders.sentence_network import SentenceVAE, SentenceVAEConfig
from lla.peers.text_autoencoders.sentence_vae import FittedSentenceVAE, fit_sentence_vae

__all__ = ["FittedSentenceVAE", "SentenceVAE", "SentenceVAEConfig", "fit_sentence_vae"]
