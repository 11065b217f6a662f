"""What can be chosen of a network: which model of Table 1, and its sizes. Loads no Torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_choice,
    check_each,
    check_flag,
    check_instance,
    check_integer,
    check_options,
    check_share,
)

MODELS = {  # input transform, output transform
    "topic_lla": ("topic", "topic"),
    "word_lla": ("word", "topic"),
    "char_lla": ("character", "topic"),
    "word_lstm": ("word", "word"),
    "char_lstm": ("character", "word"),
}
INPUTS = ("topic", "word", "character")
MAX_CHARS = 1000  # of a word: V rows of so many ids are held in memory


@dataclass(frozen=True, repr=False)
class CharacterConfig(Configuration):
    """Sizes of the encoder; the paper searches both in {50, 100, 150}.

    Attributes
    ----------
    embedding_size : of the vector of a character
    hidden_size : of the state over characters
    min_words : a character in fewer words than this is unknown, so that the unknown is trained
    max_chars : characters of a word that are read; the rest is cut off
    """

    embedding_size: int = 50
    hidden_size: int = 50
    min_words: int = 2
    max_chars: int = 40

    def __post_init__(self) -> None:
        check_each(self, check_integer, "embedding_size", "hidden_size", "min_words")
        check_each(self, check_integer, "max_chars", most=MAX_CHARS)

    @classmethod
    def from_dict(cls, options: Mapping[str, int]) -> "CharacterConfig":
        """From what `dataclasses.asdict` wrote, in this version or an earlier one."""
        legacy_names = {"least_words": "min_words", "longest": "max_chars"}
        options = {legacy_names.get(name, name): value for name, value in options.items()}
        check_options(options, cls)
        return cls(**options)


@dataclass(frozen=True, repr=False)
class NetworkConfig(Configuration):
    """Sizes of a network; the paper searches embedding and state sizes in {50, 150, 250}.

    Attributes
    ----------
    n_inputs : number of distinct inputs (K for topic LLA, K(1 + S) beside a gate, else V); the
        start symbol comes on top
    n_outputs : number of distinct outputs (K for every LLA, V for a language model)
    embedding_size, hidden_size : E and H
    dropout : share of embedding and state units dropped, one mask per document and window
    input : what an input is: a topic, a word, or a word read letter by letter
    characters : sizes of the encoder that reads letters
    n_sources : S of the outputs, the last, that a gate chooses, a softmax beside that of the topics
        (see `probabilities`); 0 without one
    running_counts : the output reads the counts of the topics so far beside the state, too (see
        `CountingOutput`); where topics are the input
    user_rank, n_users : R and U of recurrences of users' own (see `UserRecurrence`); where topics
        are the input. 0 without
    """

    n_inputs: int
    n_outputs: int
    embedding_size: int = 50
    hidden_size: int = 150
    dropout: float = 0.0
    input: str = "topic"
    characters: CharacterConfig = field(default_factory=CharacterConfig)
    n_sources: int = 0
    running_counts: bool = False
    user_rank: int = 0
    n_users: int = 0

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_inputs", "n_outputs", "embedding_size", "hidden_size")
        check_each(self, check_integer, "n_sources", "user_rank", "n_users", least=0)
        if self.n_sources >= self.n_outputs:
            raise InputError(
                f"n_sources is {self.n_sources} and n_outputs {self.n_outputs}: the outputs are "
                "the topics, one at least, and then the sources; give more outputs"
            )
        check_each(self, check_share, "dropout")
        check_each(self, check_choice, "input", choices=INPUTS)
        check_each(self, check_flag, "running_counts")
        check_instance("characters", self.characters, CharacterConfig)
        if self.running_counts and self.input != "topic":
            raise InputError(
                f"running_counts is True and input {self.input!r}: only topics that are read can "
                "be counted; give input 'topic'"
            )
        if bool(self.user_rank) != bool(self.n_users) or (self.user_rank and self.input != "topic"):
            raise InputError(
                f"user_rank is {self.user_rank}, n_users {self.n_users} and input {self.input!r}: "
                "recurrences of users need all users and topics that are read; give both and "
                "input 'topic', or 0 twice"
            )

    def n_parameters(self, n_characters: int = 0) -> int:
        """Parameters as the paper counts them: of the input, 4H(E + H + 1) and of the output.

        The start symbol and Torch's second bias are left out.

        Parameters
        ----------
        n_characters : ids of characters, where words are read letter by letter
        """
        e, h = self.embedding_size, self.hidden_size
        if self.input == "character":
            e_c, h_c = self.characters.embedding_size, self.characters.hidden_size
            # Both directions, then D^f, D^b and b_d of equation 4.
            of_input = n_characters * e_c + 8 * h_c * (e_c + h_c + 1) + e * (2 * h_c + 1)
        elif self.reads_pairs:
            of_input = (self.n_topics + self.n_sources) * e
        else:
            of_input = self.n_inputs * e
        of_counts = 2 * len(self.softmax_sizes) if self.running_counts else 0
        of_users = self.user_rank * (self.n_users + 4 * h + h + 1)
        return of_input + 4 * h * (e + h + 1) + self.n_logits * (h + 1) + of_counts + of_users

    @property
    def reads_pairs(self) -> bool:
        """Whether an input is a topic and where its item came from."""
        return self.input == "topic" and self.n_sources > 0

    @property
    def n_topics(self) -> int:
        """Outputs that no gate chooses: K; V where words are predicted."""
        return self.n_outputs - self.n_sources

    @property
    def n_logits(self) -> int:
        """Outputs, and where there is a gate its choice of the topics."""
        return self.n_outputs + (self.n_sources > 0)

    @property
    def softmax_sizes(self) -> tuple[int, ...]:
        """How the logits divide among softmaxes: all in one, or K and 1 + S beside a gate."""
        return (self.n_topics, 1 + self.n_sources) if self.n_sources else (self.n_outputs,)
