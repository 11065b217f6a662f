"""Who reads files of strangers: of each kind a valid input, and how it is made wrong."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb  # noqa: F401 - here, so that no child has to load it
import event_forms
import nbformat
import numpy as np
import yaml
from mutations import JUNK, Draw, bytes_of, json_of, pick, value_of
from small_sem import SMALL, small_split, start_topics
from small_text import write_text

import lla
from data_prep import EventOptions, TextOptions, prepare_events, prepare_text
from experiments import results
from experiments.notebook import as_list, settings
from experiments.report.inputs import read_results
from experiments.steps import is_tagged, load_steps
from lla.command.data import read_corpus, read_known
from lla.command.settings import options_of, read_file, settings_of
from lla.common.errors import InputError
from lla.common.files import load_arrays, save_tensors
from lla.corpus import load_corpus, save_corpus
from lla.inference.config import SOURCES
from lla.lda import LDAConfig, fit_lda, load_lda
from lla.sem import config_of, fit_sem, load_sem

OUT = "out"
ROOT = Path(__file__).parents[2]


class Kind(NamedTuple):
    """A kind of input.

    Attributes
    ----------
    make : writes a valid one to an empty folder
    change : makes it wrong, or leaves it right by chance
    read : reads it; what it makes of it goes to the folder `OUT` beside it
    loads_kernels : whether reading one takes long the first time
    """

    name: str
    make: Callable[[Path], object]
    change: Callable[[Path, Draw], object]
    read: Callable[[Path], object]
    loads_kernels: bool = False


# -------------------------------------------------------------------------- corpora, models


def make_corpus(folder: Path) -> None:
    """With names of documents."""
    save_corpus(replace(small_split().corpus, names=tuple(map(str, range(30)))), folder / "c")


def change_corpus(folder: Path, draw: Draw) -> None:
    """A file of it; half of the time the manifest is made to fit again."""
    folder = folder / "c"
    manifest = folder / "manifest.json"
    path = pick(sorted(folder.iterdir()), draw)
    if path == manifest:
        manifest.write_bytes(json_of(manifest.read_bytes(), draw))
        return
    path.write_bytes(bytes_of(path.read_bytes(), draw))
    if draw.random() < 0.7:
        found = json.loads(manifest.read_text())
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name in found["sha256"]:
            found["sha256"][path.name] = content
        else:
            found["documents_sha256"] = content
        manifest.write_text(json.dumps(found))


def read_corpus_folder(folder: Path) -> None:
    """Load, split, look at a document."""
    corpus = load_corpus(folder / "c")
    lla.split_corpus(corpus)
    corpus.items(0)


def make_model(folder: Path) -> None:
    """With all that kernels index by: an urn per document, sources."""
    split = small_split()
    config = replace(SMALL, n_iterations=1, emission="personal", sources=tuple(SOURCES))
    model = fit_sem(split, config, 3, start=start_topics(split), n_threads=1)
    lla.save_model(model, folder / "m")


def change_model(folder: Path, draw: Draw) -> None:
    """Its description or its weights; most of the time, their hash fits again."""
    path, weights = folder / "m" / "model.json", folder / "m" / "model.safetensors"
    if draw.random() < 0.5:
        path.write_bytes(json_of(path.read_bytes(), draw))
        return
    if draw.random() < 0.5:
        weights.write_bytes(bytes_of(weights.read_bytes(), draw))
    else:
        change_tensors(weights, draw)
    if draw.random() < 0.8:
        meta = json.loads(path.read_text())
        meta["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        path.write_text(json.dumps(meta))


def change_tensors(path: Path, draw: Draw) -> None:
    """An array of another shape, type or range, or missing, or of another name; checksum fits."""
    arrays, meta = load_arrays(path)
    name = pick(sorted(arrays), draw)
    array = arrays.pop(name)
    flat = array.reshape(-1)
    changed: list[Any] = [
        *(flat, array[:-1] if array.ndim else flat[:0], flat[:0], np.zeros((), array.dtype)),
        *(array.astype(np.float64), array.astype(np.int32), array.astype(np.uint8), array > 0),
        *(array + array.dtype.type(1), np.full_like(array, 100), np.zeros_like(array)),
    ]
    if array.dtype.kind == "f":
        changed += [np.full_like(array, np.nan), np.full_like(array, np.inf), -array]
    elif array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        changed += [np.full_like(array, info.max), np.full_like(array, info.min)]
    how = draw.random()
    if how < 0.8:
        arrays[name] = np.ascontiguousarray(pick(changed, draw))
    elif how < 0.9:
        arrays[pick((f"{name}.x", name.partition(".")[2] or "x", ""), draw)] = array
    save_tensors(path, arrays, meta)


def read_model(folder: Path) -> None:
    """Load it, read its topics, and recommend."""
    model = lla.load_model(folder / "m")
    model.recommend(["w1", "w2", "w1"], 3, n_particles=2)
    model.topic_table(3)


# ------------------------------------------------------------------------------ checkpoints


def make_checkpoints(folder: Path) -> None:
    """Of LDA and of stochastic EM, both ended."""
    split, (lda, sem) = small_split(), checkpoint_fits()
    lda(split, checkpoint=folder / "lda.safetensors")
    sem(split, checkpoint=folder / "sem.safetensors")


def checkpoint_fits() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two fits, with all but the split and the checkpoint."""
    config = replace(SMALL, n_iterations=2, patience=2, emission="personal")
    start = start_topics(small_split())
    return (
        partial(fit_lda, config=LDAConfig(3, n_sweeps=4), seed=1, n_threads=1),
        partial(fit_sem, config=config, seed=3, start=start, n_threads=1),
    )


