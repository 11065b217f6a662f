"""A text file whose words have an order, settings that fit it in a moment, and the command line."""

from pathlib import Path

import numpy as np

from lla.command import main
from lla.command.settings import Settings, settings_of

OPTIONS = {
    "n_topics": 3,
    "hidden_size": 8,
    "embedding_size": 5,
    "n_iterations": 3,
    "learning_rate": 0.02,
    "batch_size": 8,
    "n_particles": 2,
    "lda.n_sweeps": 12,
}
FLAGS = [
    word
    for key, value in OPTIONS.items()
    for word in (f"--{key.replace('_', '-').replace('.', '-')}", str(value))
]


def write_text(path: Path, n_documents: int = 30, seed: int = 1) -> Path:
    """Documents of 6 to 14 words; topics stay or go on to the next."""
    draw, lines = np.random.default_rng(seed), []
    for _ in range(n_documents):
        topic, words = draw.integers(3), []
        for _ in range(draw.integers(6, 15)):
            topic = (topic + (draw.random() < 0.4)) % 3
            words.append(f"w{topic}{draw.integers(4)}")
        lines.append(" ".join(words))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def small_settings(**options) -> Settings:
    return settings_of({}, {**OPTIONS, **options}, None)


def fit(corpus: Path, output: Path, *flags: str) -> int:
    return main(["fit", str(corpus), "--output", str(output), "--threads", "1", *FLAGS, *flags])


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
