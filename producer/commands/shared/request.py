"""Makes the options of `annealq classify` from the fields of a request, and a request from the options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from producer.commands.shared import options as o
from producer.commands.shared.help import QUBITS, SAMPLING
from producer.runs.request import ClassificationRequest, option_name
from schema.errors import ParameterError
from schema.parameters import (
    Parameters,
    fields_of,
    is_automatic,
    is_list,
    is_structured,
    plain_type,
    scope,
    solver,
)
from schema.parameters.declarations import Availability, range_text

_SHORT = {"network": ["-n"], "reads": ["-r"], "limit": ["-l"]}


def declared(name: str, field: FieldInfo) -> OptionInfo:
    """Return the option for ``field``, called ``name``, of a request; its help is description and limits."""
    metavar = "N|auto" if is_automatic(field) else "NAME" if is_list(field) else None
    more = " Give JSON, or a file of it." if is_structured(field) else ""
    if is_list(field):
        more = " May be given several times."
    limits, panel, text = range_text(field), _panel(field), field.description or ""
    if panel == QUBITS:  # as the title of the group says
        text = text.removeprefix("With qubits: ")
        text = text[:1].upper() + text[1:]
    option: OptionInfo = typer.Option(
        option_name(name),
        *_SHORT.get(name, []),
        help=f"{text}{more}" + (f"  [{limits}]" if limits else ""),
        rich_help_panel=panel,
        metavar=metavar,
    )
    return option


def _panel(field: FieldInfo) -> str | None:
    """Return the group of options that a sampling parameter belongs to; others have theirs by name."""
    if not any(isinstance(about, Availability) for about in field.metadata):
        return None
    return QUBITS if all(each.is_remote for each in scope(field).solvers) else SAMPLING


Qpu = Annotated[str | None, declared("qpu", fields_of(Parameters)["qpu"])]
Tiles = Annotated[int | None, declared("tiles", fields_of(Parameters)["tiles"])]

_REQUIRED = inspect.Parameter.empty
# Request fields whose option differs from the field: name, annotation and default of the option.
_WRITTEN: dict[str, tuple[str, Any, Any]] = {
    "data": ("data", o.Data, _REQUIRED),
    "labels": ("labels", o.Labels, None),
    "classes": ("classes", o.Classes, None),
    "solver": ("solver_name", o.SolverName, "local"),
    "target": ("target", o.Target, None),
    "prices": ("price_per_minute", o.Prices, None),
    "calibrated": ("no_calibration", o.NoCalibration, False),
    "budget_us": ("budget", o.Budget, None),
    "windows": ("window", o.Window, None),
    "zone": ("tz", o.Zone, None),
    "tags": ("tag", o.Tag, None),
}


def takes_request(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the options of a request; its first parameter receives the request."""
    _request, *own = inspect.signature(command, eval_str=True).parameters.values()
    names = [option.name for option in own]
    options = [*_request_options(), *(_option(each.name, each.annotation, each.default) for each in own)]

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        return command(request_of(values), **{name: values[name] for name in names})

    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def request_of(values: Mapping[str, Any]) -> ClassificationRequest:
    """Return the request for the ``values`` by option name; raise ParameterError if one is wrong."""
    if values["tz"] is not None and not values["window"] and values["deadline"] is None:
        raise ParameterError(f"--tz {values['tz']} is only valid with --window or --deadline")
    asked = {
        name: _read(name, field, values[name])
        for name, field in fields_of(Parameters).items()
        if values[name] not in (None, [])
    }
    same = {name: values[name] for name in fields_of(ClassificationRequest) if name in values}
    return ClassificationRequest(
        **{
            **same,
            "labels": None if values["labels"] is None else str(values["labels"]),
            "classes": None if values["classes"] is None else tuple(values["classes"].split(",")),
            "solver": solver(values["solver_name"]),
            "asked": asked,
            "target": values["target"],
            "prices": tuple(values["price_per_minute"] or ()),
            "calibrated": not values["no_calibration"],
            "budget_us": o.microseconds(values["budget"]),
            "windows": tuple(values["window"] or ()),
            "tags": tuple(values["tag"] or ()),
            "zone": values["tz"],
        }
    )


def _read(name: str, field: FieldInfo, value: Any) -> Any:
    """Return the ``value`` of a sampling parameter that its option was given."""
    if is_automatic(field):
        return o.read_number(name, value, range_text(field))
    return o.read_json(name, value) if is_structured(field) else value


def _request_options() -> list[inspect.Parameter]:
    """Return one option for each field of a request, and for each sampling parameter in place of `asked`."""
    options: list[inspect.Parameter] = []
    request_fields = fields_of(ClassificationRequest)
    for name in dict.fromkeys(("data", "labels", *request_fields)):
        if name in _WRITTEN:
            options.append(_option(*_WRITTEN[name]))
        elif name == "asked":
            options += [_parameter(parameter, field) for parameter, field in fields_of(Parameters).items()]
        else:
            field = request_fields[name]
            options.append(_option(name, Annotated[field.annotation, declared(name, field)], field.default))
    return options


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return the option of a sampling parameter: without a default, if a calibration may choose its value."""
    kind = plain_type(field)
    if is_structured(field) or is_automatic(field):
        kind = str  # read by `request_of`
    elif is_list(field):
        kind = list[str]
    default = None if scope(field).calibrated else field.default
    return _option(name, Annotated[kind | None if default is None else kind, declared(name, field)], default)


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
