"""The articles that gensim ships: what they are, and what is said where the file is another."""

import pytest

import data_prep.gensim_articles as gensim_articles
from data_prep import GensimArticlesOptions, TextOptions, prepare_gensim_articles
from data_prep.__main__ import main
from lla.common.errors import InputError
from lla.corpus import load_corpus


def test_the_articles_are_whole(tmp_path, caplog):
    corpus = prepare_gensim_articles(tmp_path / "c")
    assert (corpus.n_documents, corpus.n_tokens) == (250, 331_339)
    assert corpus.names[0] == "article 1"
    assert corpus.items(0)[:4] == ["anarch", "greek", "rule", "stem"]
    manifest = corpus.manifest
    assert manifest["raw_sha256"] == {gensim_articles.FILE: gensim_articles.SHA256}
    assert manifest["licence"] == "Wikipedia: CC BY-SA and GFDL"
    assert manifest["tools"]["gensim"]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_options_on_the_command_line(tmp_path, capsys):
    options = "--min-words 300 --max-words 400 --vocabulary 2000 --documents 5:50 --sample 20"
    command = ["gensim_articles", "--output", str(tmp_path / "c"), *options.split()]
    assert main(command) == 0
    corpus = load_corpus(tmp_path / "c")
    assert (corpus.n_documents, corpus.n_words) == (20, 2000)
    assert corpus.lengths.max() <= 400
    assert main(command) == 0
    with pytest.raises(InputError, match="made with another min_words"):
        main(["gensim_articles", "--output", str(tmp_path / "c")])
    with pytest.raises(InputError, match="give a GensimArticlesOptions"):
        prepare_gensim_articles(tmp_path / "d", TextOptions())


def test_another_file_is_read_and_said(tmp_path, monkeypatch, caplog):
    (tmp_path / gensim_articles.FILE).write_bytes(b"a b\r\nb c\r\n")
    monkeypatch.setattr(gensim_articles, "datapath", lambda name: str(tmp_path / name))
    corpus = prepare_gensim_articles(tmp_path / "c", GensimArticlesOptions(min_words=2))
    assert [corpus.items(d) for d in (0, 1)] == [["a", "b"], ["b", "c"]]
    assert "not the file that gensim 4.4.0 ships" in caplog.text
    (tmp_path / gensim_articles.FILE).unlink()
    with pytest.raises(InputError, match="no such file, which gensim ships; install gensim again"):
        prepare_gensim_articles(tmp_path / "d")
