"""Every option from flags and from YAML alike; errors name the flag, or the file and the key."""

import re
from dataclasses import fields

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_text import OPTIONS, small_settings

from lla.command import Parser, main
from lla.command.settings import (
    CHOICES,
    RunConfig,
    Settings,
    add_flags,
    all_options,
    options_of,
    read_file,
    settings_of,
)
from lla.common.errors import InputError
from lla.inference.config import SEMConfig
from lla.lda import LDAConfig
from lla.lstm import CharacterConfig

KNOWN = all_options()
NUMBERS = {int: st.integers(-1, 600), float: st.floats(-0.1, 1.5), bool: st.booleans()}


def values_of(option):
    """Values of an option, most of them admissible."""
    if option.key in CHOICES:
        names = st.sampled_from([*CHOICES[option.key], "other"])
        return st.lists(names, max_size=3, unique=True) if option.kind is tuple else names
    return NUMBERS[option.kind]


def parsed(flags):
    """Values of flags by key."""
    parser = Parser(prog="fit")
    for section in ("", "run", "lda", "characters"):
        add_flags(parser, section)
    return vars(parser.parse_args(flags))


def as_flags(options):
    """The words of a command line that give these values."""
    words = []
    for key, value in options.items():
        flag = KNOWN[key].flag
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list):
            words += [flag, *value]
        else:
            words.append(f"{flag}={value}")
    return words


def as_file(path, options):
    """The same in a file of settings."""
    content = {key: value for key, value in options.items() if "." not in key}
    for key, value in options.items():
        section, _, name = key.rpartition(".")
        if section:
            content.setdefault(section, {})[name] = value
    path.write_text(yaml.safe_dump(content))
    return path


def attempt(make):
    """The settings, or what is wrong with them: without its place, which differs."""
    try:
        return make()
    except InputError as error:
        words = str(error).split(": ", 1)[1] if str(error).startswith("/") else str(error)
        name, rest = words.split(" ", 1)
        return name.lstrip("-").replace("-", "_").replace(".", "_"), rest


@pytest.mark.parametrize(
    ("section", "kind"),
    [("", SEMConfig), ("run", RunConfig), ("lda", LDAConfig), ("characters", CharacterConfig)],
)
def test_every_field_is_an_option_with_its_documentation_and_default(section, kind, capsys):
    names = {field.name for field in fields(kind)}
    options = options_of(section)
    assert {o.key.rpartition(".")[2] for o in options} | {"characters", "n_topics"} >= names
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--help"])
    assert stop.value.code == 0
    help_text = " ".join(capsys.readouterr().out.split())
    for option in options:
        assert len(option.about) > 5 and "`" not in help_text
        entry = re.search(rf" {option.flag}[ ,].*?\(default: [^)]+\)", help_text)
        assert entry and option.about.split()[0] in entry[0], option.key


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional={key: values_of(o) for key, o in KNOWN.items()}))
def test_flags_and_files_make_the_same_settings(tmp_path_factory, options):
    path = as_file(tmp_path_factory.getbasetemp() / "same.yaml", options)
    by_flags = attempt(lambda: settings_of({}, parsed(as_flags(options)), None))
    by_file = attempt(lambda: settings_of(read_file(path), {}, path))
    assert by_flags == by_file
    if isinstance(by_file, Settings):
        for key, value in options.items():
            section, _, name = key.rpartition(".")
            holder = {"lda": by_file.lda, "characters": by_file.sem.characters}.get(section)
            holder = holder or (by_file.run if name in vars(by_file.run) else by_file.sem)
            wanted = tuple(value) if isinstance(value, list) else value
            assert getattr(holder, name) == wanted, key
        path.write_text(yaml.safe_dump(by_file.as_options()))
        assert settings_of(read_file(path), {}, path) == by_file, "there and back"


@pytest.mark.parametrize("key", KNOWN)
def test_every_option_is_reached_from_both_sides(tmp_path, key):
    """One at a time, for the property above may find most of its examples inadmissible."""
    option, base = KNOWN[key], small_settings()
    others = {
        int: 7,
        float: 0.25,
        bool: option.default is False or option.default is None,
        tuple: ["recent", "next"],
    }
    value = CHOICES[key][-1] if option.kind is str else others[option.kind]
    more = {"objective": {"model": "word_lla"}}.get(key, {})
    changed = {**OPTIONS, **more, key: value}
    by_flags = settings_of({}, parsed(as_flags(changed)), None)
    path = as_file(tmp_path / "s.yaml", changed)
    assert by_flags == settings_of(read_file(path), {}, path) != base


def test_flags_win_over_the_file(tmp_path):
    path = as_file(tmp_path / "s.yaml", {"n_topics": 5, "hidden_size": 9, "lda.alpha": 0.5})
    flags = parsed(["--topics", "4", "--lda-alpha", "0.25"])
    found = settings_of(read_file(path), flags, path)
    assert (found.sem.n_topics, found.sem.hidden_size) == (4, 9)
    assert (found.lda.n_topics, found.lda.alpha) == (4, 0.25)


