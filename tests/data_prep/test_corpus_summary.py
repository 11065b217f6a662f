"""The table that the command line prints: sizes, and what was left out and why."""

import pytest

from data_prep.__main__ import main
from data_prep.summary import summary
from lla.corpus import load_corpus

EVENTS = """user,item,time
u,a,1
u,a,1
u,b,2
u,a,3
v,a,1
v,b,2
w,c,1
,a,1
"""


def command(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_events(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.csv").write_text(EVENTS)
    (tmp_path / "in" / "README").write_text("about")
    line = ["events", tmp_path / "in", "--output", tmp_path / "c", "--min-item", 2]
    line += ["--duplicates", "drop", "--incomplete", "drop", "--max-length", 2]
    expected = f"""{tmp_path / "c"}
  users                                         2
  events                                        4
  items                                         2
left out
  files that are hidden or no table             1
  rows that are incomplete                      1
  events that are duplicates                    1
  events outside --min-user, --min-item         1
  events beyond --max-length or of short users  1
  users below --min-user                        1
  items below --min-item                        1
"""
    assert command(capsys, *line) == expected
    assert command(capsys, *line) == expected, "also of a corpus that exists"


@pytest.mark.parametrize("vocabulary", [1, 2])
def test_texts(tmp_path, capsys, vocabulary):
    (tmp_path / "x.txt").write_text("otters swim\notters\nfoxes run run\n")
    line = ["text", tmp_path / "x.txt", "--output", tmp_path / "c", "--min-words", 2]
    out = command(capsys, *line, "--vocabulary", vocabulary, "--documents", "0:5")
    assert out.splitlines()[0] == str(tmp_path / "c")
    found = dict(line.rsplit(maxsplit=1) for line in out.splitlines()[1:] if line[0] == " ")
    found = {name.strip(): int(n) for name, n in found.items()}
    common = {"documents shorter than --min-words": 1, "words": vocabulary}
    assert found.items() >= common.items()
    # The most frequent word, then the first by the alphabet: run, foxes.
    known = {1: (1, 2, 3), 2: (1, 3, 2)}[vocabulary]
    assert (found["documents"], found["tokens"], found["tokens outside --vocabulary"]) == known
    assert found["documents without a known word"] == 1


def test_numbers_are_aligned_and_nothing_is_said_so(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("user,item\n" + "".join(f"u,{i}\n" for i in range(1234)))
    out = command(capsys, "events", tmp_path / "x.csv", "--output", tmp_path / "c")
    assert out.splitlines()[1:] == [
        "  users       1",
        "  events  1,234",
        "  items   1,234",
        "left out: nothing",
    ]
    corpus = load_corpus(tmp_path / "c")
    corpus.manifest["counts"]["lost_rows"] = 5
    assert summary(corpus).splitlines()[-2:] == ["left out", "  lost rows      5"]
