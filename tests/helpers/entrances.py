"""The public entrances of `lla`, with values that each argument admits and values it refuses."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from fuzzing import Argument, Entrance
from simulated import random_corpus
from small_sem import SMALL

import data_prep
import lla
from experiments.families import FAMILIES
from lla.common.threads import thread_pool
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate import perplexity, ranking
from lla.inference import batch, device, emission, filter, gradient, histories, metropolis, session
from lla.lda import expected_document_topic, init_lda, score_held_out
from lla.lstm import Network
from lla.model import Model
from lla.samplers.lda import document_topic_counts, topic_counts
from lla.samplers.sparse_lda import SparseSampler
from lla.topics import tables, words

K, V = 3, 12
SMALL_SEM = replace(SMALL, n_iterations=2, patience=1)
SETTINGS: dict[str, dict[str, Any]] = {  # of the families, so that a fit takes no time
    "lda": {"n_topics": K, "n_sweeps": 3},
    "ddlda": {"n_topics": K, "n_sweeps": 2},
    "autoencoder": {"hidden_size": 5, "code_size": 3, "n_epochs": 2},
    "gru4rec": {"embedding_size": 4, "hidden_size": 5, "n_epochs": 2},
    "sasrec": {"hidden_size": 4, "n_heads": 2, "n_blocks": 1, "n_epochs": 2},
    "lla": {"n_topics": K, "n_iterations": 2, "embedding_size": 4, "hidden_size": 5},
}
# Values of every kind. What is huge is so in its size alone: nothing of that size is allocated.
JUNK: list[Any] = [
    *(None, True, -1, 0, 1, 2.5, -0.5, 10**30, -(10**30), float("nan"), float("inf"), 1e-44),
    *("", "w1", "3", b"w1", [], ["w1"], [[1, 2], [3]], [["a"], ["b"]], {}, {"w1": 1}, (), object()),
    *(np.int64(2), np.float32(0.5), np.bool_(True), np.array(3), np.array([]), np.array(["a"])),
    *(np.array([1, -1]), np.array([np.nan]), np.zeros((2, 2)), np.zeros(5, bool), np.arange(7)),
    *(Path("no such folder/x"), "no such folder/x", print, int, Exception("x"), range(3), {1, 2}),
]


def other_corpora(corpus: Corpus) -> list[Corpus]:
    """The same documents under other words: as many, in another order, fewer, more."""
    documents = [corpus.document(d) for d in range(corpus.n_documents)]
    renamed = [f"other {w}" for w in range(V)]
    more = [f"w{w}" for w in range(3 * V)]
    fewer = [f"w{w}" for w in range(V - 4)]
    return [
        Corpus.from_documents(documents, renamed),
        Corpus.from_documents(documents, corpus.vocabulary[::-1]),
        Corpus.from_documents([2 * words + 1 for words in documents], more),
        Corpus.from_documents([words % len(fewer) for words in documents], fewer),
    ]


def wrong_topics(n_tokens: int) -> list[Any]:
    """What must not be taken for assignments of `n_tokens` tokens to K topics."""
    good = np.zeros(n_tokens, np.int32)
    return [
        *(good + K, good - 1, good[:-1], np.append(good, 0), good + 10**6, good.astype(float)),
        *(good.astype(str), good[:, None], np.full(n_tokens, np.nan), np.full(n_tokens, 2**40)),
    ]


class World:
    """A corpus, its split, others that do not fit, and models of every kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = random_corpus(14, n_words=V, longest=9, seed=4)
        self.split = split_corpus(self.corpus, seed=1)
        self.others = other_corpora(self.corpus)
        self.other_splits = [split_corpus(corpus, seed=1) for corpus in self.others]
        self.lda = lla.fit_lda(self.split, lla.LDAConfig(K, n_sweeps=3), 1)
        self.start = self.lda.topics
        self.models = dict(self._models())
        self.fits = dict(self._fits())

    def _models(self) -> Iterator[tuple[str, Model]]:
        kinds: dict[str, dict[str, Any]] = {
            "topic": {},
            "personal": {"emission": "personal"},
            "word": {"model": "word_lla"},
            "lstm": {"model": "word_lstm"},
            "letters": {"model": "char_lla"},
        }
        for name, options in kinds.items():
            config = replace(SMALL_SEM, **options)
            start = self.start if config.has_topics else None
            yield name, lla.fit_sem(self.split, config, 1, start=start)

    def _fits(self) -> Iterator[tuple[str, Any]]:
        for key, family in FAMILIES.items():
            if key != "oracle":
                config = family.configure(SETTINGS.get(key, {}))
                start = {"start": self.start} if family.needs_start(config) else {}
                yield key, family.fit(self.split, config, 1, **start)

    def network(self, name: str) -> Network:
        """Of one of the models."""
        return self.models[name].network


