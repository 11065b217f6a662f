"""`python -m lla fit`: a model whole or not at all, resumed to the same bytes, and its card."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_text import files, fit, small_settings, weights, write_text

import lla
from lla.command import COMMANDS, data, main
from lla.command import fit as command
from lla.command.settings import read_file, settings_of
from lla.common.errors import InputError, run_main
from lla.common.lock import exclusive, lock_of
from lla.corpus import Corpus, save_corpus

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A text file, and the model m that was fitted to it."""
    folder = tmp_path_factory.mktemp("fitted")
    assert fit(write_text(folder / "texts.txt"), folder / "m") == 0
    return folder


def refused(corpus, output, *flags):
    """The one line of an error."""
    with pytest.raises(InputError) as caught:
        fit(corpus, output, *flags)
    return str(caught.value)


# ------------------------------------------------------------------------------ whole or not


def test_the_model_is_the_library_s(folder, capsys):
    settings = small_settings()
    corpus = data.read_corpus(str(folder / "texts.txt"), 1, 50_000)
    split = lla.split_corpus(corpus, seed=0)
    lda = lla.fit_lda(split, settings.lda, seed=0, n_threads=1)
    model = lla.fit_sem(split, settings.sem, seed=0, start=lda.topics, n_threads=1)
    read = lla.load_model(folder / "m")
    assert read.fingerprint() == model.fingerprint()
    assert sorted(path.name for path in folder.iterdir()) == ["m", "texts.txt"]
    expected = {
        "this model, topic_lla": lla.perplexity(model.score(split, n_particles=2), split),
        "LDA, which it started from": lla.perplexity(lda.score(split), split),
    }
    found = read.provenance["evaluation"]["perplexity"]
    assert {name: found[name] for name in expected} == expected
    reported = split.n_held_out[split.reported]
    assert read.provenance["evaluation"]["n_words"] == reported.sum()


def test_a_fit_that_was_interrupted_goes_on_to_the_same_bytes(folder, tmp_path, monkeypatch):
    said = command.say_iteration

    def stop(state):
        said(state)
        if state.iteration == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "say_iteration", stop)
    work = tmp_path / "m.unfinished"
    with pytest.raises(KeyboardInterrupt, match=f"^stopped; the same command goes on from {work}$"):
        fit(folder / "texts.txt", tmp_path / "m")
    assert sorted(os.listdir(tmp_path)) == ["m.unfinished"]
    assert sorted(os.listdir(work)) == [".lock", "lda.safetensors", "sem.safetensors"]

    line = refused(folder / "texts.txt", tmp_path / "m", "--hidden-size", "9")
    assert re.search(r"sem\.safetensors: .*hidden_size is 8 there and 9 here; give --overwr", line)
    (work / ".tmp-sem.safetensors-999999999-0123abcd").write_text("of a process that was killed")
    iterations = []
    monkeypatch.setattr(command, "say_iteration", lambda state: iterations.append(state.iteration))
    assert fit(folder / "texts.txt", tmp_path / "m") == 0
    assert iterations == [3]
    assert os.listdir(tmp_path) == ["m"]
    assert weights(tmp_path / "m") == weights(folder / "m")


