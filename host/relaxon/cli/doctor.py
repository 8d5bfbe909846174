"""`relaxon doctor`: what is there, what is not, and the remedy."""

import sys
from dataclasses import asdict
from importlib import metadata

import click

from relaxon_isa import CONTRACT_VERSION, ToolError

from ..doctor import examine
from .console import EXIT_CODES, json_option, print_json, show

__all__ = ["doctor"]


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this computer has of all that relaxon can use, and what to do about the rest.

    Packages, tools, serial ports and the right to use them. The exit code is 8 if something is
    there and does not work; what is only absent may not be needed.
    """
    findings = list(examine())
    version = metadata.version("relaxon")
    document = {
        "relaxon": version,
        "contract": CONTRACT_VERSION,
        "findings": [asdict(finding) for finding in findings],
    }
    if not print_json(document, as_json):
        click.echo(f"relaxon {version}, contract {CONTRACT_VERSION}")
        marks = {True: "wrong", False: "-"}
        show((), (((marks[f.wrong] if f.remedy else "ok"), f.subject, f.found) for f in findings))
        for finding in findings:
            if finding.remedy:
                click.echo(f"\n{finding.subject}: {finding.found}\n  {finding.remedy}")
    if any(finding.wrong for finding in findings):
        sys.exit(EXIT_CODES[ToolError])
