"""Learning rules by name, and rules of one's own.

A rule of one's own is a class derived from `relaxon.rules.base.Rule` (or from a rule here), named
"path/to/file.py:Class", or registered by an entry point of the group ``relaxon.rules``.
"""

from .plugins import own_file
from .registry import (
    RULES,
    changed,
    check,
    features_of,
    first_preset,
    fits,
    make_rule,
    rule_class,
    rule_digest,
    rule_names,
    settings_for,
    unused_settings,
)

__all__ = [
    "RULES",
    "changed",
    "check",
    "features_of",
    "first_preset",
    "fits",
    "make_rule",
    "own_file",
    "rule_class",
    "rule_digest",
    "rule_names",
    "settings_for",
    "unused_settings",
]
