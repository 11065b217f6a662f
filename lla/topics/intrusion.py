"""The word intrusion test (Chang et al., 2009): can a person tell which word does not belong?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lla.common.errors import (
    InputError,
    check_instance,
    check_integer,
    check_list,
    check_seed,
    check_texts,
)
from lla.common.random import StreamId, stream
from lla.topics.words import check_phi, top_word_ids


@dataclass(frozen=True)
class Intruder:
    """The answer to one question.

    Attributes
    ----------
    topic : whose top words are shown
    other : the topic that the intruder is a top word of
    word : the intruder
    place : where it stands among the words shown, from 0
    """

    topic: int
    other: int
    word: str
    place: int


def intrusion_test(
    phi: np.ndarray,
    vocabulary: Sequence[str],
    seed: int,
    n_questions: int = 10,
    n_words: int = 5,
) -> tuple[list[tuple[str, ...]], list[Intruder]]:
    """Questions, each the shuffled top words of a topic and one intruder, and their key.

    An intruder is among the first `n_words` of another topic, and in the less likely half of the
    vocabulary in this one. Every topic is asked for at most once, and every intruder is another
    word. The same seed gives the same test.

    Parameters
    ----------
    phi : (V, K)
    n_questions : at most K
    n_words : top words in a question, beside the intruder

    Returns
    -------
    questions, key : (n_questions,) of n_words + 1 words, and where the intruder of each stands

    Raises
    ------
    InputError
        When there are fewer topics for which an intruder is left.
    """
    check_phi(phi, len(vocabulary))
    check_seed(seed)
    check_integer("n_questions", n_questions)
    check_integer("n_words", n_words)
    draw = stream(seed, StreamId.INTRUSION)
    top = top_word_ids(phi, n_words)  # (n_words, K)
    questions: list[tuple[str, ...]] = []
    key: list[Intruder] = []
    used: set[int] = set()
    for topic in draw.permutation(phi.shape[1]).tolist():
        if len(questions) == n_questions:
            break
        candidates = _candidates(phi, top, topic, used)
        if not candidates:
            continue
        word, other = candidates[int(draw.integers(len(candidates)))]
        used.add(word)
        shown = draw.permutation([*top[:, topic], word]).tolist()
        questions.append(tuple(vocabulary[w] for w in shown))
        place = shown.index(word)
        key.append(Intruder(topic=topic, other=other, word=vocabulary[word], place=place))
    if len(questions) < n_questions:
        raise InputError(
            f"n_questions is {n_questions}: {len(questions)} of {phi.shape[1]} topics have an "
            "intruder; give as many or fewer"
        )
    return questions, key


def _candidates(
    phi: np.ndarray, top: np.ndarray, topic: int, used: set[int]
) -> list[tuple[int, int]]:
    """Words that may intrude into a topic, each with the topic that it is taken from.

    Parameters
    ----------
    phi : (V, K)
    top : (n, K) ids of the top words of every topic
    used : words that are left out, as intruders of other questions
    """
    unlikely = phi[:, topic] <= np.median(phi[:, topic])
    own = {*top[:, topic].tolist(), *used}
    return [
        (int(w), other)
        for other in range(phi.shape[1])
        for w in top[:, other]
        if other != topic and unlikely[w] and int(w) not in own
    ]


def questions_text(questions: Sequence[Sequence[str]]) -> str:
    """The questions to print, one per line, words numbered as `intrusion_score` takes them."""
    lines = []
    for number, words in enumerate(check_list("questions", questions), start=1):
        shown = check_texts(f"question {number}", check_list(f"question {number}", words))
        numbered = "   ".join(f"{place} {word}" for place, word in enumerate(shown))
        lines.append(f"{number:3d}.  {numbered}")
    return "\n".join(lines)


def intrusion_score(key: Sequence[Intruder], answers: Sequence[int]) -> float:
    """Share of questions whose intruder was found.

    Parameters
    ----------
    answers : the place of the word chosen in each question, from 0
    """
    key, answers = check_list("key", key), check_list("answers", answers)
    if not key or len(answers) != len(key):
        raise InputError(f"answers: {len(answers)} to {len(key)} questions; give one to each")
    for intruder in key:
        check_instance("key", intruder, Intruder)
    chosen = [check_integer("answers", answer, least=0) for answer in answers]
    right = sum(of.place == place for of, place in zip(key, chosen, strict=True))
    return right / len(key)
