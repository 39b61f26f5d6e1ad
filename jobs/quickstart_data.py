"""Real data that the machine has: photographs that scikit-image ships, the standard library's docstrings, its source code."""

from __future__ import annotations

import ast
import io
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from pipeline.errors import SetupError

_TILE, _STEP = 128, 64
_PHOTOS = {
    "astronaut.png": "astronaut Eileen Collins before a flag and a model of the Space Shuttle",
    "brick.png": "a brick wall",
    "camera.png": "a photographer behind a camera on a tripod",
    "chelsea.png": "Chelsea the cat",
    "coffee.png": "a cup of coffee on a wooden table",
    "coins.png": "Greek coins from Pompeii",
    "grass.png": "grass seen from above",
    "gravel.png": "gravel seen from above",
    "hubble_deep_field.jpg": "galaxies in the Hubble deep field",
    "ihc.png": "colonic glands under a microscope, stained",
    "moon.png": "the surface of the moon",
    "motorcycle_left.png": "a motorcycle in a workshop",
    "retina.jpg": "a retina",
    "rocket.jpg": "a rocket on its launch pad",
}
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_SKIPPED = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__", "ensurepip"}


def captions() -> pa.Table:
    """Square tiles of real photographs, as PNG, each with a caption: `image` {bytes, path}, `caption`."""
    if find_spec("skimage") is None or find_spec("PIL") is None:
        raise SetupError("the quickstart needs scikit-image and Pillow; pip install 'xet-pipeline[quickstart]'")
    rows = [row for name, subject in _PHOTOS.items() for row in _tiles(name, subject)]
    return pa.Table.from_pylist(rows, pa.schema([("image", _IMAGE), ("caption", pa.string())]))


def _tiles(name: str, subject: str) -> Iterator[dict[str, object]]:
    from PIL import Image

    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    photo = Image.open(Path(spec.origin).parent / "data" / name)
    for top in range(0, photo.height - _TILE + 1, _STEP):
        for left in range(0, photo.width - _TILE + 1, _STEP):
            data = io.BytesIO()
            photo.crop((left, top, left + _TILE, top + _TILE)).save(data, "PNG")
            yield {
                "image": {"bytes": data.getvalue(), "path": f"{Path(name).stem}-{top:04d}-{left:04d}.png"},
                "caption": f"A part of a picture of {subject}, {top} pixels from its top and {left} from its left.",
            }


def questions() -> pa.Table:
    """What the standard library's public classes and functions do, from their docstrings: `question`, `answer`, `module`."""
    found: dict[str, list[str]] = {"question": [], "answer": [], "module": []}
    for module, path in _modules():
        for name, docstring in _documented(path.read_text(encoding="utf-8", errors="replace"), module):
            found["question"].append(f"What does {name} do?")
            found["answer"].append(docstring)
            found["module"].append(module)
    return pa.table(found)


def source_code() -> pa.Table:
    """The standard library's modules: `module`, `text`, `lines`."""
    texts = [(module, path.read_text(encoding="utf-8", errors="replace")) for module, path in _modules()]
    return pa.table(
        {
            "module": [module for module, _ in texts],
            "text": [text for _, text in texts],
            "lines": pa.array([text.count("\n") for _, text in texts], pa.int32()),
        }
    )


def _modules() -> Iterator[tuple[str, Path]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not _SKIPPED.intersection(parts) and all(part.isidentifier() for part in parts):
            yield ".".join(parts).removesuffix(".__init__"), path


def _documented(source: str, module: str) -> Iterator[tuple[str, str]]:
    """(dotted name, docstring) of each public class, function and method."""
    waiting: list[tuple[str, ast.AST]] = [(module, ast.parse(source))]
    while waiting:
        name, node = waiting.pop(0)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and child.name[0] != "_":
                if docstring := ast.get_docstring(child):
                    yield f"{name}.{child.name}", docstring
                if isinstance(child, ast.ClassDef):
                    waiting.append((f"{name}.{child.name}", child))
