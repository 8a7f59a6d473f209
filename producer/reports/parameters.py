"""Parameters of a run, and the controls of its accuracy, as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from schema.parameters import Rule
from schema.quantities import count_text


def consensus_text(parameters: Mapping[str, Any]) -> str:
    """Return the consensus rule in ``parameters``, with its own parameter."""
    match parameters["rule"]:
        case Rule.LOWEST_ENERGY_MEAN:
            return f"{parameters['rule']}, fraction {parameters['fraction']:g}"
        case Rule.BOLTZMANN:
            return f"{parameters['rule']}, beta {parameters.get('beta', 1.0):g}"
        case rule:
            return str(rule)


def parameters_text(parameters: Mapping[str, Any], names: Collection[str] | None = None) -> str:
    """Return sampling ``parameters`` (only those in ``names``, if given) that the rule uses, in one line."""
    texts = {
        "lam": None if parameters.get("lam") is None else f"lam {parameters['lam']:g}",
        "reads": count_text(parameters["reads"], "read"),
        "visible": f"visible units {parameters['visible']}",
        "sweeps": None if parameters.get("sweeps") is None else f"{parameters['sweeps']:,} sweeps",
        "rule": consensus_text(parameters),
    }
    wanted = [text for name, text in texts.items() if text and (names is None or name in names)]
    return ", ".join(wanted)


def controls_text(controls: Mapping[str, Any] | None) -> str | None:
    """Return the ``controls`` of an accuracy in one line, or None if there are none."""
    if controls is None:
        return None
    network, bits = controls["network"], controls["random_bits"]
    return (
        f"{network['accuracy']:.2%} by the network itself ({count_text(network['images'], 'image')}), "
        f"{bits['accuracy']:.0%} by random bits ({bits['images']:,})"
    )