def entrances(world: World) -> list[Entrance]:
    """All of them."""
    return [
        *of_corpora(world),
        *of_configurations(),
        *of_families(world),
        *of_models(world),
        *of_sessions(world),
        *of_evaluation(world),
        *of_reading(world),
        *of_passes(world),
        *of_raw_data(world),
    ]


def of_corpora(world: World) -> Iterator[Entrance]:
    corpus, split = world.corpus, world.split
    bad_words = [corpus.words.astype(int) + V, -corpus.words.astype(int) - 1, corpus.words[:-1]]
    bad_offsets = [
        corpus.offsets[::-1],
        corpus.offsets[:-1],
        corpus.offsets + 1,
        corpus.offsets * 2,
    ]
    n = corpus.n_documents
    yield Entrance(
        "Corpus",
        Corpus,
        {
            "words": Argument([corpus.words], bad_words),
            "offsets": Argument([corpus.offsets], bad_offsets),
            "vocabulary": Argument([corpus.vocabulary], [corpus.vocabulary[:3]]),
            "names": Argument([(), tuple(map(str, range(n)))], [("one",)]),
        },
    )
    documents = [corpus.document(d).tolist() for d in range(n)]
    yield Entrance(
        "Corpus.from_documents",
        Corpus.from_documents,
        {
            "documents": Argument([documents], [[[0], [V]], [[-1]], [[]], [], [["w1"]], [[0.5]]]),
            "vocabulary": Argument([corpus.vocabulary], [(), ("a", "a"), ("",)]),
        },
    )
    numbers = Argument([0, n - 1, np.int64(3)], [n, -1, 1.0, "w1", True])
    yield Entrance("Corpus.document", corpus.document, {"d": numbers})
    yield Entrance("Corpus.items", corpus.items, {"document": numbers})
    masks = Argument(
        [np.arange(n) < 4, np.array([2, 0]), [1, 2]],
        [np.zeros(n, bool), np.array([n]), np.array([-1]), np.ones(n + 1, bool), np.array([0.5])],
    )
    yield Entrance("Corpus.select", corpus.select, {"documents": masks})
    yield Entrance("Split.restrict", split.restrict, {"documents": masks})
    values = Argument([np.zeros(corpus.n_tokens)], [np.zeros(3), np.zeros((2, 2))])
    yield Entrance("Split.sum_held_out", split.sum_held_out, {"values": values})
    yield Entrance(
        "Split",
        Split,
        {
            "corpus": Argument([corpus], [world.others[0], world.others[2]]),
            "observed": Argument([split.observed], world.others),
            "n_observed": Argument([split.n_observed], [split.n_observed - 9, corpus.lengths + 1]),
            "development": Argument([split.development], [split.development.astype(int)]),
        },
    )
    yield Entrance(
        "split_corpus",
        split_corpus,
        {
            "corpus": Argument([corpus, *world.others], [split]),
            "observed": Argument([0.6, 0.01, 0.99], [0, 1, 1.5, -1]),
            "development": Argument([0, 0.1, 0.9], [1, -0.1]),
            "seed": Argument([0, 5], [-1, 0.5, "a"]),
        },
    )
    saved = world.folder / "corpus"
    lla.save_corpus(corpus, saved)
    yield Entrance("load_corpus", lla.load_corpus, {"folder": Argument([saved, str(saved)], [""])})
    yield Entrance(
        "save_corpus",
        lla.save_corpus,
        {
            "corpus": Argument([corpus], [split]),
            "folder": Argument([world.folder / "other"], [world.folder, ""], anything=False),
        },
    )


