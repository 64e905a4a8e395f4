"""Build a release of this checkout: `python -m release FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from release.build import build
from release.versions import ReleaseError

CHECKOUT = Path(__file__).resolve().parents[1]


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write all files of the committed release to FOLDER."""
    try:
        release = build(CHECKOUT, folder.absolute())
    except ReleaseError as problem:
        sys.exit(f"No release: {problem}")
    for path in sorted(folder.iterdir()):
        click.echo(f"{path.stat().st_size:>10,}  {path.name}")
    if not release.released:
        click.echo(f"CHANGELOG.md has no section of {release.version}: these files are for a trial.")


if __name__ == "__main__":
    main()
