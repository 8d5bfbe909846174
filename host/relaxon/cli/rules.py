"""`relaxon rules`."""

from textwrap import fill

import click

from relaxon_isa import preset

from ..network import Network
from ..rules import features_of, make_rule, rule_class, rule_names, settings_for
from ..rules.settings import ARCHITECTURES
from .console import json_option, print_json

__all__ = ["list_rules"]

INDENT = " " * 4


@click.command("rules")
@click.option("--rule", "names", multiple=True, help="Only this one; may be repeated.")
@json_option
def list_rules(names: tuple[str, ...], as_json: bool) -> None:
    """List the learning rules: source, phases, memory, what they go with, their parameters.

    Features are those of the machine that a rule's own objective needs on plain layers; 'relaxon
    info --presets' says which machines have them.
    """
    rows = []
    network = Network((64, 32, 10))
    for name in names or rule_names():
        rule, settings = rule_class(name), settings_for(name, network)
        made = make_rule(network, preset("default"), settings)
        rows.append(
            {
                "rule": rule.name,
                "paper": rule.paper,
                "phases": rule.summary,
                "words_a_neuron": len(made.layout.planes),
                "words_a_synapse": made.layout.needs.words,
                "objectives": list(rule.OBJECTIVES),
                "architectures": [a for a in ARCHITECTURES if a not in rule.ARCHITECTURES],
                "refuses": rule.ARCHITECTURES,
                "early_stop": f"no: {rule.EARLY_STOP}" if rule.EARLY_STOP else "yes",
                "feedback": rule.FEEDBACK,
                "convolutions": f"no: {rule.PLAIN}" if rule.PLAIN else "yes",
                "features": features_of(network, settings),
                "options": {k: list(v) for k, v in rule.OPTIONS.items()},
            }
        )
    if print_json(rows, as_json):
        return
    for row in rows:
        click.echo(fill(f"{row['rule']}: {row['paper']}", subsequent_indent=INDENT))
        for line in (
            row["phases"],
            f"{row['words_a_neuron']} words per neuron, {row['words_a_synapse']} per synapse",
            f"objectives: {', '.join(row['objectives'])}",
            f"architectures: {', '.join(row['architectures'])}",
            f"early stop (recipe fast): {row['early_stop']}",
            f"scaled feedback: {'yes' if row['feedback'] else 'no'}",
            f"convolutions: {row['convolutions']}",
            f"features of the machine: {', '.join(row['features']) or 'none'}",
            *(f"-o {name}={v:g}: {meaning}" for name, (v, meaning) in row["options"].items()),
        ):
            click.echo(fill(line, 80, initial_indent=INDENT, subsequent_indent=INDENT))
