"""template.yaml as it is released: for one architecture, with archives in place of what is built."""

from __future__ import annotations

import re

from release.versions import ReleaseError

BUILT_LAYER = """\
    Metadata:
      BuildMethod: python3.13
      BuildArchitecture: !Ref Architecture
"""
CHOICE = """\
    Default: arm64
    AllowedValues: [arm64, x86_64]
"""
LICENCE_ID = "    SpdxLicenseId: Apache-2.0\n"
FILES = "    LicenseUrl: LICENSE\n    ReadmeUrl: README.md\n"
"""Of an application in the Serverless Application Repository.

Not in template.yaml: `sam deploy` would upload both each time, and `sam delete` leaves them.
"""


def packaged(template: str, *, architecture: str, layer: str, functions: str) -> str:
    """The template with the names of the two archives in place of the folders that `sam build` builds."""
    text = _once(template, BUILT_LAYER, "")
    text = _once(text, CHOICE, f"    Default: {architecture}\n    AllowedValues: [{architecture}]\n")
    text = _once(text, "      ContentUri: layers/sluice\n", f"      ContentUri: {layer}\n")
    text = _once(text, LICENCE_ID, LICENCE_ID + FILES)
    code = rf"      CodeUri: {functions}\n      Handler: \1.app.handler\n"
    return re.sub(r"^      CodeUri: functions/(\w+)/\n", code, text, flags=re.MULTILINE)


def _once(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ReleaseError(f"template.yaml has {text.count(old)} times, and not once: {old.strip()!r}")
    return text.replace(old, new)
