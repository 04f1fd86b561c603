"""Plain English in docstrings, comments and messages: read from the source of every room that is done."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree import TOP

FOLDERS: tuple[str, ...] = (
    "apps",
    "attention",
    "benchmarks",
    "genkit/__init__.py",
    "genkit/checks",
    "genkit/decoding",
    "genkit/errors.py",
    "genkit/files",
    "genkit/generation/turns",
    "genkit/loading.py",
    "genkit/making.py",
    "genkit/plugins/caches",
    "genkit/plugins/longer/fifo.py",
    "genkit/probing",
    "genkit/record",
    "genkit/request.py",
    "genkit/tiny",
    "genkit/video",
    "genkit_video.py",
    "schedulers/noise.py",
    "schedulers/seeds.py",
    "schedulers/timeline.py",
    "schedulers/turns.py",
)
"""Rooms and files that are done; add yours once it passes."""

BANNED = {
    r"(?<!there )\bis no (?!longer\b|more\b|other\b|worse\b|better\b)": "is not a",
    r"\b(told|tells?)\b": "report, warn, say",
    r"\banew\b": "again",
    r"\bwhy\b": "reason",
    r"\bholds\b": "contains, stores",
    r"\b(lies|lie|lying)\b": "is stored, is in",
    r"\bgreatest\b": "max, largest",
    r"(?<!at )\bleast\b": "min, smallest",
    r"\b(ails|spoilt)\b": "degrades, spoiled",
}
"""Patterns of a translation's English, each with what to write instead."""

QUESTIONS = {"what", "whether", "how", "where", "which", "who", "when"}
NOT_VERBS = {
    *("a", "an", "the", "this", "that", "these", "those", "it", "its", "their", "one", "two", "both", "each", "every"),
    *("all", "any", "some", "no", "none", "nothing", "something", "everything", "anything", "true", "false"),
    *("as", "after", "before", "by", "for", "from", "if", "in", "of", "on", "to", "with", "without", "once", "until"),
    *("texts", "names", "seconds", "bytes", "frames", "rows", "lines", "columns", "called", "told", "only", "so"),
}
FIELD_LIKE = ("property", "cached_property")
CODE = re.compile(r"``[^`]*``|`[^`]*`|:\w+:`[^`]*`")


def files(folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    """Return the modules of the rooms, relative to the top of the repository."""
    places = [TOP / folder for folder in folders]
    found = {path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))}
    return sorted(path.relative_to(TOP) for path in found)


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield docstrings, comments and strings except names, such as keys of JSON, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isidentifier():
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def banned(source: str) -> list[str]:
    """Return a sentence for every phrase that reads like a translation; code in backticks is exempt."""
    return [
        f"line {line}: {found[0].strip()!r}, write {better}"
        for line, text in prose(source)
        for pattern, better in BANNED.items()
        if (found := re.search(pattern, " ".join(CODE.sub("``", text).split()), re.IGNORECASE))
    ]


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions of a module and the methods of its classes; a function inside another is private."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
        else:
            yield from functions(child)


def is_field(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return True for a property: it is read like a field, so a noun describes it."""
    return any(ast.unparse(entry).split(".")[-1] in FIELD_LIKE for entry in function.decorator_list)


def wrong_heads(source: str) -> list[str]:
    """Return a sentence for every public function whose docstring does not begin with a verb."""
    found = []
    for function in functions(ast.parse(source)):
        text = ast.get_docstring(function)
        if function.name.startswith("_") or text is None:
            continue
        first, second = [*re.split(r"[\s,;:.]+", text, maxsplit=2), "", ""][:2]
        wrong = not first.isalpha() or first.lower() in NOT_VERBS or second == "of"
        if first.lower() in QUESTIONS or (wrong and not is_field(function)):
            found.append(f"line {function.lineno}: {function.name} begins with {first!r}, write Return, Compute, Raise")
    return found


@pytest.mark.parametrize("path", files(), ids=str)
def test_prose_is_plain_english(path: Path) -> None:
    source = (TOP / path).read_text(encoding="utf-8")
    assert banned(source) + wrong_heads(source) == []


def test_every_room_that_is_done_exists() -> None:
    assert [folder for folder in FOLDERS if not (TOP / folder).exists()] == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ('raise ValueError(f"{x!r} is no budget: it is no JSON")', True),
        ('raise ValueError(f"{x!r} is not a budget file: invalid JSON")', False),
        ('raise OSError("there is no free port")', False),
        ('"""The folder is no longer there."""', False),
        ('"""Told of every plan."""', True),
        ("def _f():\n    '''Begin\n    anew.'''", True),
        ("x = 1  # nobody is told", True),
        ("x = 1  # reported once", False),
        ('x = f"{a} lies in {b}"', True),
        ('"""Add to ``told``, or to `told`."""', False),
        ("told = 1", False),
        ('row["anew"]', False),
        ('"""The least density."""', True),
        ('"""At least one."""', False),
    ],
)
def test_phrases(source: str, wrong: bool) -> None:
    assert bool(banned(source)) is wrong


@pytest.mark.parametrize(
    ("head", "wrong"),
    [
        ("What a run needs.", True),
        ("Whether it is done.", True),
        ("``out``, or a new folder.", True),
        ("The plan of a run.", True),
        ("Seconds until the next try.", True),
        ("Hashes of the embedded model.", True),
        ("Return the plan of a run.", False),
        ("Reports every plan.", False),
    ],
)
def test_heads(head: str, wrong: bool) -> None:
    function = f"def f():\n    '''{head}'''\n"
    assert bool(wrong_heads(function)) is wrong
    assert bool(wrong_heads("class A:\n    async " + function.replace("\n", "\n    ") + "pass")) is wrong
    assert wrong_heads(function.replace("def f", "def _f")) == []
    assert wrong_heads(f"def _g():\n    def f():\n        '''{head}'''") == []
    assert wrong_heads(f"class A:\n    '''{head}'''") == []


def test_a_property_is_described_like_a_field() -> None:
    field = "class A:\n    @{}\n    def f(self):\n        '''{}'''"
    assert wrong_heads(field.format("property", "The plan.")) == []
    assert wrong_heads(field.format("functools.cached_property", "The plan.")) == []
    assert wrong_heads(field.format("property", "Whether it is done.")) != []
    assert wrong_heads(field.format("staticmethod", "The plan.")) != []
