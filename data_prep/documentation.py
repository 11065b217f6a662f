"""The documentation of installed packages: a document per module, made of its docstrings."""

import ast
import gc
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.io.build import Source, prepare
from data_prep.io.inputs import ReadProgress, as_input_error
from data_prep.io.options import Document, Options
from data_prep.io.workers import ordered_map
from lla.common.errors import check_instance, check_integer
from lla.common.files import folder_to_write
from lla.common.progress import progress
from lla.corpus import Corpus
from lla.corpus.tokens import Tokenizer

log = logging.getLogger("data_prep")

# Packages of requirements.lock, pinned for every platform, with at least three long modules.
NAMES = """
anyio arrow attrs babel beautifulsoup4 click contourpy coverage duckdb filelock fonttools fsspec
gensim httpx hypothesis ipykernel ipython ipywidgets jedi jinja2 jupyter-client jupyter-server
llvmlite matplotlib mpmath mypy nbformat networkx numba numpy packaging pandas pillow platformdirs
pooch prompt-toolkit pyarrow pygments pyparsing pytest python-dateutil pyzmq requests safetensors
scipy setuptools smart-open sortedcontainers sympy torch tornado traitlets urllib3 wcwidth
"""
PACKAGES = tuple(NAMES.split())
LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
LICENCE = "each package's own (BSD, MIT, Apache-2.0, LGPL-2.1, MPL-2.0 and others)"

# Tests, copies of other packages, and generated modules, by their paths.
LEFT_OUT = re.compile(
    r"(^|/)(tests?|testing/_internal|_?vendor(ed)?(_templates)?|_?extern(als?)?|third_?party"
    r"|array_api_compat|array_api_extra|cobyqa|pyprima|cloudpickle|_distutils|typeshed"
    r"|_antlr|serialized_patterns)/"
    r"|(^|/)(test_\w+|\w+_test|conftest|_?appdirs)\.py$"
)
GENERATED = re.compile(r"^#.*(do not (edit|modify)|auto-?generated)", re.IGNORECASE | re.MULTILINE)
BEGINNING = 1000  # characters of a file in which it says that it is generated

TRIPLE_QUOTED = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
RUN = re.compile(r"[^\W_]+")
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

# Examples of code with their output, up to the next empty line. With them, words such as "import",
# "sympy" and "np" are among the forty most frequent, and topics gather what examples set up.
EXAMPLE = re.compile(r"^[ \t]*(?:>>>|\.\.\. |In \[).*\n?(?:[ \t]*\S.*\n?)*", re.MULTILINE)
# Markup: addresses, headings that are underlined, directives, fields, roles, commands of LaTeX.
MARKUP = re.compile(
    r"https?://\S+"
    r"|^[ \t]*\S.*\n[ \t]*[-=~^]{3,}[ \t]*$"
    r"|^[ \t]*\.\. [\w:-]+::"
    r"|:(?:param|type|returns?|rtype|raises|keyword|arg)\b"
    r"|:[\w.+-]+:(?=`)"
    r"|\\[A-Za-z]+",
    re.MULTILINE,
)


@dataclass(frozen=True, repr=False)
class DocumentationOptions(Options):
    """Which modules and words; by default, modules with about 300 running words of docstrings."""

    min_words: int = 200


class Module(NamedTuple):
    """A module of a package, and the file it is in."""

    name: str
    path: Path


def prepare_documentation(
    output: str | Path,
    options: DocumentationOptions | None = None,
    processes: int = 1,
    overwrite: bool = False,
) -> Corpus:
    """Make the corpus folder `output` from docstrings, unless it exists and is current.

    A document is a module: its docstring, and those of its classes, methods and functions, in the
    order of the source, without examples and markup. Source files are parsed, nothing is imported.

    Parameters
    ----------
    output : path
    options : DocumentationOptions
    processes : int
        Worker processes that parse modules; the result does not depend on their number.
    overwrite : bool
        Whether a corpus that `output` holds, made from other versions or with other options, is
        replaced.

    Raises
    ------
    InputError
        If a file cannot be read, or no document is left.
    """
    output = folder_to_write(output, "--output")
    options = DocumentationOptions() if options is None else options
    check_instance("options", options, DocumentationOptions)
    check_integer("--processes", processes)
    installed = installed_versions(PACKAGES)
    _say_versions(installed)
    modules, total = long_modules(installed, options.min_words)
    source = Source(
        kind="documentation",
        licence=LICENCE,
        sha256={f"docstrings of {len(installed)} packages": total},
        size=sum(module.path.stat().st_size for module in modules),
        details={"packages": installed},
    )

    def read(tokenizer: Tokenizer, read_progress: ReadProgress) -> Iterator[Document]:
        return _documents(modules, tokenizer, read_progress, processes)

    return prepare(read, source, options, output, overwrite)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The version of each package that is installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def locked_versions(lock: Path) -> dict[str, str]:
    """The version of each package in a file of requirements; empty if there is no such file."""
    if not lock.is_file():
        return {}
    lines = lock.read_text(encoding="utf-8").splitlines()
    pinned = (line.partition(" ")[0].split("==") for line in lines if "==" in line)
    return {name: version for name, version, *_ in pinned}


