"""What tells the checkpoints of two fits apart."""

import json
from dataclasses import replace

import pytest
from simulated import random_corpus

from lla.corpus import split_corpus
from lla.peers.autoencoder import AutoencoderConfig
from lla.peers.hmm import HMMConfig
from lla.peers.iterations import check_arguments
from lla.peers.source_lstm import SourceLSTMConfig

SPLIT = split_corpus(random_corpus())
CONFIGS = [AutoencoderConfig(), HMMConfig(), SourceLSTMConfig(sources=("next", "recent"))]


def identity(config, seed=1):
    fit = check_arguments(SPLIT, config, type(config), seed, checkpoint=None, on_iteration=None)
    return fit.identity("kind")


@pytest.mark.parametrize("config", CONFIGS)
def test_an_identity_is_what_a_file_gives_back(config):
    """Also of options that are tuples: a fit must find its own checkpoint again."""
    assert json.loads(json.dumps(identity(config))) == identity(config)


@pytest.mark.parametrize("config", CONFIGS)
def test_limits_do_not_tell_fits_apart_and_all_other_options_do(config):
    limit = "n_iterations" if hasattr(config, "n_iterations") else "n_epochs"
    assert identity(replace(config, patience=9, **{limit: 77})) == identity(config)
    assert identity(config, seed=2) != identity(config)
    size = "n_topics" if hasattr(config, "n_topics") else "hidden_size"
    assert identity(replace(config, **{size: 7})) != identity(config)
    assert list(identity(config)["config"]) == list(vars(config)), "the order names differences"