def of_configurations() -> Iterator[Entrance]:
    """Every option by itself is tried with values of every kind."""
    classes = [lla.LDAConfig, lla.SEMConfig, gradient.TrainConfig, metropolis.MHConfig]
    classes += [filter.FilterConfig, histories.HistoryConfig]
    classes += [family.config for family in FAMILIES.values()]
    classes += [data_prep.EventOptions, data_prep.TextOptions, data_prep.WikipediaOptions]
    classes += [data_prep.DatasetOptions, data_prep.ClickConfig]
    for kind in dict.fromkeys(classes):
        default = kind()
        options = {f.name: Argument([getattr(default, f.name)]) for f in fields(kind) if f.init}
        if options:
            yield Entrance(kind.__name__, kind, options)
    options = {name: Argument([value]) for name, value in vars(SMALL_SEM).items()}
    yield Entrance("SEMConfig.replace", SMALL_SEM.replace, options)


def of_families(world: World) -> Iterator[Entrance]:
    """`fit`, `score` and `next_items` of every family."""
    splits = Argument([world.split], [world.corpus, *world.others])
    wrong = wrong_topics(world.split.observed.n_tokens)
    for key, family in FAMILIES.items():
        if key == "oracle":
            continue
        config = family.configure(SETTINGS.get(key, {}))
        other = lla.SEMConfig() if key == "lda" else lla.LDAConfig()
        arguments = {
            "split": splits,
            "config": Argument([config], [other, "lda"]),
            "seed": Argument([0, 3, np.int32(2)], [-1, 0.5, "a", True]),
        }
        parameters = inspect.signature(family.fit).parameters
        if "checkpoint" in parameters:
            arguments["checkpoint"] = Argument([None], [world.folder, 3], anything=False)
            arguments["n_threads"] = Argument([None, 1, 2], [0, -1, "a"])
        if family.needs_start(config):
            arguments["start"] = Argument([world.start], [None, *wrong, world.lda])
        yield Entrance(f"fit_{key}", family.fit, arguments)
        fitted = world.fits[key]
        scored = {
            "split": Argument([world.split], [world.corpus, *world.other_splits]),
            "seed": Argument([0, 1]),
        }
        yield Entrance(f"{key}.score", fitted.score, scored)
        callback = {"on_scores": Argument([ignore], [None, 3, "a"], anything=False)}
        yield Entrance(f"{key}.next_items", fitted.next_items, scored | callback)


def ignore(positions: np.ndarray, scores: np.ndarray) -> None:
    """A callback that keeps nothing."""


HISTORY = Argument(
    [["w1"], [], ["w2", "w2", "unknown"], ("w0",)], ["w1", 3, None, [0.5], [None], [["w1"]]]
)
PARTICLES = Argument([1, 4], [0, -1, 2.5, "a"])
SEED = Argument([0, 7], [-1, 0.5, "a"])


def of_models(world: World) -> Iterator[Entrance]:
    split = Argument([world.split], [world.corpus, *world.other_splits])
    for name, model in world.models.items():
        read = {"history": HISTORY, "n_particles": PARTICLES, "seed": SEED}
        size = Argument([1, 5], [0, -1, 1.5])
        yield Entrance(
            f"{name}.score", model.score, {"split": split, "seed": SEED, "n_particles": PARTICLES}
        )
        yield Entrance(
            f"{name}.log_evidence",
            model.log_evidence,
            {
                "corpus": Argument([world.corpus], [world.split, *world.others]),
                "seed": SEED,
                "key": Argument([(1, 2)], anything=False),
            },
        )
        yield Entrance(f"{name}.recommend", model.recommend, read | {"k": size})
        ahead = read | {"steps": size, "n_futures": size}
        yield Entrance(f"{name}.topics_ahead", model.topics_ahead, ahead)
        yield Entrance(f"{name}.forecast_table", model.forecast_table, ahead | {"n": size})
        decoded = {"history": HISTORY, "width": size}
        yield Entrance(f"{name}.decode", model.decode, decoded)
        yield Entrance(f"{name}.topic_names", model.topic_names, {"n": size})
        yield Entrance(f"{name}.topic_table", model.topic_table, {"n": size})
        yield Entrance(f"{name}.document_table", model.document_table)
        yield Entrance(f"{name}.size", model.size)
        yield Entrance(
            f"Model of {name}",
            Model,
            {
                "network": Argument([model.network], [other_network(world, name)]),
                "emission": Argument([model.emission], anything=False),
                "topics": Argument([model.topics]),
                "vocabulary": Argument([model.vocabulary], [model.vocabulary[:-1]]),
            },
        )
    saved = world.folder / "model"
    lla.save_model(world.models["topic"], saved)
    yield Entrance("load_model", lla.load_model, {"folder": Argument([saved], [world.folder])})
    yield Entrance(
        "save_model",
        lla.save_model,
        {
            "model": Argument([world.models["topic"]], [world.lda]),
            "folder": Argument([saved], [world.folder / "corpus", ""], anything=False),
            "perplexity": Argument([None, 3.0], [-1, 0, "a"]),
            "about": Argument(["", "what for"], [3]),
        },
    )


