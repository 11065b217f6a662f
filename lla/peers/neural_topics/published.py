"""Settings of public implementations, on the classes here, with what they do wrong kept.

What each does is an option: the decoder's background lost, the encoder's offsets lost, statistics
of normalisation from a moving average or from the documents that are evaluated, the last epoch kept
whatever it is, a prior that is trained, a divergence weighted twice. Put one right, as in
``replace(PUBLISHED["octis"], background=True)``, to see what it costs.

Not here: log(p + 1e-10) in the loss, minibatches drawn with replacement, backgrounds that start at
0, patience by the training loss, and test documents among those that stop training, or train.
"""

from lla.peers.neural_topics.config import (
    DirichletRSVIConfig,
    DirichletVAEConfig,
    NeuralTopicsConfig,
    ProdLDAConfig,
)

PUBLISHED: dict[str, NeuralTopicsConfig] = {
    # Srivastava & Sutton: evaluated one document at a time, on the statistics of that document.
    "prodlda_authors": ProdLDAConfig(
        dropout=0.6, topic_dropout=0.6, statistics="document", keep="last"
    ),
    # OCTIS, and the implementations it descends from.
    "octis": ProdLDAConfig(
        background=False,
        offset=False,
        statistics="running",
        learn_prior=True,
        batch_size=64,
        second_momentum=0.99,
        n_epochs=100,
        keep="last",
    ),
    # Pyro's tutorial: the prior is N(0, I).
    "pyro": ProdLDAConfig(
        posterior="gaussian_softmax",
        background=False,
        offset=False,
        statistics="running",
        batch_size=32,
        learning_rate=1e-3,
        momentum=0.9,
        n_epochs=50,
        keep="last",
    ),
    # Burkhardt & Kramer: evaluated on the statistics of the batch that is evaluated.
    "dirichlet_authors": DirichletRSVIConfig(prior=0.01, statistics="batch"),
    # A later version of theirs in PyTorch.
    "dirichlet_pytorch": DirichletVAEConfig(
        beta=2.0,
        dropout=0.2,
        batch_size=128,
        warm_up=0,
        statistics="running",
        running_momentum=1e-3,
    ),
}