def test_lda_has_the_priors_of_the_model_unless_it_is_given_others():
    assert small_settings(beta=0.3).lda.beta == 0.3
    assert small_settings(beta=0.3, **{"lda.beta": 0.2}).lda.beta == 0.2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hidden_size: 0", "s.yaml: hidden_size is 0: give 1 or more"),
        ("n_topics: [1]", "s.yaml: n_topics is a list: give a whole number, 1 or more"),
        ("hiden_size: 5", "s.yaml: 'hiden_size' is no option; did you mean hidden_size?"),
        ("xyzzy: 5", "s.yaml: 'xyzzy' is no option; python -m lla fit --help lists all"),
        ("lda: {n_sweep: 5}", "s.yaml: 'lda.n_sweep' is no option; did you mean lda.n_sweeps?"),
        ("lda.n_sweeps: 5", "s.yaml: 'lda.n_sweeps' is no option; did you mean lda.n_sweeps?"),
        ("lda: {alpha: -1}", "s.yaml: lda.alpha is -1: give a number above 0"),
        ("lda: {n_topics: 5}", "s.yaml: 'lda.n_topics' is no option; "),
        ("characters: {max_chars: x}", "s.yaml: characters.max_chars is 'x': give a whole number"),
        ("characters: 5", "s.yaml: characters has no options; write characters: {NAME: VALUE}"),
        ("sources: next", "s.yaml: sources is 'next': give a list of names"),
        ("learning_rate: 1e-x", "s.yaml: learning_rate is '1e-x': give a number above 0"),
        ("observed: 1", "s.yaml: observed is 1: give a part above 0 and below 1"),
        ("development: 0", "s.yaml: development is 0: give a part above 0"),
        ("? [1, 2]\n: 3", "s.yaml, line 1: found unhashable key; correct the YAML"),
        ("5: 3", "s.yaml: '5' is no option; "),
        ("- 1", "s.yaml: not options and their values; write lines such as n_topics: 20"),
        ("n_topics: 5\nn_topics: 6", "s.yaml, line 2: 'n_topics' stands twice; correct the YAML"),
        ("n_topics: {", "s.yaml, line 1: expected the node content, but found '<stream end>'"),
        ("n_topics: !!python/name:os.system", "s.yaml, line 1: could not determine a constructor"),
        ("n_topics: " + 10**5 * "[", "s.yaml: nested 9 deep; write options and values as in"),
        (10**5 * "- ", "s.yaml: nested 9 deep; "),
        ("n_topics: \x00", "s.yaml: no YAML that can be read (ReaderError)"),
        ("n_topics: \udcff", "s.yaml: no YAML that can be read (UnicodeDecodeError)"),
        (2**21 * " ", "s.yaml: larger than 262,144 bytes; name a file of settings"),
    ],
)
def test_errors_of_files_name_file_and_key(tmp_path, monkeypatch, text, line):
    monkeypatch.chdir(tmp_path)
    with open("s.yaml", "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        main(["fit", "none.txt", "--output", "m", "--config", "s.yaml"])
    assert str(caught.value).startswith(line)


def test_numbers_and_empty_files(tmp_path):
    (path := tmp_path / "s.yaml").write_text("learning_rate: 1e-3\nbeta: 1E-2\nseed: 3")
    found = settings_of(read_file(path), {}, path)
    assert (found.sem.learning_rate, found.sem.beta, found.run.seed) == (1e-3, 1e-2, 3)
    path.write_text("# nothing\n")
    assert settings_of(read_file(path), {}, path) == settings_of({}, {}, None)
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read \(No such file"):
        read_file(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--hidden-size", "0"], "--hidden-size is 0: give 1 or more"),
        (["--hidden-size", "x"], "argument --hidden-size: invalid int value: 'x' (python -m lla"),
        (["--lda-alpha", "0"], "--lda-alpha is 0.0: give a number above 0"),
        (["--characters-max-chars", "0"], "--characters-max-chars is 0: give 1 or more"),
        (["--model", "gru"], "--model is 'gru': choose one of topic_lla, word_lla,"),
        (["--sources", "next", "next"], "--sources: next, next; name each of them once"),
        (["--emission", "personal", "--model", "word_lstm"], "--emission is 'personal' and model"),
        (["--hidden"], "unrecognized arguments: --hidden (python -m lla --help tells more)"),
        (["--seed", "-1"], "--seed is -1: give 0 or more"),
        (["--learning-rate", "nan"], "--learning-rate is nan: give a number above 0"),
    ],
)
def test_errors_of_flags_name_the_flag(tmp_path, flags, line):
    with pytest.raises(InputError) as caught:
        main(["fit", "none.txt", "--output", str(tmp_path / "m"), *flags])
    assert str(caught.value).startswith(line)