def other_network(world: World, name: str) -> Network:
    """A network that does not belong to the emission of the model `name`."""
    return world.network("topic" if name == "lstm" else "lstm")


def of_sessions(world: World) -> Iterator[Entrance]:
    for name, model in world.models.items():

        def extended(history: Any, k: Any, exclude_seen: Any, model: Model = model) -> Any:
            state = model.session(["w3"])
            state.extend(history)
            return state.recommend(k, exclude_seen=exclude_seen)

        arguments = {
            "history": HISTORY,
            "k": Argument([1, 30], [0, 1.5]),
            "exclude_seen": Argument([True, False]),
        }
        yield Entrance(f"session of {name}", extended, arguments)


def of_evaluation(world: World) -> Iterator[Entrance]:
    split = world.split
    n = world.corpus.n_documents
    scores = world.lda.score(split)
    mask = Argument([split.reported], [split.reported[:-1], np.arange(n), np.zeros(n, bool)])
    yield Entrance(
        "perplexity",
        perplexity.perplexity,
        {
            "log_likelihood": Argument([scores], [scores[:-1], "a"]),
            "split": Argument([split], [world.corpus]),
            "documents": mask,
        },
    )
    yield Entrance(
        "evaluate_ranking",
        lla.evaluate_ranking,
        {
            "fitted": Argument([world.lda, world.models["topic"], world.fits["bigram"]], [split]),
            "split": Argument([split], [world.corpus, *world.other_splits]),
            "cutoffs": Argument([(1, 5), [3]], [(0,), (-1,), ("a",), 3]),
            "by_user": Argument([True, False]),
            "users": Argument([None, split.reported], [split.reported[:-1], np.zeros(n, bool)]),
        },
    )
    rows = np.random.default_rng(1).random((4, V))
    yield Entrance(
        "ranks",
        ranking.ranks,
        {
            "scores": Argument([rows], [rows[0], rows[:3], np.full((4, V), np.nan)]),
            "targets": Argument([np.arange(4)], [np.full(4, V), np.full(4, -1), np.arange(3)]),
        },
    )
    yield Entrance(
        "rank_held_out",
        ranking.rank_held_out,
        {
            "next_items": Argument(
                [lambda on_scores: world.lda.next_items(split, on_scores)],
                [None, lambda on_scores: on_scores(np.array([10**6]), rows[:1])],
                anything=False,
            ),
            "split": Argument([split], [world.corpus]),
            "users": Argument([None, split.reported], [split.reported[:-1]]),
        },
    )
    found = ranking.rank_held_out(lambda call: world.lda.next_items(split, call), split)
    chosen = {"cutoffs": Argument([(5,)], [(0,), (1.5,), 3])}
    every = {"ranking": Argument([found], anything=False), **chosen}
    yield Entrance("metrics", ranking.metrics, every | {"events": Argument(["all"], ["some", 3])})
    yield Entrance("event_metrics", ranking.event_metrics, every)


