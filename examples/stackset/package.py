"""The control plane as a StackSet takes it: without transforms, and its code in a bucket of each region.

StackSets with service-managed permissions refuse a template with a transform, SAM's included, and Lambda
takes code from a bucket of its own region only. So SAM's transform is done here, and each function finds its
code in the bucket CodeBucket-REGION, of which CodeBucket is a parameter. Files are named by their content,
and the same build gives the same bytes: another template has another address, by which AWS sees the change.

    python examples/stackset/package.py .aws-sam/build dist/stackset
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
FOLDER = "sluice"
"""Of the objects in the buckets."""
MAX_TEMPLATE_BYTES = 1_048_576
BUCKET = {
    "Type": "String",
    "AllowedPattern": "^[a-z0-9][a-z0-9-]{1,40}[a-z0-9]$",
    "ConstraintDescription": "must be the beginning of a bucket's name",
    "Description": "Name of the bucket with the code, without -REGION.",
}
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that an archive can give to a file."""


class _NoManagedPolicies:
    """Replaces samtranslator's lookup of AWS's managed policies; the template names none."""

    def load(self) -> dict[str, str]:
        return {}


def package(template: Path, into: Path) -> Path:
    """Write the code's archives and the template below `into`; returns the template's path.

    `template` is the one that `sam build` wrote; its code lies in the folders that it names, beside it.
    """
    body = copy.deepcopy(yaml_parse(template.read_text(encoding="utf-8")))
    folder = into / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for resource in body["Resources"].values():
        if (name := CODE.get(resource["Type"])) is not None:
            code = archive(template.parent / resource["Properties"][name])
            path = folder / f"{hashlib.sha256(code).hexdigest()}.zip"
            path.write_bytes(code)
            resource["Properties"][name] = {
                "Bucket": {"Fn::Sub": "${CodeBucket}-${AWS::Region}"},
                "Key": f"{FOLDER}/{path.name}",
            }
    body["Parameters"]["CodeBucket"] = BUCKET
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transform asks for one, and writes none
    transformed: dict[str, Any] = transform(body, {}, _NoManagedPolicies())
    text = json.dumps(transformed, indent=1, sort_keys=True).encode()
    if len(text) > MAX_TEMPLATE_BYTES:
        raise SystemExit(f"the template has {len(text)} bytes; CloudFormation takes {MAX_TEMPLATE_BYTES}")
    written = folder / f"template-{hashlib.sha256(text).hexdigest()[:16]}.json"
    written.write_bytes(text)
    return written


def archive(folder: Path) -> bytes:
    """The folder as a ZIP archive, the same bytes for the same files."""
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder: give the folder that `sam build` wrote, .aws-sam/build")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if os.access(path, os.X_OK) else 0o100644) << 16
            made.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def main(arguments: list[str]) -> int:
    """Package and say what to do with it."""
    if len(arguments) != 2:
        print("usage: package.py BUILD-FOLDER OUTPUT-FOLDER", file=sys.stderr)  # noqa: T201
        return 2
    built, into = map(Path, arguments)
    if not (built / "template.yaml").is_file():
        print(f"{built} holds no template.yaml: run `sam build` first", file=sys.stderr)  # noqa: T201
        return 1
    written = package(built / "template.yaml", into)
    print(f"In each region:  aws s3 sync {into} s3://PREFIX-REGION")  # noqa: T201
    print(f"TemplateUrl:     https://PREFIX-REGION.s3.REGION.amazonaws.com/{FOLDER}/{written.name}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
