"""How large a model is, counted alike for all: parameters as the paper counts them, and bytes."""

from dataclasses import dataclass

import numpy as np
from safetensors.torch import save
from scipy.sparse import csr_array
from torch import Tensor, from_numpy

from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.inference.emission import topic_counts
from lla.lstm import NetworkConfig
from lla.model import Model


@dataclass(frozen=True)
class Size:
    """A model's size.

    Attributes
    ----------
    network : parameters of the network; the start symbol and Torch's second bias are left out
    phi : parameters of the emission: its non-zero counts, as the paper counts them, and τ
    n_bytes : of the file that holds both, weights in float32, counts in compressed rows
    """

    network: int
    phi: int
    n_bytes: int

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.network + self.phi


def n_parameters(config: NetworkConfig, n_characters: int = 0) -> int:
    """Parameters of a network: of its input, 4H(E + H + 1) of the LSTM, and of its output.

    Parameters
    ----------
    n_characters : ids of characters, where words are read letter by letter
    """
    e, h = config.embedding_size, config.hidden_size
    if config.input == "character":
        e_c, h_c = config.characters.embedding_size, config.characters.hidden_size
        # Both directions, then D^f, D^b and b_d of equation 4.
        of_input = n_characters * e_c + 8 * h_c * (e_c + h_c + 1) + e * (2 * h_c + 1)
    else:
        of_input = config.n_inputs * e
    return of_input + 4 * h * (e + h + 1) + config.n_outputs * (h + 1)


def size_of_counts(words: np.ndarray, topics: np.ndarray, n_words: int, n_topics: int) -> Size:
    """Size of φ alone: LDA's, and an LLA's apart from its network; words and topics (N,)."""
    counts = csr_array(topic_counts(words, topics, n_words, n_topics)[0].astype(np.int32))
    parts = {name: from_numpy(getattr(counts, name)) for name in ("data", "indices", "indptr")}
    return Size(0, counts.nnz, len(save(parts)))


def size_of(model: Model, observed: Corpus) -> Size:
    """Size of a model of Table 1; a φ that was learned by gradient has no zeros.

    Raises
    ------
    InputError
        When φ is to be counted, and the model has no assignments of `observed`'s tokens.
    """
    network = model.network
    state: dict[str, Tensor] = {n: v.contiguous() for n, v in network.state_dict().items()}
    learned = state.pop("topic_words.weight", None)
    letters = network.config.input == "character"
    count = n_parameters(network.config, len(network.input.weight) if letters else 0)
    if learned is not None:
        phi = Size(0, learned.numel(), len(save({"phi": learned})))
    elif model.emission is None:
        phi = Size(0, 0, 0)
    elif len(model.topics) != observed.n_tokens:
        raise InputError(
            f"the model has {len(model.topics)} assignments for {observed.n_tokens} tokens: give "
            "a model as fit_sem or load_sem returns it, and the corpus it was fitted to"
        )
    else:
        n_topics = network.config.n_outputs
        phi = size_of_counts(observed.words, model.topics, observed.n_words, n_topics)
    # Tables stand where counts do, so φ has as many non-zeros; τ comes on top.
    more = model.emission.arrays()[1:] if model.emission else ()
    beside = sum(value.numel() for value in more)
    return Size(count, phi.phi + beside, len(save(state)) + phi.n_bytes + 4 * beside)