def of_reading(world: World) -> Iterator[Entrance]:
    split, corpus, lda = world.split, world.corpus, world.lda
    phi, alpha, observed = lda.phi(), lda.alpha, split.observed
    n_tokens = observed.n_tokens
    wrong_phi = [phi[:-1], phi[:, :-1], phi.T]
    start = Argument([lda.topics], wrong_topics(n_tokens), anything=False)
    arrays = {
        "phi": Argument([phi], wrong_phi, anything=False),
        "alpha": Argument([alpha], [alpha[:-1], phi], anything=False),
    }
    yield Entrance(
        "expected_document_topic",
        expected_document_topic,
        {
            "corpus": Argument([observed], [*world.others, corpus], anything=False),
            "start": start,
            **arrays,
            "seed": SEED,
            "n_sweeps": Argument([1, 2], [0, -1, 1.5]),
        },
    )
    expected = lda.document_topic()
    yield Entrance(
        "score_held_out",
        score_held_out,
        {
            **arrays,
            "document_topic": Argument([expected], [expected[:-1], expected.T], anything=False),
            "split": Argument([split], world.other_splits[2:], anything=False),
            "update": Argument([True, False], anything=False),
        },
    )
    counted = {"offsets": Argument([observed.offsets], anything=False), "topics": start}
    yield Entrance(
        "document_topic_counts",
        document_topic_counts,
        counted | {"n_topics": Argument([K], [1, 0], anything=False)},
    )
    yield Entrance(
        "init_lda",
        init_lda,
        {
            "observed": Argument([observed], anything=False),
            "config": Argument([lda.config], anything=False),
            "seed": Argument([1], anything=False),
            "start": Argument([None, lda.topics], wrong_topics(n_tokens)),
        },
    )
    yield Entrance("LDA.document_topic", lda.document_topic, {"seed": SEED})
    yield Entrance("LDA.topic_table", lda.topic_table, {"n": Argument([1, 40], [0, "a"])})
    yield Entrance("LDA.document_table", lda.document_table, {"seed": SEED})
    n = Argument([1, 40], [0, -1, 1.5])
    vocabulary = Argument([corpus.vocabulary], [corpus.vocabulary[:-1]], anything=False)
    matrix = {"phi": Argument([phi], [phi[0]], anything=False), "vocabulary": vocabulary}
    yield Entrance("top_words", words.top_words, matrix | {"n": n})
    yield Entrance("topic_table", tables.topic_table, matrix | {"n": n})
    yield Entrance(
        "match_topics",
        words.match_topics,
        {
            "phi": Argument([phi], wrong_phi, anything=False),
            "other": Argument([phi], anything=False),
        },
    )
    ids = Argument([np.array([0, 3])], [np.array([V]), np.array([-1])], anything=False)
    of_one = arrays | {"phi": Argument([phi], [phi.T, phi[:, :-1]], anything=False)}
    yield Entrance("lda_ahead", words.lda_ahead, of_one | {"words": ids, "steps": n})
    yield Entrance(
        "true_topics",
        words.true_topics,
        {
            "topics": start,
            "truth": start,
            "n_topics": Argument([K], [1], anything=False),
            "n_true": Argument([K], anything=False),
        },
    )


