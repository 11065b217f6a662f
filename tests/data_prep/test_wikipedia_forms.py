"""Dumps of every age and language, and WikiExtractor's output in all its forms."""

import io
import json
import tarfile

import pytest

from data_prep import WikipediaOptions, prepare_wikipedia
from lla.common.errors import InputError

ANY = WikipediaOptions(min_words=1, stop_words="keep")
ARTICLES = {"Otters": "Otters\n\nOtters swim &amp; dive.\n", "Bats": "Bats fly.\n", "Empty": ""}
WORDS = [["otters", "swim", "dive"], ["bats", "fly"]]


def texts(corpus):
    return [[corpus.vocabulary[w] for w in corpus.document(d)] for d in range(corpus.n_documents)]


def json_lines(articles=ARTICLES):
    records = (
        {"id": str(i), "revid": "7", "url": f"https://x?curid={i}", "title": title, "text": text}
        for i, (title, text) in enumerate(articles.items())
    )
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def tar_of(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.mark.parametrize("form", ["file", "folder", "tar", "utf-16"])
def test_output_of_wikiextractor_with_json(tmp_path, form):
    path = tmp_path / "wiki_00"
    if form == "folder":
        path = tmp_path / "text"
        for name in ("AA", ".AA", "__MACOSX"):
            (path / name).mkdir(parents=True)
            (path / name / "wiki_00").write_bytes(json_lines())
    elif form == "tar":
        members = {"AA/wiki_00": json_lines(), "__MACOSX/AA/._wiki_00": b"\0", "./.x/y": b"{}"}
        path.write_bytes(tar_of(members))
    else:
        data = json_lines()
        path.write_bytes(data.decode().encode("utf-16") if form == "utf-16" else data)
    corpus = prepare_wikipedia(tmp_path / "c", ANY, path)
    assert (texts(corpus), corpus.names) == (WORDS, ("Otters", "Bats"))
    assert corpus.manifest["counts"]["passed_over"] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"title": "A", "text": ', "line 1 is not JSON"),
        (
            b'{"title": "A"}\n',
            "line 1 has no field 'text', so it is not WikiExtractor's; give",
        ),
        (b'{"title": 5, "text": "a"}\n', "line 1, field 'title' holds int, not text"),
        (b'{"a": ' + b"[" * 100_000, r"line 1 is not JSON \(nested too deeply\)"),
        (b'{"title": "Talk:A", "text": ""}\n', "no article in it"),
    ],
)
def test_json_that_wikiextractor_does_not_write(tmp_path, data, message):
    (tmp_path / "wiki_00").write_bytes(data)
    with pytest.raises(InputError, match=f"wiki_00: {message}"):
        prepare_wikipedia(tmp_path / "c", ANY, tmp_path / "wiki_00")


def test_headers_of_wikiextractor_after_a_mark_and_wrong_ones(tmp_path):
    article = b'<doc id="1" url="x" title="Otters">\notters swim\n</doc>\n'
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbf" + article)
    assert prepare_wikipedia(tmp_path / "c", ANY, tmp_path / "marked").names == ("Otters",)
    (tmp_path / "wrong").write_bytes(article + article.replace(b'"', b"'"))
    with pytest.raises(InputError, match=r"wrong: byte 55 begins no article as WikiExtractor does"):
        prepare_wikipedia(tmp_path / "d", ANY, tmp_path / "wrong")


def old_dump(pages, xmlns="", spaces="", ns=None):
    """A dump whose pages have no <ns>, as until 2011, or the same `ns` everywhere."""
    space = "" if ns is None else f"<ns>{ns}</ns>"
    body = "".join(
        f"<page><title>{title}</title>{space}<id>1</id><revision><text>{text}</text></revision></page>"
        for title, text in pages.items()
    )
    return f"<mediawiki{xmlns}><siteinfo>{spaces}</siteinfo>{body}</mediawiki>".encode()


PAGES = {
    "Otters": "otters swim",
    "Star Trek: First Contact": "a film",
    "Diskussion:Otter": "talk",
    "Talk:Otters": "talk",
    "User talk:Me": "talk",
    "Template:Thing": "a template",
    "Uno": "#REDIRECT [[Otters]]",
}
GERMAN = (
    '<namespaces><namespace key="0" /><namespace key="1">Diskussion</namespace>'
    '<namespace key="-1">Spezial</namespace></namespaces>'
)


@pytest.mark.parametrize(
    "xmlns",
    [
        "",
        ' xmlns="http://www.mediawiki.org/xml/export-0.3/"',
        ' xmlns="https://www.mediawiki.org/xml/export-0.11/"',
    ],
)
def test_dumps_without_namespaces(tmp_path, xmlns):
    path = tmp_path / "x.xml"
    path.write_bytes(old_dump(PAGES, xmlns, GERMAN))
    corpus = prepare_wikipedia(tmp_path / "c", ANY, path)
    assert corpus.names == ("Otters", "Star Trek: First Contact")
    assert texts(corpus) == [["otters", "swim"], ["film"]]
    assert corpus.manifest["counts"]["passed_over"] == 5
    path.write_bytes(old_dump({"Otters": "talk of otters"}, xmlns, ns=1))
    with pytest.raises(InputError, match="no article in it"):
        prepare_wikipedia(tmp_path / "d", ANY, path)


def test_another_language_is_read_with_the_tokenizer_for_all_scripts(tmp_path, caplog):
    (tmp_path / "x.xml").write_bytes(old_dump({"हिन्दी": "हिन्दी भाषा की लिपि कमल"}))
    torn = prepare_wikipedia(tmp_path / "torn", ANY, tmp_path / "x.xml")
    assert "हिन्दी" not in torn.vocabulary
    assert "--tokens gensim tears words at combining marks" in caplog.text
    caplog.clear()
    options = WikipediaOptions(min_words=1, stop_words="keep", tokens="words")
    corpus = prepare_wikipedia(tmp_path / "c", options, tmp_path / "x.xml", processes=2)
    assert (texts(corpus), corpus.names) == ([["हिन्दी", "भाषा", "की", "लिपि", "कमल"]], ("हिन्दी",))
    assert not caplog.text
