"""Plain English in docstrings, comments, messages and Markdown: read from every room and page that is done."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tree import TOP

FOLDERS: tuple[str, ...] = (
    "apps",
    "attention",
    "benchmarks",
    "genkit",
    "genkit_video.py",
    "schedulers",
)
"""Rooms and files that are done; add yours once it passes."""

PAGES: tuple[str, ...] = ("README.md", "CONTRIBUTING.md", "docs")
"""Markdown that people read first."""

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
CODE = re.compile(r"``[^`]*``|`[^`]*`|:\w+:`[^`]*`|\b\w+(?==)")
"""What is exempt: code in backticks, and the name in ``name=value``."""
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.DOTALL | re.MULTILINE)


def files(folders: tuple[str, ...] = FOLDERS, pattern: str = "*.py") -> list[Path]:
    """Return the files of the rooms, relative to the top of the repository."""
    places = [TOP / folder for folder in folders]
    found = {path for place in places for path in ([place] if place.is_file() else place.rglob(pattern))}
    return sorted(path.relative_to(TOP) for path in found)


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield docstrings, comments and strings except names, such as keys of JSON, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isidentifier():
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def paragraphs(page: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs of Markdown, each with its first line; code blocks are left out."""
    lines = FENCE.sub(lambda block: "\n" * block[0].count("\n"), page).split("\n")
    begin = 0
    for number in range(len(lines) + 1):
        if number == len(lines) or not lines[number].strip():
            if text := "\n".join(lines[begin:number]).strip():
                yield begin + 1, text
            begin = number + 1


def banned(texts: Iterable[tuple[int, str]]) -> list[str]:
    """Return a sentence for every phrase that reads like a translation, in texts with their lines."""
    return [
        f"line {line}: {found[0].strip()!r}, write {better}"
        for line, text in texts
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
    assert banned(prose(source)) + wrong_heads(source) == []


@pytest.mark.parametrize("path", files(PAGES, "*.md"), ids=str)
def test_pages_are_plain_english(path: Path) -> None:
    assert banned(paragraphs((TOP / path).read_text(encoding="utf-8"))) == []


def test_every_room_and_page_that_is_done_exists() -> None:
    assert [place for place in FOLDERS + PAGES if not (TOP / place).exists()] == []


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
        ('text = "svg2:top_p=1,least=1"', False),
    ],
)
def test_phrases(source: str, wrong: bool) -> None:
    assert bool(banned(prose(source))) is wrong


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("# A page\n\nIt is\nno budget.", [3]),
        ("| a | why |\n|---|---|", [1]),
        ("It says `why`.\n\n```python\nwhy = 1\n\nwhy\n```\n\nWhy not?", [9]),
        ("1. Do\n\n   ```bash\n   holds\n   ```\n\nIt holds.", [7]),
        ("At least one, and `least` or least=1.", []),
    ],
)
def test_markdown(page: str, lines: list[int]) -> None:
    assert [int(found.split(":")[0].removeprefix("line ")) for found in banned(paragraphs(page))] == lines


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
