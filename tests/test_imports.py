"""The directions between the folders, and that `import genkit` stays light: both read from the tree itself."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tree import TOP

FOLDERS = {
    "attention": "genkit.attention",
    "schedulers": "genkit.schedulers",
    "genkit": "genkit",
    "benchmarks": "genkit.benchmarks",
    "apps": "genkit.apps",
}
OURS_ALLOWED = {
    "attention": ("genkit.attention",),
    "schedulers": ("genkit.schedulers", "genkit.attention.geometry"),
}
"""Where only some of our modules may be imported."""
OURS_FORBIDDEN = {"genkit": ("genkit.benchmarks", "genkit.apps"), "benchmarks": ("genkit.apps",), "apps": ()}
THIRD_PARTY_ALLOWED = {"attention": ("torch", "triton", "diffusers", "xformers"), "schedulers": ("torch",)}
HEAVY = ("diffusers", "transformers", "triton", "gradio", "av", "imageio", "matplotlib", "cv2", "xformers", "ray")
NAMED_ELSEWHERE = ("attention", "schedulers", "benchmarks", "apps")
"""Folder names that would work from the top of the repository only."""

FILES = [path.relative_to(TOP) for folder in FOLDERS for path in sorted((TOP / folder).rglob("*.py"))]


def package_of(path: Path) -> str:
    """The package that a file belongs to: `attention/planners/radial.py` is in `genkit.attention.planners`."""
    return ".".join((FOLDERS[path.parts[0]], *path.parent.parts[1:]))


def targets(node: ast.AST, package: str) -> list[str]:
    """The full names that one import statement may load; empty for any other node."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    stem = ".".join([*parents, *([node.module] if node.module else [])])
    return [f"{stem}.{name.name}" for name in node.names]


def every_import(source: str, package: str) -> Iterator[str]:
    """The imports of a file, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        yield from targets(node, package)


def runs_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when a module is loaded: everything outside functions and `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from runs_on_import(node)


def import_on_load(source: str, package: str) -> Iterator[str]:
    for node in runs_on_import(ast.parse(source)):
        yield from targets(node, package)


def starts_with(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def is_forbidden(folder: str, name: str) -> bool:
    """Whether a file in ``folder`` must not import ``name``."""
    if starts_with(name, NAMED_ELSEWHERE):
        return True
    if starts_with(name, ("genkit",)):
        if folder in OURS_ALLOWED:
            return not starts_with(name, OURS_ALLOWED[folder])
        return starts_with(name, OURS_FORBIDDEN[folder])
    standard = name.split(".")[0] in sys.stdlib_module_names
    return folder in THIRD_PARTY_ALLOWED and not standard and not starts_with(name, THIRD_PARTY_ALLOWED[folder])


def may_be_heavy(path: Path) -> bool:
    """Files that are themselves imported only where their weight is needed: kernels, the embedded model, the views."""
    kernel = path.parts[0] == "attention" and path.name == "triton.py"
    return kernel or path.parts[:2] == ("genkit", "tiny") or path.parts[0] in ("benchmarks", "apps")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_import_against_the_direction_of_the_layers(path: Path) -> None:
    found = every_import((TOP / path).read_text(encoding="utf-8"), package_of(path))
    assert [name for name in found if is_forbidden(path.parts[0], name)] == []


@pytest.mark.parametrize("path", [path for path in FILES if not may_be_heavy(path)], ids=str)
def test_heavy_packages_are_imported_inside_functions_only(path: Path) -> None:
    found = import_on_load((TOP / path).read_text(encoding="utf-8"), package_of(path))
    assert [name for name in found if starts_with(name, HEAVY)] == []


def module_of(path: Path) -> str:
    """The name that a file is imported by."""
    return package_of(path) if path.name == "__init__.py" else f"{package_of(path)}.{path.stem}"


def arrows(of: Callable[[Path], str]) -> dict[str, set[str]]:
    """Which names import which, imports for types counted; ``of`` names a file, or the room that it is in."""
    names = {module_of(path): of(path) for path in FILES}
    found: dict[str, set[str]] = {name: set() for name in names.values()}
    for path in FILES:
        for target in every_import((TOP / path).read_text(encoding="utf-8"), package_of(path)):
            module = next((name for name in (target, target.rpartition(".")[0]) if name in names), None)
            if module is not None:
                found[of(path)].add(names[module])
    return {name: targets - {name} for name, targets in found.items()}


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """What is left when everything without imports among the rest has been taken away: circles, and what needs them."""
    left = dict(graph)
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def room_of(path: Path) -> str:
    """The folder of a file; a module beside ``genkit/__init__.py`` is by itself: errors lowest, making highest."""
    return module_of(path) if package_of(path) == "genkit" else package_of(path)


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle_in(arrows(module_of)) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    flat = {name: {to for to in targets if not to.startswith(name + ".")} for name, targets in arrows(room_of).items()}
    assert circle_in(flat) == []


def test_a_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c"]


def test_a_folder_holds_about_twelve_modules() -> None:
    counts = Counter(str(path.parent) for path in FILES if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > 13} == {}


@pytest.mark.parametrize(
    ("folder", "package", "line", "forbidden"),
    [
        ("attention", "genkit.attention", "from genkit.request import Request", True),
        ("attention", "genkit.attention", "import genkit", True),
        ("attention", "genkit.attention", "from genkit import schedulers", True),
        ("attention", "genkit.attention", "import numpy", True),
        ("attention", "genkit.attention", "from attention.grid import VideoGrid", True),
        ("attention", "genkit.attention.planners", "from ..grid import VideoGrid", False),
        ("attention", "genkit.attention.planners", "from ... import request", True),
        ("attention", "genkit.attention", "def f():\n    import diffusers.hooks", False),
        ("schedulers", "genkit.schedulers", "from genkit.attention.planners import radial", True),
        ("schedulers", "genkit.schedulers", "from genkit.attention.geometry.grid import VideoGrid", False),
        ("genkit", "genkit", "def f():\n    from genkit.apps import cli", True),
        ("genkit", "genkit", "from . import apps", True),
        ("genkit", "genkit", "from genkit.attention.geometry import grid", False),
        ("benchmarks", "genkit.benchmarks", "from genkit.apps.cli import main", True),
        ("apps", "genkit.apps", "import genkit.benchmarks.speed", False),
    ],
)
def test_the_rule_itself(folder: str, package: str, line: str, forbidden: bool) -> None:
    assert any(is_forbidden(folder, name) for name in every_import(line, package)) is forbidden


def test_what_runs_on_import() -> None:
    source = """
    import torch
    if TYPE_CHECKING:
        import gradio
    try:
        import triton
    except ImportError:
        pass
    class Rule:
        import av
        def wrap(self):
            import diffusers
    """
    assert set(import_on_load(source.replace("\n    ", "\n"), "genkit")) == {"torch", "triton", "av"}


def test_every_package_is_named_in_pyproject() -> None:
    """Setuptools cannot discover several folders at the top; what is not named is missing from the wheel."""
    tree = {package_of(path) for path in FILES if path.name == "__init__.py"}
    text = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.partition("\npackages = [")[2].partition("]")[0]
    assert {line.strip(' ",') for line in listed.splitlines() if line.strip()} == tree
    assert {package_of(path) for path in FILES} == tree, "a folder with modules has no __init__.py"


def fresh(code: str, cwd: Path) -> str:
    """What a new Python process prints; nothing of this one's imports is shared."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_genkit_takes_a_fifth_of_a_second_at_most(tmp_path: Path) -> None:
    code = "import torch, time; t = time.perf_counter(); import genkit; print(time.perf_counter() - t)"
    assert any(float(fresh(code, tmp_path)) < 0.2 for _ in range(3)), "too slow three times in a row"


BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is absent")
sys.meta_path.insert(0, Absent())
"""
TORCH_FIRST = f"""
import sys, torch
for name in [name for name in sys.modules if name.split(".")[0] in {HEAVY!r}]:
    del sys.modules[name]
"""
"""torch's builds with CUDA look for Triton themselves; what they found is not ours to use."""


@pytest.mark.parametrize("absent", ["gradio", "diffusers", "transformers", "triton", "av"])
def test_the_blocker_blocks(absent: str, tmp_path: Path) -> None:
    code = f"{BLOCKED}\ntry:\n    import {absent}\nexcept ImportError as error:\n    print(error)"
    assert fresh(code, tmp_path) == f"{absent} is absent"


def test_everything_public_works_without_the_heavy_packages(tmp_path: Path) -> None:
    code = f"""{TORCH_FIRST}{BLOCKED}
import genkit
from genkit.plugins import catalogue
print(*[name for name in genkit.__all__ if getattr(genkit, name)])
print(*[catalogue.describe(catalogue.plugin_class(name)).name for name in catalogue.names()])
"""
    public, plugins = (set(line.split()) for line in fresh(code, tmp_path).splitlines())
    assert {"load", "apply", "make", "Request", "Video"} <= public
    assert {"freenoise", "radial", "freelong", "timeline"} <= plugins


def test_plain_import_leaves_the_heavy_packages_alone(tmp_path: Path) -> None:
    code = f"import sys, genkit; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert fresh(code, tmp_path) == ""


def test_the_command_line_begins_without_the_heavy_packages() -> None:
    """It answers at once, and tells tqdm to be quiet before tqdm is there to read it."""
    code = "import sys, genkit.apps.cli; print([m for m in ('torch', 'tqdm', 'numpy', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_two_test_files_have_one_name() -> None:
    """They have no packages around them, so pytest would take one for the other."""
    names = Counter(path.name for path in (TOP / "tests").rglob("*.py"))
    assert [name for name, count in names.items() if count > 1] == []
