"""Files inside published packages, read without importing the package.

Some packages contain weights that are hard to get elsewhere, but require frameworks that genkit does not need.
Installed without dependencies such a package is only a folder of files, located by the installation's index.
"""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from genkit.errors import GenkitError


@dataclass(frozen=True, kw_only=True)
class PackageMember:
    """One file of one release of a package."""

    package: str
    """Its name on the package index."""
    version: str
    """The release."""
    member: str
    """Path of the file inside the installation, with forward slashes."""
    sha256: str
    """Expected hash of the file."""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install --no-deps {self.package}=={self.version}"

    def missing(self) -> str | None:
        """Return what has to be installed, with the command; None if the release is installed with this file."""
        try:
            found = distribution(self.package)
        except PackageNotFoundError:
            return f"package {self.package} {self.version}: {self.install}"
        if found.version != self.version:
            return f"package {self.package} {self.version} and not {found.version}: {self.install}"
        if not self._path().is_file():
            return f"{self.member} of package {self.package}: {self.install} --force-reinstall"
        return None

    def read(self) -> bytes:
        """Return the content of the file.

        Raises:
            GenkitError: the release or the file is missing, or the content is not the published one.
        """
        if reason := self.missing():
            raise GenkitError(f"this needs {reason}")
        try:
            content = self._path().read_bytes()
        except OSError as error:
            raise GenkitError(f"cannot read {str(self._path())!r}: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise GenkitError(
                f"{self.member} of the installed {self.package} differs from the published file; "
                f"install it again: {self.install} --force-reinstall"
            )
        return content

    def _path(self) -> Path:
        return Path(str(distribution(self.package).locate_file(self.member)))
