"""Sentences from latent vectors: the likeliest next words, words that are drawn, or a beam."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lla.peers.text_autoencoders.sentence_network import SentenceVAE


@torch.no_grad()
def greedy(
    network: SentenceVAE,
    z: Tensor,
    first: int,
    last: int,
    max_words: int,
    beam: int = 1,
    without: Sequence[int] = (),
) -> list[list[int]]:
    """The likeliest word after each word, for every z of (B, L); `beam` is 1."""
    return _one_by_one(network, z, first, last, max_words, without, lambda x: x.argmax(dim=1))


@torch.no_grad()
def sample(
    network: SentenceVAE,
    z: Tensor,
    first: int,
    last: int,
    max_words: int,
    without: Sequence[int],
    generator: torch.Generator,
) -> list[list[int]]:
    """Every word drawn from p(w | z, words before it), for every z of (B, L)."""

    def draw(logits: Tensor) -> Tensor:
        return torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]

    return _one_by_one(network, z, first, last, max_words, without, draw)


def _one_by_one(
    network: SentenceVAE,
    z: Tensor,
    first: int,
    last: int,
    max_words: int,
    without: Sequence[int],
    choose: Callable[[Tensor], Tensor],
) -> list[list[int]]:
    """Sentences whose next words (B,) are chosen from the logits (B, V)."""
    n = len(z)
    state, words = network.first_state(z), torch.full((1, n), first)
    found = torch.full((max_words, n), last)
    running = torch.ones(n, dtype=torch.bool)
    for t in range(max_words):
        states, state = network.read(words, z, state)
        logits = network.output(states)
        logits[..., list(without)] = -torch.inf
        words = choose(logits[0])[None]  # (1, B)
        running &= words[0] != last
        if not running.any():
            break
        found[t, running] = words[0, running]
    return [_until(column, last) for column in found.T.tolist()]


def _until(words: list[int], last: int) -> list[int]:
    return words[: words.index(last)] if last in words else words


@torch.no_grad()
def beam_search(
    network: SentenceVAE,
    z: Tensor,
    first: int,
    last: int,
    max_words: int,
    beam: int,
    without: Sequence[int] = (),
) -> list[list[int]]:
    """The sentence with the highest log p per word, its end counted, that a beam finds.

    Without the division the shortest sentence is often the likeliest. The search ends when `beam`
    sentences have ended.
    """
    return [_search(network, one[None], first, last, max_words, beam, without) for one in z]


def _search(
    network: SentenceVAE,
    z: Tensor,
    first: int,
    last: int,
    max_words: int,
    beam: int,
    without: Sequence[int],
) -> list[int]:
    state = network.first_state(z)
    sentences: list[list[int]] = [[]]
    log_p = torch.zeros(1)
    ended: list[tuple[float, list[int]]] = []
    for n_words in range(1, max_words + 1):
        words = torch.tensor([[s[-1] if s else first for s in sentences]])
        states, state = network.read(words, z.expand(len(sentences), -1), state)
        scores = log_p[:, None] + network.output(states[0]).log_softmax(dim=1)  # (S, V)
        scores[:, list(without)] = -torch.inf
        best = scores.flatten().topk(min(beam, scores.numel()))
        rows, words = best.indices // scores.shape[1], best.indices % scores.shape[1]
        ends = words == last
        for row, value in zip(rows[ends].tolist(), best.values[ends].tolist(), strict=True):
            ended.append((value / n_words, sentences[row]))
        log_p, kept, words = best.values[~ends], rows[~ends], words[~ends]
        sentences = [
            [*sentences[row], word] for row, word in zip(kept.tolist(), words.tolist(), strict=True)
        ]
        if len(ended) >= beam or not sentences:
            break
        state = (state[0][:, kept], state[1][:, kept])
    if not ended:
        return sentences[0]
    return max(ended, key=lambda pair: pair[0])[1]
