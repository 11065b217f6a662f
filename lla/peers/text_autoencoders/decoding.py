"""Sentences from latent vectors: the likeliest next word again and again, or a beam."""

import torch
from torch import Tensor

from lla.peers.text_autoencoders.sentence_network import SentenceVAE


@torch.no_grad()
def greedy(
    network: SentenceVAE, z: Tensor, first: int, last: int, max_words: int, beam: int = 1
) -> list[list[int]]:
    """The likeliest word after each word, for every z of (B, L); `beam` is 1."""
    n = len(z)
    state, words = network.first_state(z), torch.full((1, n), first)
    found = torch.full((max_words, n), last)
    running = torch.ones(n, dtype=torch.bool)
    for t in range(max_words):
        states, state = network.read(words, z, state)
        words = network.output(states).argmax(dim=2)  # (1, B)
        running &= words[0] != last
        if not running.any():
            break
        found[t, running] = words[0, running]
    return [_until(column, last) for column in found.T.tolist()]


def _until(words: list[int], last: int) -> list[int]:
    return words[: words.index(last)] if last in words else words


@torch.no_grad()
def beam_search(
    network: SentenceVAE, z: Tensor, first: int, last: int, max_words: int, beam: int
) -> list[list[int]]:
    """The sentence of the highest log p(words, end | z) that a beam finds, for every z of (B, L).

    One that has reached `max_words` is taken without its end.
    """
    return [_search(network, one[None], first, last, max_words, beam) for one in z]


def _search(
    network: SentenceVAE, z: Tensor, first: int, last: int, max_words: int, beam: int
) -> list[int]:
    state = network.first_state(z)
    sentences: list[list[int]] = [[]]
    log_p = torch.zeros(1)
    best, best_log_p = sentences[0], -torch.inf
    for _ in range(max_words):
        words = torch.tensor([[s[-1] if s else first for s in sentences]])
        states, state = network.read(words, z.expand(len(sentences), -1), state)
        scores = log_p[:, None] + network.output(states[0]).log_softmax(dim=1)  # (S, V)
        end = int(scores[:, last].argmax())
        if scores[end, last] > best_log_p:
            best, best_log_p = sentences[end], float(scores[end, last])
        scores[:, last] = -torch.inf
        log_p, places = scores.flatten().topk(min(beam, scores.numel() - len(scores)))
        kept = places // scores.shape[1]
        sentences = [
            [*sentences[k], w]
            for k, w in zip(kept.tolist(), (places % scores.shape[1]).tolist(), strict=True)
        ]
        state = (state[0][:, kept], state[1][:, kept])
        if log_p[0] <= best_log_p:  # no longer sentence can be likelier
            return best
    return best if best_log_p > log_p[0] else sentences[0]
