"""One function per figure: numbers go in, Axes come out. Nothing is saved, shown or closed here.

Every function draws into the Axes it is given, or into a new figure, and returns what it drew on.
Models may be given by their keys in result files; they are labelled with their names for people.
"""

from experiments.figures.collaborative import (
    errors_by_entropy,
    errors_by_model,
    errors_by_state_size,
)
from experiments.figures.corpus import document_lengths, word_frequencies
from experiments.figures.curves import (
    convergence,
    joint_gain,
    learning_curve,
    learning_curves,
    log_likelihood_trace,
    particles_curve,
    topics_sweep,
)
from experiments.figures.models import (
    ablation_effects,
    accuracy_vs_size,
    own_counts_effect,
    ranking_bars,
    table4_bars,
)
from experiments.figures.neural_topics import (
    collapse_panels,
    completion_and_topics,
    dirichlet_samples,
    divergence_fits,
    estimator_variances,
    latent_planes,
    setting_sweep,
)
from experiments.figures.predictions import ranking_over_history, reliability, source_shares
from experiments.figures.text_autoencoders import against_base, latent_space, sentence_bounds
from experiments.figures.topic_map import (
    memory_curves,
    topic_dendrogram,
    topic_flow,
    topic_plane,
    what_follows,
)
from experiments.figures.topics import aligned_topics, topic_words, topics_ahead
from experiments.style import style

__all__ = [
    "ablation_effects",
    "accuracy_vs_size",
    "against_base",
    "aligned_topics",
    "collapse_panels",
    "completion_and_topics",
    "convergence",
    "dirichlet_samples",
    "divergence_fits",
    "document_lengths",
    "errors_by_entropy",
    "errors_by_model",
    "errors_by_state_size",
    "estimator_variances",
    "joint_gain",
    "latent_planes",
    "latent_space",
    "learning_curve",
    "learning_curves",
    "log_likelihood_trace",
    "memory_curves",
    "own_counts_effect",
    "particles_curve",
    "ranking_bars",
    "ranking_over_history",
    "reliability",
    "sentence_bounds",
    "setting_sweep",
    "source_shares",
    "style",
    "table4_bars",
    "topic_dendrogram",
    "topic_flow",
    "topic_plane",
    "topic_words",
    "topics_ahead",
    "topics_sweep",
    "what_follows",
    "word_frequencies",
]
