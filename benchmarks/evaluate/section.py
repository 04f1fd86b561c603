"""A table between two marks of a Markdown page."""

from genkit.errors import UsageError


def insert_section(page: str, begin: str, end: str, body: str) -> str:
    """Return a page whose text between ``begin`` and ``end`` is ``body``.

    Raises:
        UsageError: the page does not have the marks.
    """
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(f"the page has no place for the table; write {begin} and {end} where it should be")
    return f"{before}{begin}\n{body}{end}{after}"