def _say_versions(installed: dict[str, str]) -> None:
    """One line where the packages are not those of the lock."""
    locked = locked_versions(LOCK)
    if not locked:
        log.warning("%s: no such file, so versions of packages are not compared", LOCK)
    different = []
    for name in PACKAGES:
        # Builds of one version, such as 2.13.0+cpu, have the same text.
        here = installed.get(name, "not installed").partition("+")[0]
        if name in locked and here != locked[name]:
            different.append(f"{name} {here} (locked: {locked[name]})")
    if different:
        log.warning("documentation: %s: results differ from published ones", ", ".join(different))


def long_modules(packages: Iterable[str], min_words: int) -> tuple[list[Module], str]:
    """Modules that may have `min_words`, by their names, and one SHA-256 of them all.

    A docstring of more than one line has three quotation marks, and a word has a letter: what has
    fewer than `min_words` runs of letters and digits between such marks need not be parsed.
    """
    total, found = sha256(), []
    modules = [module for package in packages for module in modules_of(package)]
    for module in progress(modules, description="searching the modules", unit="module"):
        content = _content(module.path)
        text = content.decode("utf-8", "replace")
        if GENERATED.search(text[:BEGINNING]):
            continue
        quoted = (double or single for double, single in TRIPLE_QUOTED.findall(text))
        if sum(len(RUN.findall(part)) for part in quoted) >= min_words:
            found.append(module)
            total.update(sha256(content).digest() + module.name.encode() + b"\n")
    return found, total.hexdigest()


def modules_of(package: str) -> list[Module]:
    """The modules that a package installs, by their names, without tests and copies of others."""
    distribution = metadata.distribution(package)
    found = []
    for file in distribution.files or ():
        path = file.as_posix()
        parts = path.removesuffix("/__init__.py").removesuffix(".py").split("/")
        if file.suffix != ".py" or LEFT_OUT.search(path) or not all(map(str.isidentifier, parts)):
            continue
        located = Path(str(distribution.locate_file(file)))
        if located.is_file():
            found.append(Module(".".join(parts), located))
    return sorted(found)


def _documents(
    modules: Sequence[Module], tokenizer: Tokenizer, read_progress: ReadProgress, processes: int
) -> Iterator[Document]:
    """The words of each module; those of an earlier one are passed over."""
    seen = set()
    read = partial(_read_module, tokenizer=tokenizer)
    for module, (n_bytes, words) in zip(
        modules, ordered_map(read, modules, processes), strict=True
    ):
        read_progress.position += n_bytes
        digest = sha256(" ".join(words).encode()).digest()
        if words and digest in seen:
            read_progress.skipped += 1
            continue
        seen.add(digest)
        yield Document(module.name, words)


def _read_module(module: Module, tokenizer: Tokenizer) -> tuple[int, list[str]]:
    """How many bytes its file has, and its words."""
    content = _content(module.path)
    return len(content), tokenizer.tokens(documentation(content))


def documentation(source: bytes) -> str:
    """The docstrings of a module as running text; empty if it is not of this version of Python."""
    with _without_collection():
        text = "\n\n".join(_docstrings(source))
    return MARKUP.sub(" ", EXAMPLE.sub("\n", text))


def _docstrings(source: bytes) -> list[str]:
    """The docstrings of a module, and of what it defines, in the order of the source."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the strings of these packages
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    found = (ast.get_docstring(node, clean=False) for node in (tree, *_definitions(tree.body)))
    return list(filter(None, found))


def _definitions(body: Iterable[Any]) -> Iterator[Any]:
    """Classes, their methods, and functions, in the order of the source.

    Those under conditions are found as well, those inside functions are not.
    """
    for node in body:
        if isinstance(node, DEFINITIONS):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from _definitions(getattr(node, part, ()))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Without Python's search for cycles: with it, a large tree takes three times as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _content(path: Path) -> bytes:
    with as_input_error(path):
        return path.read_bytes()