def test_an_interrupted_lda_and_checkpoints_of_other_settings(folder, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "fit_lda", stop)
        with pytest.raises(KeyboardInterrupt, match=r"^stopped; the same command starts again$"):
            fit(folder / "texts.txt", tmp_path / "m")
        assert not os.listdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(command, "fit_sem", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(folder / "texts.txt", tmp_path / "m", "--lda-alpha", "0.7")
    assert fit(folder / "texts.txt", tmp_path / "m", "--overwrite") == 0
    assert weights(tmp_path / "m") == weights(folder / "m"), "begun anew"


def test_a_model_is_replaced_only_when_that_is_said(folder, tmp_path, capsys):
    before = files(folder / "m")
    assert fit(folder / "texts.txt", folder / "m") == 0
    assert "m: exists, made from the same corpus and settings" in capsys.readouterr().err
    line = refused(folder / "texts.txt", folder / "m", "--seed", "2")
    assert "m: holds a model of other settings: seed is 0 there and 2 here; give --over" in line
    other = write_text(tmp_path / "other.txt", seed=2)
    assert "m: holds a model of another corpus; give --over" in refused(other, folder / "m")
    assert files(folder / "m") == before and len(os.listdir(folder)) == 2
    library = lla.save_model(lla.load_model(folder / "m"), tmp_path / "library")
    assert fit(folder / "texts.txt", library) == 0, "all that tells fits apart is saved again"
    (tmp_path / "library" / "notes.txt").write_text("mine")
    assert "library: holds notes.txt, not of a model" in refused(other, library, "--overwrite")
    assert fit(other, tmp_path / "new") == 0
    assert fit(folder / "texts.txt", tmp_path / "new", "--overwrite") == 0
    assert weights(tmp_path / "new") == weights(folder / "m")


def test_two_fits_of_one_model_at_once_are_refused(folder, tmp_path):
    (work := tmp_path / "m.unfinished").mkdir()
    with exclusive(work):
        line = refused(folder / "texts.txt", tmp_path / "m")
    who = rf"{tmp_path / 'm'}: another run is in progress \(process {os.getpid()} on .+, since .+\)"
    assert re.fullmatch(rf"{who}; wait for it or stop it", line)
    assert os.listdir(work) == [".lock"]


def test_the_lock_of_a_killed_fit_on_its_checkpoint_is_removed_with_the_folder(folder, tmp_path):
    shutil.copytree(folder / "m", tmp_path / "m")
    (work := tmp_path / "m.unfinished").mkdir()
    lock_of(work / "lda.safetensors").touch()
    assert fit(folder / "texts.txt", tmp_path / "m") == 0
    assert os.listdir(tmp_path) == ["m"]


# ---------------------------------------------------------------------------------- the card


def test_the_card_says_what_was_trained_on_what(folder):
    text, read = (folder / "m" / "MODEL_CARD.md").read_text(), lla.load_model(folder / "m")
    corpus = data.read_corpus(str(folder / "texts.txt"), 1, 50_000)
    scores = read.provenance["evaluation"]["perplexity"]
    for name, value in scores.items():
        assert f"| {name} | {value:,.1f} |" in text
    assert list(scores)[2] == "unigram"
    share = read.topic_table()["share"]
    rows = re.findall(r"^\| topic (\d+), ([\d.]+)% \| (.+) \|$", text, re.MULTILINE)
    assert [int(k) for k, _, _ in rows] == share.index.tolist()
    np.testing.assert_allclose([float(p) / 100 for _, p, _ in rows], share, atol=6e-4)
    names = read.topic_names(8)
    assert [words for _, _, words in rows] == [names[k] for k in share.index]
    manifest = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    assert manifest["counts"] == {
        "documents": corpus.n_documents,
        "tokens": corpus.n_tokens,
        "words": corpus.n_words,
    }
    for part in ("## Intended use", "## Limits", "text: texts.txt", "| seed | 0 |", "torch "):
        assert part in text


def test_settings_of_the_card_make_the_same_model(folder, tmp_path):
    """Configuration to card and back."""
    text = (folder / "m" / "MODEL_CARD.md").read_text()
    (path := tmp_path / "s.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert settings_of(read_file(path), {}, path) == small_settings()
    arguments = ["fit", str(folder / "texts.txt"), "--config", str(path), "--output"]
    assert main([*arguments, str(folder / "m")]) == 0, "the same run"


def test_hostile_names_are_shown_as_they_are(tmp_path):
    names = [
        "<script>alert(1)</script>",
        "=HYPERLINK(1)",
        "a|b",
        "```",
        "[x](http://a.b)",
        "\x1b[2J",
    ]
    draw = np.random.default_rng(1)
    corpus = Corpus.from_documents(draw.integers(len(names), size=(20, 10)), names)
    manifest = {"source": "<b>evil</b> | x\n\n# y", "licence": "`l`", "options": {"a": "```\n<i>"}}
    save_corpus(Corpus(corpus.words, corpus.offsets, corpus.vocabulary, manifest), tmp_path / "c")
    assert fit(tmp_path / "c", tmp_path / "m") == 0
    text = (tmp_path / "m" / "MODEL_CARD.md").read_text()
    outside = re.sub(r"```(python|yaml)\n.*?\n```\n", "", text, flags=re.DOTALL)
    assert not re.search(r"<\w|\x1b|```|\]\(http|\*\*|^# y", outside, re.MULTILINE)
    assert text.count("```") == 6, "no name ends a block"
    assert "&#60;script&#62;alert(1)&#60;/script&#62;" in text


# ------------------------------------------------------------------------- models, and errors


@pytest.mark.parametrize(
    "flags",
    [
        ["--model", "word_lstm"],
        ["--model", "char_lla", "--characters-max-chars", "5"],
        ["--emission", "personal", "--sources", "next", "recent", "--no-joint"],
    ],
)
def test_other_models(folder, tmp_path, capsys, flags):
    assert fit(folder / "texts.txt", tmp_path / "m", "--n-iterations", "1", *flags) == 0
    out = capsys.readouterr().out
    assert (" LDA," in out) == ("word_lstm" not in flags) and "unigram" in out
    read = lla.load_model(tmp_path / "m")
    assert read.provenance["config"]["model"] == read.kind
    assert main(["evaluate", str(tmp_path / "m"), "--particles", "2"]) == 0
    mine = read.provenance["evaluation"]["perplexity"][f"this model, {read.kind}"]
    assert f"perplexity {mine:,.2f}: " in capsys.readouterr().out
    other = write_text(tmp_path / "other.txt", seed=5)
    assert main(["evaluate", str(tmp_path / "m"), str(other), "--ranking", "--particles", "2"]) == 0
    assert re.search(r"new documents\n .*recall@5", capsys.readouterr().out)


def test_the_words_of_a_text_file(tmp_path):
    (path := tmp_path / "t.txt").write_bytes("\ufeffb a\u00a0c  b\n\n \t\r\na b\r\nd".encode())
    corpus = data.read_corpus(str(path), 1, 3)
    assert corpus.vocabulary == ("b", "a", "c")
    assert [corpus.items(d) for d in range(2)] == [["b", "a", "c", "b"], ["a", "b"]]
    assert corpus.names == ("line 1", "line 4")
    assert data.read_corpus(str(path), 2, 50).vocabulary == ("b", "a")
    known, n_unknown = data.read_known(str(path), ("x", "d", "a"), None)
    assert [known.items(d) for d in range(3)] == [["a"], ["a"], ["d"]] and n_unknown == 4
    save_corpus(corpus, tmp_path / "c")
    assert data.read_corpus(str(tmp_path / "c"), 1, 50).fingerprint == corpus.fingerprint


@pytest.mark.parametrize(
    ("content", "flags", "line"),
    [
        (b"", [], "t.txt: no word in it; give a file with a document on each line"),
        (b"a b\nb \xff c\n", [], "t.txt: line 2 is no UTF-8; save the file as text in UTF-8"),
        (b"a b c\nd e f", ["--min-count", "2"], "t.txt: no word occurs 2 times; give a smaller"),
        (b"a b c d e f", [], "split: its only document is reported, and none is left to decide"),
        (b"a\nb\nc\n", [], "split: no document has a held-out word to decide when to stop;"),
        (b"a b c\nb a c", ["--device", "abacus"], "device is 'abacus': not available ("),
        (b"a b c\nb a c", ["--threads", "0"], "n_threads is 0: give 1 or more"),
        (b"a b c\nb a c", ["--output", "."], "--output is .: this is the current folder"),
        (b"a b c\nb a c", ["--output", "t.txt"], "t.txt: is a file; name a folder for the model"),
        (b"a b c\nb a c", ["--output", "t.txt/m"], "t.txt/m.unfinished: cannot be written ("),
    ],
)
def test_errors_are_one_line_and_leave_nothing(tmp_path, monkeypatch, content, flags, line):
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_bytes(content)
    assert refused(Path("t.txt"), Path("m"), *flags).startswith(line)
    assert os.listdir() == ["t.txt"]


def test_corpora_that_are_no_text_files(tmp_path):
    assert "none: no such file or folder; give a corpus" in refused(
        tmp_path / "none", tmp_path / "m"
    )
    for name, words in {"a.csv": "make a corpus folder of it", "a.txt.gz": "unpack it"}.items():
        (tmp_path / name).write_text("a b")
        assert words in refused(tmp_path / name, tmp_path / "m")
    line = refused(tmp_path, tmp_path / "m", "--min-count", "2")
    assert line.startswith("min_count is 2, which is for text files, and ")
    assert "missing; make the corpus again" in refused(tmp_path, tmp_path / "m")


@pytest.mark.parametrize(
    ("stop", "status", "line"),
    [
        (["fit"], 2, "error: the following arguments are required: CORPUS, --output"),
        (["topics", "none"], 2, "error: none: no such folder; write one with lla.save_model"),
        ([], 2, "error: the following arguments are required: COMMAND"),
        (["bogus"], 2, "error: argument COMMAND ...: invalid choice: 'bogus'"),
    ],
)
def test_exit_status(capsys, stop, status, line):
    with pytest.raises(SystemExit) as caught:
        run_main(lambda: main(stop))
    out, err = capsys.readouterr()
    assert caught.value.code == status and out == ""
    assert err.startswith(line) and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], {"torch", "numba", "numpy"}),
        (["fit", "--help"], {"torch"}),
        *([[name, "--help"], {"torch", "numba"}] for name in COMMANDS if name != "fit"),
    ],
    ids=["all", *COMMANDS],
)
def test_help_is_there_in_a_moment(arguments, absent):
    """A fresh process, with the module as it is started."""
    code = (
        f"import sys, runpy; sys.argv = ['lla', *{arguments}]\n"
        "try: runpy.run_module('lla', run_name='__main__')\n"
        "except SystemExit as stop: print(stop.code, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *help_text, last = done.stdout.splitlines()
    assert help_text[0].startswith("usage: python -m lla ")
    assert last.split()[0] == "0" and not absent & set(last.split())


def test_every_command_has_help_with_an_example(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        text = capsys.readouterr().out
        assert stop.value.code == 0 and f"python -m lla {name} " in text.partition("examples:")[2]