def change_checkpoint(folder: Path, draw: Draw) -> None:
    """Its bytes, arrays, or what it says of them."""
    path = folder / pick(("lda.safetensors", "sem.safetensors"), draw)
    how = draw.random()
    if how < 0.5:
        path.write_bytes(bytes_of(path.read_bytes(), draw))
    elif how < 0.75:
        change_tensors(path, draw)
    else:
        arrays, meta = load_arrays(path)
        changed = value_of(meta, draw)
        save_tensors(path, arrays, changed if isinstance(changed, dict) else {})


def read_checkpoints(folder: Path) -> None:
    """Read both back, and go on from copies: a fit writes to its checkpoint."""
    split, (lda, sem) = small_split(), checkpoint_fits()
    copy = shutil.copytree(folder, folder / OUT)
    try:
        load_lda(copy / "lda.safetensors", split)
        config_of(copy / "sem.safetensors")
        load_sem(copy / "sem.safetensors", split)
        lda(split, checkpoint=copy / "lda.safetensors")
        sem(split, checkpoint=copy / "sem.safetensors")
    finally:
        left = [path for path in copy.iterdir() if ".tmp-" in path.name]
        if not left:
            shutil.rmtree(copy)


# ---------------------------------------------------------------------------------- settings

YAML_JUNK = (
    "a: &a [x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
    *("&a [*a]", "? [a, b]\n: c", "<<: {n_topics: 3}", "!!python/object:os.system x", "%YAML 9.9"),
    *(
        "- " * 5000,
        "{" * 5000,
        "n_topics: 20\nn_topics: 30",
        "\t",
        "a: b: c",
        "---\n---\n",
        "!!int x",
    ),
    *("n_topics: 0x" + "f" * 5000, "n_topics: 1_000:60:60", "seed: 2001-13-45", "\ufeff", "'"),
    *("seed: !!float 1", "seed: !!binary x", "lda: !!set {a, b}", "x: !!timestamp y", "~: 1"),
)


def make_settings(folder: Path) -> None:
    """Of a fit, all of them."""
    text = yaml.safe_dump(settings_of({}, {}, None).as_options())
    (folder / "settings.yaml").write_text(text)


def change_yaml(path: Path, draw: Draw) -> None:
    """Its bytes, its values, or whole constructs of YAML that are seldom met."""
    how, text = draw.random(), path.read_text()
    if how < 0.4:
        path.write_bytes(bytes_of(path.read_bytes(), draw))
    elif how < 0.7:
        changed = value_of(yaml.safe_load(text), draw)
        path.write_text(json.dumps(changed), encoding="utf-8")
    else:
        junk = pick(YAML_JUNK, draw)
        path.write_text(pick((junk, f"{text}\n{junk}\n", f"{junk}\n{text}"), draw), "utf-8")


def change_settings(folder: Path, draw: Draw) -> None:
    """The file."""
    change_yaml(folder / "settings.yaml", draw)
    flags = {}
    if draw.random() < 0.3:
        option = pick([o for s in ("", "run", "lda", "characters") for o in options_of(s)], draw)
        flags = {option.key: pick([j for j in JUNK if json.dumps(j)], draw)}
    (folder / "flags.json").write_text(json.dumps(flags))


def read_settings(folder: Path) -> None:
    """As ``python -m lla fit --config`` does."""
    flags = json.loads((folder / "flags.json").read_text())
    path = folder / "settings.yaml"
    settings_of(read_file(path), flags, path)


# ----------------------------------------------------------------------- notebooks' parameters


def make_profile(folder: Path) -> None:
    """A profile of two notebooks, one with settings of models."""
    (folder / "configs").mkdir()
    (folder / "notebooks").mkdir()
    blocks = yaml.safe_load((ROOT / "experiments" / "configs" / "smoke.yaml").read_text())
    kept = {name: blocks[name] for name in ("04_joint_vs_independent", "06_accuracy_vs_size")}
    (folder / "configs" / "smoke.yaml").write_text(yaml.safe_dump(kept))
    (folder / "notebooks.yaml").write_text(yaml.safe_dump({"lla": list(kept)}))
    for name in kept:
        source = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        source.cells = [cell for cell in source.cells if is_tagged(cell, "parameters")]
        nbformat.write(source, folder / "notebooks" / f"{name}.ipynb")


