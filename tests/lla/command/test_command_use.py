"""`evaluate`, `topics`, `recommend`, `explore`: what they print is what the library says."""

import csv
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from small_text import fit, write_text

import lla
from lla.command import main
from lla.common.errors import InputError
from lla.corpus import Corpus, save_corpus
from lla.corpus.tokens import Tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A text file, and the model m that was fitted to it."""
    folder = tmp_path_factory.mktemp("used")
    assert fit(write_text(folder / "texts.txt"), folder / "m") == 0
    return folder


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    """Run a command in the folder; what it prints."""
    monkeypatch.chdir(folder)

    def run(*arguments):
        capsys.readouterr()
        assert main([*arguments]) == 0
        return capsys.readouterr().out

    return run


def refused(*arguments):
    with pytest.raises(InputError) as caught:
        main([*arguments])
    return str(caught.value)


def test_evaluate_repeats_the_fit_s_own_perplexity(folder, ask):
    model = lla.load_model(folder / "m")
    (mine, *_) = model.provenance["evaluation"]["perplexity"].values()
    n = model.provenance["evaluation"]["n_words"]
    for arguments in (["m"], ["m", "texts.txt"]):
        out = ask("evaluate", *arguments, "--particles", "2")
        assert out.startswith(f"perplexity {mine:,.2f}: {n} held-out words, ")
        assert out.endswith("documents, trained on up to these words\n")


def test_evaluate_of_other_documents(folder, ask, tmp_path, capsys):
    other = write_text(tmp_path / "other.txt", seed=3)
    other.write_text(other.read_text() + "unknown words alone\nw00 unknown w01 w02\n")
    out = ask("evaluate", "m", str(other), "--ranking", "--cutoffs", "1", "3")
    model = lla.load_model(folder / "m")
    known = [
        words for words in map(str.split, other.read_text().splitlines()) if words[0] != "unknown"
    ]
    ids = {word: w for w, word in enumerate(model.vocabulary)}
    documents = [[ids[w] for w in words if w in ids] for words in known]
    split = lla.split_corpus(Corpus.from_documents(documents, model.vocabulary), development=0.0)
    mine = lla.perplexity(model.score(split, seed=0), split)
    assert out.startswith(
        f"perplexity {mine:,.2f}: {split.n_held_out.sum()} held-out words, 31 new"
    )
    table = lla.evaluate_ranking(model, split, cutoffs=[1, 3], seed=0)
    row = re.search(r"^all +(.+)$", out, re.MULTILINE)[1].split()
    np.testing.assert_allclose([float(x) for x in row], table.loc["all"], atol=6e-5)
    assert main(["evaluate", "m", str(other)]) == 0
    assert "4 of " in capsys.readouterr().err, "unknown words are counted"


def test_the_corpus_of_the_fit_must_still_be_there(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = folder / "m"
    meta = json.loads((path / "model.json").read_text())
    text = folder / "texts.txt"
    assert meta["provenance"]["corpus_path"] == str(text)
    before = text.read_text()
    try:
        text.write_text(before + "w00 w01 w02\n")
        assert "no longer what the model was trained on; name it as CORPUS" in refused(
            "evaluate", str(path)
        )
        assert main(["evaluate", str(path), str(text), "--particles", "1"]) == 0
        text.unlink()
        line = (
            f"{text}: no such file or folder; give a corpus (the corpus of the fit; name another)"
        )
        assert refused("explore", str(path), "--output", "p.html") == line
    finally:
        text.write_text(before)
    library = lla.save_model(lla.load_model(path), tmp_path / "copy")
    meta = json.loads((library / "model.json").read_text())
    del meta["provenance"]["corpus_path"]
    (library / "model.json").write_text(json.dumps(meta))
    assert "CORPUS: the model does not say what it was trained on" in refused("evaluate", "copy")
    assert "--observed is for other documents" in refused(
        "evaluate", str(path), str(text), "--observed", "0.5"
    )


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("evaluate", "--particles"),
        ("evaluate", "--cutoffs"),
        ("topics", "--words"),
        ("recommend", "--particles"),
    ],
)
def test_a_number_is_refused_by_the_name_of_its_option(command, option):
    assert refused(command, "m", option, "0") == f"{option} is 0: give 1 or more"


@pytest.mark.parametrize("name", [".", "..", "m"])
def test_a_folder_is_no_csv_file(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    line = f"--csv is {name!r}, a folder: give the name of a file in it"
    assert refused("topics", "m", "--csv", name) == line


@pytest.mark.parametrize("by", ["probability", "lift", "relevance"])
def test_topics_as_text_and_as_csv(folder, ask, tmp_path, by):
    model = lla.load_model(folder / "m")
    table = model.topic_table(4, by=by, min_count=2)
    order = ["--words", "4", "--by", by, "--min-count", "2"]
    text = ask("topics", "m", *order)
    shown = re.findall(r"^topic (\d+)   share ([\d.]+)\n    (.+)$", text, re.MULTILINE)
    assert [int(k) for k, _, _ in shown] == table.index.tolist()
    assert [words.split(", ") for _, _, words in shown] == table[[1, 2, 3, 4]].to_numpy().tolist()
    path = tmp_path / "topics.csv"
    assert ask("topics", "m", *order, "--csv", str(path)) == f"{path}\n"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert len(rows) == 4 * len(table)
    for row in rows:
        k, word = int(row["topic"]), table.loc[int(row["topic"]), int(row["rank"])].split()[0]
        phi = model.emission.phi.numpy()[:, k]
        assert row["word"] == word
        assert float(row["share"]) == pytest.approx(table.loc[k, "share"], rel=1e-5)
        p = phi[model.vocabulary.index(word)]
        assert float(row["probability"]) == pytest.approx(p, rel=1e-5)


def test_hostile_names_as_csv_and_on_the_terminal(tmp_path, capsys):
    names = ["=1+1", "@SUM(1)", "+x", "-y", "a\x1b[2Jb", 'q"\t,']
    draw = np.random.default_rng(1)
    corpus = Corpus.from_documents(draw.integers(len(names), size=(20, 10)), names)
    save_corpus(corpus, tmp_path / "c")
    path = str(tmp_path / "m")
    assert fit(tmp_path / "c", Path(path), "--n-iterations", "1") == 0
    assert main(["topics", path, "--csv", str(tmp_path / "t.csv")]) == 0
    words = {row["word"] for row in csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text()))}
    assert words == {"'=1+1", "'@SUM(1)", "'+x", "'-y", "a\\x1b[2Jb", 'q"\\t,'}
    capsys.readouterr()
    assert main(["topics", path]) == main(["recommend", path, "--history", ""]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "a\\x1b[2Jb" in out
    assert all(line.count("\t") == 1 for line in out.splitlines()[-6:])
    assert main(["recommend", path, "--separator", ";", "--history", '=1+1; q"\t, ;-y']) == 0


def test_recommend(folder, ask, monkeypatch):
    model = lla.load_model(folder / "m")
    expected = model.recommend(["w00", "w11"], 3)
    out = ask("recommend", "m", "--history", "w00 nothing w11", "-n", "3")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows == [[item, f"{p:.6f}"] for item, p in expected]
    monkeypatch.setattr(sys, "stdin", io.StringIO("w00 w11\n\n"))
    out = ask("recommend", "m", "-n", "3", "--exclude-seen", "--seed", "2", "--particles", "3")
    options = {"exclude_seen": True, "n_particles": 3, "seed": 2}
    rows = [line.split("\t") for line in out.splitlines()]
    wanted = [(n, h) for n, h in (("1", ["w00", "w11"]), ("2", []))]
    assert rows == [
        [n, item, f"{p:.6f}"] for n, h in wanted for item, p in model.recommend(h, 3, **options)
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"w00 \xff\n"), "utf-8"))
    assert refused("recommend", "m").startswith("the standard input is no UTF-8")
    assert refused("recommend", "m", "--separator", "").startswith("--separator is ''")
    assert refused("recommend", "m", "--history", "w00", "-n", "0") == "-n is 0: give 1 or more"


def test_a_text_is_read_as_its_corpus_was(folder, tmp_path, capsys):
    """With the tokenizer of the corpus, which is in the model."""
    corpus = Corpus.from_documents(10 * [[0, 1, 2], [1, 0, 2]], ["cat", "dog", "ran"])
    manifest = {"tokenizer": Tokenizer().options()}
    save_corpus(Corpus(corpus.words, corpus.offsets, corpus.vocabulary, manifest), tmp_path / "c")
    assert fit(tmp_path / "c", tmp_path / "m", "--n-iterations", "1") == 0
    capsys.readouterr()
    for history in ("The CAT, the dog!", "cat dog"):
        assert main(["recommend", str(tmp_path / "m"), "--history", history]) == 0
    first, second = np.array_split(capsys.readouterr().out.splitlines(), 2)
    assert first.tolist() == second.tolist()


def test_explore(folder, ask, tmp_path):
    path = tmp_path / "page.html"
    assert ask("explore", "m", "--output", str(path), "--title", "<Mine>") == f"{path}\n"
    page = path.read_text()
    assert "<title>&lt;Mine&gt;</title>" in page and "line 3" in page
    assert refused("explore", "m") == (
        "the following arguments are required: --output (python -m lla explore --help tells more)"
    )


def test_a_model_without_topics_says_so(folder, tmp_path):
    path = str(tmp_path / "m")
    assert fit(folder / "texts.txt", Path(path), "--model", "word_lstm", "--n-iterations", "1") == 0
    assert refused("topics", path) == "this model predicts words, it has no topics; ask an LLA"
    marginal = ["--model", "word_lla", "--objective", "marginal", "--n-iterations", "1"]
    assert fit(folder / "texts.txt", Path(path), "--overwrite", *marginal) == 0
    assert main(["topics", path]) == 0
    assert main(["topics", path, "--csv", str(tmp_path / "t.csv")]) == 0
    assert ",,1," in (tmp_path / "t.csv").read_text().splitlines()[1]
    line = "does not say how many tokens each topic has; give --by probability"
    assert refused("topics", path, "--by", "lift").endswith(line)


def test_a_reader_that_has_enough_is_no_error(folder, tmp_path):
    """Such as `head`: the pipe is closed before all is written."""
    read, write = os.pipe()
    os.close(read)
    saved = os.dup(1)
    stdout = sys.stdout
    try:
        sys.stdout = os.fdopen(os.dup(write), "w")
        assert main(["topics", str(folder / "m")]) == 0
    finally:
        sys.stdout.close()
        sys.stdout = stdout
        os.dup2(saved, 1)
        os.close(write)
