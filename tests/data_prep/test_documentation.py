"""Docstrings to a corpus: which modules, which text, which versions; nothing is imported."""

import sys
import textwrap

import pytest

import data_prep.documentation as documentation
from data_prep import DocumentationOptions, TextOptions, prepare_documentation
from data_prep.__main__ import main
from data_prep.documentation import installed_versions, locked_versions, modules_of
from lla.common.errors import InputError

MODULE = '''
r"""Otters of the module.

Otters
------
>>> import otters
shown

See :func:`swim` at https://example.org/otters.html, where \\alpha is fast.
"""

import missing_everywhere


def swim(x):
    """Swim, first."""

    def inner():
        """Inside."""


if True:

    class Otter:
        """A class, second."""

        async def dive(self):
            r"""Dive \\d, third."""


try:
    pass
except ValueError:

    def fallback():
        """Fallback, fourth."""


raise SystemExit("this module is imported")
'''
TEXT = "otters module swim fast swim class second dive fallback fourth"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a made-up package, and the only one whose documentation is read."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(documentation, "PACKAGES", ("otters", "absent"))
    lock = tmp_path / "requirements.lock"
    lock.write_text("# a comment\nabsent==3.0\notters==1.0 ; python_version > '3'\n")
    monkeypatch.setattr(documentation, "LOCK", lock)

    def install(files, version="1.0"):
        info = site / f"otters-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: otters\nVersion: {version}\n")
        (info / "RECORD").write_text("".join(f"{name},,\n" for name in ("../../bin/x.py", *files)))
        for name, text in files.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)

    return install


def test_the_docstrings_of_a_module_in_the_order_of_its_source(tmp_path, install):
    install({"otters/__init__.py": MODULE})
    corpus = prepare_documentation(tmp_path / "c", DocumentationOptions(min_words=2))
    assert corpus.names == ("otters",)
    assert " ".join(corpus.items(0)) == TEXT
    assert "otters" not in sys.modules
    assert corpus.manifest["packages"] == {"otters": "1.0"}
    assert list(corpus.manifest["raw_sha256"]) == ["docstrings of 1 packages"]


def test_tests_copies_generated_and_short_modules_are_left_out(tmp_path, install):
    text = '"""Otters swim in {} rivers, and dive."""\n'
    files = [
        *(
            "otters/b.py",
            "otters/a.py",
            "otters/a/z.py",
            "otters/test_b.py",
            "otters/not-a-name.py",
        ),
        *("otters/tests/c.py", "otters/_vendor/six.py", "otters/data.txt", "otters/conftest.py"),
    ]
    made = {name: text.format(f"n{number}") for number, name in enumerate(files)}
    made["otters/copy.py"] = made["otters/b.py"]
    made["otters/generated.py"] = "# DO NOT EDIT: made by a program\n" + text.format("more")
    made["otters/short.py"] = '"""Otters."""\n'
    made["otters/other_python.py"] = text.format("no") + "print 'old'\n"
    install(made)
    corpus = prepare_documentation(tmp_path / "c", DocumentationOptions(min_words=3))
    assert corpus.names == ("otters.a", "otters.a.z", "otters.b")
    assert corpus.manifest["counts"]["passed_over"] == 1


def test_other_versions_and_missing_packages_are_said_in_one_line(tmp_path, install, caplog):
    install({"otters/__init__.py": MODULE}, version="2.0+cpu")
    prepare_documentation(tmp_path / "c", DocumentationOptions(min_words=2))
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "otters 2.0 (locked: 1.0), absent not installed (locked: 3.0)" in warning
    caplog.clear()
    documentation.LOCK.unlink()
    prepare_documentation(tmp_path / "c", DocumentationOptions(min_words=2))
    assert "versions of packages are not compared" in caplog.text


def test_a_corpus_is_made_anew_when_a_docstring_changes(tmp_path, install):
    install({"otters/__init__.py": MODULE})
    options = DocumentationOptions(min_words=2)
    prepare_documentation(tmp_path / "c", options)
    before = (tmp_path / "c" / "manifest.json").stat().st_mtime_ns
    prepare_documentation(tmp_path / "c", options)
    assert (tmp_path / "c" / "manifest.json").stat().st_mtime_ns == before
    (tmp_path / "site" / "otters" / "__init__.py").write_text(MODULE.replace("first", "again"))
    with pytest.raises(InputError, match="had other content: give --overwrite"):
        prepare_documentation(tmp_path / "c", options)
    prepare_documentation(tmp_path / "c", options, overwrite=True)


def test_what_cannot_be_used_is_one_line(tmp_path, install):
    install({"otters/__init__.py": MODULE})
    with pytest.raises(InputError, match="give a DocumentationOptions"):
        prepare_documentation(tmp_path / "c", TextOptions())
    with pytest.raises(InputError, match=r"docstrings of 1 packages: no document in it"):
        prepare_documentation(tmp_path / "c")


def test_text_without_examples_and_markup():
    source = '''
        def f():
            """Sum of words.

            .. math:: x = y

            Examples
            --------
            Prose before.

            >>> f(1)
            array([1])

            Prose after, with `code`.

            :param words: some
            """
        '''
    text = documentation.documentation(textwrap.dedent(source).encode())
    expected = "Sum of words. x = y Prose before. Prose after, with `code`. words: some"
    assert " ".join(text.split()) == expected


def test_packages_are_locked_for_every_platform_and_installed():
    locked = locked_versions(documentation.LOCK)
    lines = documentation.LOCK.read_text(encoding="utf-8").splitlines()
    with_marker = {line.partition("==")[0] for line in lines if " ; " in line}
    assert set(documentation.PACKAGES) <= set(locked) - with_marker
    assert set(installed_versions(documentation.PACKAGES)) == set(documentation.PACKAGES)


def test_modules_of_an_installed_package():
    names = [module.name for module in modules_of("gensim")]
    assert names == sorted(names)
    assert "gensim" in names and "gensim.models.ldamodel" in names
    assert not [name for name in names if ".test." in name]


def test_the_command_line(tmp_path, install, capsys):
    install({"otters/__init__.py": MODULE})
    assert main(["documentation", "--output", str(tmp_path / "c"), "--min-words", "2"]) == 0
    assert ["documents", "1"] in [line.split() for line in capsys.readouterr().out.splitlines()]