def change_profile(folder: Path, draw: Draw) -> None:
    """Parameters, the list of notebooks, or a value on papermill's command line."""
    name = pick(("configs/smoke.yaml",) * 3 + ("notebooks.yaml",), draw)
    change_yaml(folder / name, draw)
    given = [j for j in JUNK if json.dumps(j)]
    texts = ["[1, 2", "1,,2", "0x3", "nan", "1 2 3", "(1)", "[[1]]", "None", "-1", "1e400"]
    (folder / "given.json").write_text(json.dumps(pick([*given, *texts], draw)))


def read_parameters(folder: Path) -> None:
    """As the runner and the notebooks do."""
    given = json.loads((folder / "given.json").read_text())
    before = results.CONFIGS, results.NOTEBOOKS
    results.CONFIGS, results.NOTEBOOKS = folder / "configs", folder / "notebooks"
    try:
        for kind in (int, float, str):
            try:
                as_list("seeds", given, kind)
            except InputError:
                continue
        for step in load_steps("smoke"):
            if step.settings:
                settings("smoke", step.name)
    finally:
        results.CONFIGS, results.NOTEBOOKS = before


def make_result(folder: Path) -> None:
    """A committed one."""
    shutil.copy(ROOT / "results" / "small" / "joint_vs_independent.json", folder)


def change_result(folder: Path, draw: Draw) -> None:
    """The file."""
    path = folder / "joint_vs_independent.json"
    path.write_bytes(json_of(path.read_bytes(), draw))


# --------------------------------------------------------------------------- texts and tables


def make_text(folder: Path) -> None:
    """A document on each line."""
    write_text(folder / "texts.txt", n_documents=12)


def change_file(folder: Path, draw: Draw) -> None:
    """One of the files, which alone is kept; now and then it is compressed."""
    path = pick(sorted(folder.iterdir()), draw)
    content = bytes_of(path.read_bytes(), draw)
    for other in folder.iterdir():
        other.unlink()
    if path.suffix in (".txt", ".csv", ".jsonl") and draw.random() < 0.15:
        content = gzip.compress(content)
        content = pick((content, bytes_of(content, draw)), draw)
    path.write_bytes(content)


def read_text_file(folder: Path) -> None:
    """As ``python -m lla fit`` and ``evaluate`` do."""
    (path,) = folder.iterdir()
    read_corpus(str(path), 1, 50_000)
    read_known(str(path), ("w00", "w01"), None)


def prepare(make: Callable[..., Any], folder: Path) -> None:
    """Make a corpus of the only file, and load it."""
    (path,) = folder.iterdir()
    make(folder / OUT, path)
    load_corpus(folder / OUT)


def from_text(output: Path, path: Path) -> None:
    """As ``python -m data_prep text`` does."""
    prepare_text(output, TextOptions(min_words=1), path)


def from_events(output: Path, path: Path) -> None:
    """As ``python -m data_prep events`` does."""
    options = EventOptions(min_user=1, min_item=1, min_length=1)
    prepare_events(output, options, path)


def text_forms() -> dict[str, bytes]:
    """The same documents in every form."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ["tea cake milk", "milk tea", "bread and butter", "tea and bread"]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": list("abcd"), "text": texts}), sink)
    rows = [{"id": name, "text": text} for name, text in zip("abcd", texts, strict=True)]
    return {
        "text.txt": "\n".join(texts).encode(),
        "text.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "text.csv": ("id,text\n" + "".join(f'{r["id"]},"{r["text"]}"\n' for r in rows)).encode(),
        "text.parquet": sink.getvalue().to_pybytes(),
    }


def event_tables() -> dict[str, bytes]:
    """The same events in every form."""
    csv = event_forms.lines(",")
    return {
        "events.csv": csv.encode(),
        "events.tsv": event_forms.lines("\t").encode(),
        "events.jsonl": event_forms.json_lines(event_forms.ROWS).encode(),
        "events.parquet": event_forms.parquet_file(),
        "events.arrow": event_forms.arrow_file(),
        "events.zip": event_forms.zipped({"a/events.csv": csv}),
        "events.csv.gz": gzip.compress(csv.encode()),
    }


def write_all(forms: Callable[[], dict[str, bytes]], folder: Path) -> None:
    """A file of each form."""
    for name, content in forms().items():
        (folder / name).write_bytes(content)


def kinds() -> list[Kind]:
    """All of them."""
    return [
        Kind("corpus folder", make_corpus, change_corpus, read_corpus_folder),
        Kind("model folder", make_model, change_model, read_model, True),
        Kind("checkpoint", make_checkpoints, change_checkpoint, read_checkpoints, True),
        Kind("settings", make_settings, change_settings, read_settings),
        Kind("notebook parameters", make_profile, change_profile, read_parameters),
        Kind("result", make_result, change_result, read_results),
        Kind("text file of fit", make_text, change_file, read_text_file),
        Kind("texts", partial(write_all, text_forms), change_file, partial(prepare, from_text)),
        Kind(
            "events", partial(write_all, event_tables), change_file, partial(prepare, from_events)
        ),
    ]
