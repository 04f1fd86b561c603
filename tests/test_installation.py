"""Which package `genkit` is installed here, and advice that a person can type."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from tree import TOP

import genkit_video
from genkit.apps.commands import doctor

TEXTS = [
    path
    for pattern in ("*.md", "*.py", "*.toml", "Makefile")
    for path in sorted(TOP.rglob(pattern))
    if not {"build", "outputs", "runs"} & set(path.relative_to(TOP).parts) and ".venv" not in str(path)
]


def note_installed(packages: Path, name: str, version: str) -> Path:
    """Make the folder in which pip notes that a distribution is installed."""
    folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder of packages as PyPI's `genkit` leaves it: an import package and what pip notes of it."""
    (tmp_path / "genkit").mkdir()
    (tmp_path / "genkit" / "__init__.py").write_text("class Genkit: ...\n")
    note_installed(tmp_path, "genkit", "0.12.0")
    return tmp_path


def command_line(*words: str, packages: Path) -> subprocess.CompletedProcess[str]:
    """`genkit ...` in a process that finds ``packages`` before everything else."""
    code = "import sys, genkit_video; sys.exit(genkit_video.main())"
    env = os.environ | {"PYTHONPATH": str(packages)}
    start = [sys.executable, "-c", code, *words]
    return subprocess.run(start, cwd=packages, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("words", [("doctor",), ("generate", "a red circle"), ("--help",)])
def test_another_genkit_in_our_place_is_one_sentence(words: tuple[str, ...], other: Path) -> None:
    done = command_line(*words, packages=other)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"genkit: PyPI's genkit 0\.12\.0, another project, is in this environment and takes the import name of "
        r"genkit-video; give each an environment of its own, or: pip uninstall --yes genkit && pip install .+\n",
        done.stderr,
    )


def test_another_genkit_that_cannot_even_be_imported(other: Path) -> None:
    (other / "genkit" / "__init__.py").write_text("import structlog_that_is_not_here\n")
    assert "PyPI's genkit 0.12.0" in command_line("doctor", packages=other).stderr


def test_an_import_package_without_a_distribution(other: Path) -> None:
    shutil.rmtree(other / "genkit-0.12.0.dist-info")
    done = command_line("doctor", packages=other)
    assert done.returncode == 1
    said = "genkit: the package 'genkit' that Python finds is not that of genkit-video; pip install"
    assert done.stderr.startswith(said)


def test_files_that_another_genkit_wrote_over_ours(other: Path) -> None:
    """Without --editable both are one folder, and the later installation wins file by file."""
    for name in ("errors.py", "tiny", "apps"):
        origin = TOP / ("apps" if name == "apps" else f"genkit/{name}")
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, other / "genkit" / name)
    assert "PyPI's genkit 0.12.0" in command_line("doctor", packages=other).stderr


@pytest.fixture
def beside(other: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The other distribution is installed, and ours was installed over it."""
    shutil.rmtree(other / "genkit")
    monkeypatch.syspath_prepend(str(other))
    yield


def test_doctor_finds_the_other_distribution_beside_ours(beside: None) -> None:
    check = next(check for check in doctor.checks() if check.name == "import name")
    assert not check.ok and check.needed and "pip uninstall --yes genkit &&" in check.found


def test_doctor_is_content_with_ours_alone() -> None:
    check = next(check for check in doctor.checks() if check.name == "import name")
    assert check.ok and check.found == "'genkit' is genkit-video"


def test_our_own_command_line_runs(tmp_path: Path) -> None:
    done = command_line("--version", packages=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, distribution("genkit-video").version)


def test_what_an_extra_needs() -> None:
    assert genkit_video.install_extra("ui") == "pip install 'gradio<7,>=6.31'"
    assert genkit_video.install_extra("eval") == "pip install matplotlib jinja2 opencv-python-headless"
    with pytest.raises(ValueError, match="genkit-video has no optional feature 'gpu' on this system"):
        genkit_video.install_extra("gpu")


@pytest.mark.parametrize(
    ("noted", "command"),
    [
        ('{"url": "file:///a%20b/genkit", "dir_info": {"editable": true}}', "--editable '/a b/genkit'"),
        ('{"url": "file:///a/genkit", "dir_info": {}}', "/a/genkit"),
        ('{"url": "file:///a/genkit-1.whl", "archive_info": {}}', "/a/genkit-1.whl"),
        ('{"url": "https://example.org/genkit.git", "vcs_info": {"vcs": "git"}}', "git+https://example.org/genkit.git"),
    ],
)
def test_installing_again_from_where_it_came(
    noted: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = note_installed(tmp_path, "genkit-video", "0.1.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert genkit_video.reinstall() == "install genkit-video again from where it came"
    (folder / "direct_url.json").write_text(noted)
    assert genkit_video.reinstall() == f"pip install --force-reinstall --no-deps {command}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(TOP)))
def test_nobody_is_sent_to_an_index_for_our_distribution(path: Path) -> None:
    """It is on none; `pip install .`, a path or the packages themselves are right."""
    wrong = re.compile(r"""(pip install|uv add|install it:)[^\n]*['" ]genkit(-video)?['"[ ]""")
    assert path == Path(__file__) or not wrong.search(path.read_text(encoding="utf-8"))
