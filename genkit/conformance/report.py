"""The report of a check: what was found about each fact of a pipeline and its models."""

from dataclasses import dataclass

from genkit.attention.conformance.finding import Finding, refusal, wrong
from genkit.errors import UsageError
from genkit.record.visible import visible

FACT = 27
"""Width of the column of facts."""


@dataclass(frozen=True, kw_only=True)
class Conformance:
    """What short runs of a pipeline show, against what its facts say."""

    title: str
    """Pipeline class and name of its family."""
    findings: tuple[Finding, ...]
    """One for each fact, in the order of the check."""
    seconds: float
    """Seconds that the check took."""

    @property
    def ok(self) -> bool:
        """True if nothing was found against the facts."""
        return not self.wrong

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Findings against the facts."""
        return tuple(wrong(self.findings))

    def require(self) -> None:
        """Raise ``UsageError`` with the first finding against the facts; does nothing if there is none."""
        for finding in self.wrong[:1]:
            raise UsageError(refusal(self.title, finding, len(self.wrong) - 1))

    def __str__(self) -> str:
        head = f"{self.title}: {len(self.findings) - len(self.wrong)} of {len(self.findings)} facts are as they say"
        return "\n".join([*map(line_of, self.findings), f"{head} ({self.seconds:.1f} s)"])


def line_of(finding: Finding) -> str:
    """Return a finding as one line: its state, the fact, and what was found."""
    return visible(f"{'ok' if finding.ok else 'wrong':8}{finding.fact:{FACT}} {finding.found}")