def of_passes(world: World) -> Iterator[Entrance]:
    """What Algorithm 1 is made of: arrays out of range and parts of other models alone."""
    split, start = world.split, world.start
    observed, n_tokens = split.observed, split.observed.n_tokens
    topic = world.models["topic"]
    corpora = Argument([observed], [*world.others[2:]], anything=False)
    topics = Argument([start], wrong_topics(n_tokens), anything=False)
    networks = Argument([topic.network], [world.network("lstm")], anything=False)
    fixed = {"seed": Argument([1], anything=False), "key": Argument([(1,)], anything=False)}

    def pooled(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            with thread_pool(1) as pool:
                return function(**arguments, pool=pool)

        return call

    own = {
        "emission": Argument([topic.emission, world.models["personal"].emission], anything=False)
    }
    one = {"config": Argument([filter.FilterConfig(2)], anything=False)}
    passed = {"network": networks, **own, "corpus": corpora, **one, **fixed}
    yield Entrance("infer", pooled(filter.infer), passed)
    yield Entrance(
        "mh_sweep",
        pooled(metropolis.mh_sweep),
        {
            "network": Argument([topic.network], anything=False),
            "corpus": corpora,
            "topics": topics,
            "beta": Argument([0.1], anything=False),
            "config": Argument([metropolis.MHConfig()], anything=False),
            **fixed,
        },
    )
    steppers = Argument(
        [batch.Stepper(topic.network)], [batch.Stepper(world.network("lstm"))], anything=False
    )
    shared = {"emission": Argument([topic.emission], anything=False)}
    yield Entrance(
        "particle_gibbs",
        pooled(histories.particle_gibbs),
        {
            "stepper": steppers,
            **shared,
            "corpus": corpora,
            "topics": topics,
            "config": Argument([histories.HistoryConfig(2)], anything=False),
            **fixed,
        },
    )
    beam = {"stepper": steppers, **shared, "corpus": corpora, "width": Argument([2], [0, -1])}
    yield Entrance("beam_topics", pooled(histories.beam_topics), beam)
    dense = {"network": networks, **shared, "corpus": corpora, **fixed}
    yield Entrance("dense_topics", device.dense_topics, dense)

    def train(inputs: np.ndarray, targets: np.ndarray, offsets: np.ndarray, bits: bool) -> float:
        network = world.network("topic")
        optimizer = gradient.adam(network, SMALL_SEM.train)
        with thread_pool(1) as pool:
            return gradient.train_epoch(
                network,
                optimizer,
                inputs=inputs,
                targets=targets,
                offsets=offsets,
                config=SMALL_SEM.train,
                seed=1,
                key=(1,),
                pool=pool,
                bfloat16=bits,
            )

    ends = Argument(
        [observed.offsets], [observed.offsets[:-1], observed.offsets * 2], anything=False
    )
    bits = Argument([False, True], anything=False)
    yield Entrance(
        "train_epoch", train, {"inputs": topics, "targets": topics, "offsets": ends, "bits": bits}
    )

    def tables_of(words: np.ndarray, offsets: np.ndarray, topics: np.ndarray) -> Any:
        return emission.draw_tables(
            words,
            offsets,
            topics,
            n_words=V,
            beta=0.1,
            tau=np.ones(K),
            config=emission.TauConfig(),
            n_sweeps=1,
            seed=1,
            key=(1,),
        )

    plain = observed.words.astype(int)
    ids = Argument([observed.words], [plain + V, plain - V, plain[:-1]], anything=False)
    yield Entrance("draw_tables", tables_of, {"words": ids, "offsets": ends, "topics": topics})

    def counted(words: np.ndarray, topics: np.ndarray) -> Any:
        return topic_counts(words, topics, V, K)

    yield Entrance("topic_counts", counted, {"words": ids, "topics": topics})

    def sampled(words: np.ndarray, offsets: np.ndarray, topics: np.ndarray) -> Any:
        return SparseSampler(words, offsets, V, topics.copy(), K, beta=0.1)

    yield Entrance("SparseSampler", sampled, {"words": ids, "offsets": ends, "topics": topics})
    predictor = session.Predictor(topic.network, topic.emission, topic.vocabulary)
    history = Argument([np.array([1, 2])], [np.array([V]), np.array([-1])], anything=False)

    def decoded(words: np.ndarray, width: int) -> Any:
        return session.decode(predictor, words, width)

    yield Entrance("decode", decoded, {"words": history, "width": Argument([2], [0, 1.5])})


def of_raw_data(world: World) -> Iterator[Entrance]:
    """Tables and texts to a corpus."""
    frame = pd.DataFrame({"user": [1, 1, 2], "item": ["a", "b", "a"], "time": [3.0, 1.0, 2.0]})
    odd = [frame[["item"]], frame.iloc[:0], frame.assign(user=None), frame.assign(time="soon")]
    table = world.folder / "events.csv"
    frame.to_csv(table, index=False)
    text = world.folder / "text.txt"
    text.write_text("tea cake tea\nmilk tea cake\n")
    binary = world.folder / "binary.txt"
    binary.write_bytes(bytes(range(256)))
    folder = Argument([world.folder / "made", str(world.folder / "made")], ["", ".", world.folder])
    flag = Argument([True], [3, "yes"])
    yield Entrance(
        "prepare_events",
        data_prep.prepare_events,
        {
            "output": folder,
            "options": Argument([data_prep.EventOptions()], [data_prep.TextOptions(), "a"]),
            "source": Argument([frame, table, pa.table(frame)], [*odd, binary, world.folder / "x"]),
            "overwrite": flag,
        },
    )
    yield Entrance(
        "prepare_text",
        data_prep.prepare_text,
        {
            "output": folder,
            "options": Argument([data_prep.TextOptions()], [data_prep.EventOptions(), None]),
            "path": Argument([text, str(text)], [binary, world.folder / "x", 3, None]),
            "overwrite": flag,
        },
    )
