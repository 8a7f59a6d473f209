"""One request: every sampling parameter is declared once, and is found wherever a user may choose it."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from producer.api.routes.submissions import options
from producer.commands.classify import classify
from producer.commands.shared.request import takes_request
from producer.runs.request import ClassificationRequest, RunOptions, RunRequest, option_name
from schema.errors import ParameterError
from schema.parameters import AUTO, Parameters, Solver, fields_of, is_automatic, limits_of, scope

# A value of each parameter that is not its default; on the command line, in JSON, and as it is stored.
CHOSEN: dict[str, tuple[str, Any]] = {
    "reads": ("7", 7),
    "rounds": ("[[50, 1, 0.5]]", [[50, 1.0, 0.5]]),
    "seed": ("3", 3),
    "visible": ("folded", "folded"),
    "rule": ("boltzmann", "boltzmann"),
    "fraction": ("0.5", 0.5),
    "sweeps": ("9", 9),
    "lam": ("2.5", 2.5),
    "beta": ("0.5", 0.5),
    "noise": ("0.25", 0.25),
    "qpu": ("emulator-zephyr", "emulator-zephyr"),
    "tiles": ("4", 4),
    "chain_strength": ("1.5", 1.5),
    "scale": ("2.0", 2.0),
    "annealing_time_us": ("5.0", 5.0),
    "anneal_schedule": ("[[0, 0], [20, 1]]", [[0.0, 0.0], [20.0, 1.0]]),
    "gauge": ("tile", "tile"),
    "unembedding": ("discard", "discard"),
    "confidence": ("0.99", 0.99),
    "by_class": ("true", True),
    "without": ("colour", ["colour"]),
}
# Parameters that need another one.
WITH = {"by_class": {"confidence": 0.95}}
DECLARED = fields_of(Parameters)


def typed(*words: str) -> ClassificationRequest:
    """Return the request of a command line."""

    def collect(request: ClassificationRequest) -> ClassificationRequest:
        return request

    parser = typer.Typer(add_completion=False)
    parser.command()(takes_request(collect))
    made: ClassificationRequest = typer.main.get_command(parser).main(list(words), standalone_mode=False)
    return made


def test_each_parameter_has_a_value_here() -> None:
    assert CHOSEN.keys() == DECLARED.keys()


@pytest.mark.parametrize("name", CHOSEN)
def test_each_parameter_is_an_option_with_its_description(name: str) -> None:
    parser = typer.Typer(add_completion=False)
    parser.command()(classify)
    (found,) = [given for given in typer.main.get_command(parser).params if given.name == name]
    assert option_name(name) in found.opts
    # The group of the option says already that it is for qubits.
    description = str(DECLARED[name].description).removeprefix("With qubits: ")
    assert description[1:] in str(found.help)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CHOSEN)
def test_each_parameter_is_a_field_over_http_with_its_limits(name: str) -> None:
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
    names |= {"min_length": "minLength", "max_length": "maxLength"}
    for model in ("Request", "Form"):
        field = options.schemas()[model]["properties"][name]
        assert field["description"] == DECLARED[name].description
        kind, *others, nothing = field["anyOf"]
        assert nothing == {"type": "null"}
        assert [each.get("const") for each in others] == ([AUTO] if is_automatic(DECLARED[name]) else [])
        limits = {names[limit]: value for limit, value in limits_of(DECLARED[name]).items()}
        assert limits.items() <= kind.items()


@pytest.mark.parametrize("name", CHOSEN)
def test_each_parameter_is_the_same_from_everywhere_and_is_stored(name: str) -> None:
    written, value = CHOSEN[name]
    solver = scope(DECLARED[name]).solvers[0]
    more = WITH.get(name, {})
    words = [word for other, number in more.items() for word in (option_name(other), str(number))]
    flag = [option_name(name)] if value is True else [option_name(name), written]
    by_command = typed("digits", "--solver", solver, *words, *flag)
    by_http = options.from_json({"uri": "/x", "solver": solver, name: value, **more}).request()
    fields = [(other, str(number)) for other, number in more.items()]
    by_form = options.from_form([("uri", "/x"), ("solver", solver), *fields, (name, written)]).request()
    expected = Parameters.from_dict({name: value, **more})
    for request in (by_command, by_http, by_form, ClassificationRequest.from_dict(by_command.to_dict())):
        assert Parameters.from_dict(request.asked) == expected
    assert expected != Parameters()
    assert Parameters.from_dict(expected.to_dict()) == expected


def test_what_no_calibration_chooses_is_always_asked_for() -> None:
    assert typed("digits").asked == {"seed": 0, "noise": 0.0, "by_class": False}


def test_options_make_a_request() -> None:
    request = typed(
        *("mnist.npz", "--labels", "labels.idx", "-n", "mnist@2", "-s", "emulator", "-l", "10"),
        *("--classes", "1,7", "--no-calibration", "--batch-size", "50", "--priority", "-3"),
        *("--budget", "1.5", "--window", "22:00-06:00", "--tz", "Europe/London", "--deadline", "07:00"),
    )
    assert request == ClassificationRequest(
        "mnist.npz",
        "labels.idx",
        network="mnist@2",
        solver=Solver.EMULATOR,
        classes=("1", "7"),
        limit=10,
        asked={"seed": 0, "noise": 0.0, "by_class": False},
        calibrated=False,
        batch_size=50,
        priority=-3,
        budget_us=1_500_000,
        windows=("22:00-06:00",),
        zone="Europe/London",
        deadline="07:00",
    )


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"limit": 0}, "limit is 0; it must be a whole number from 1"),
        ({"batch_size": 0}, "batch size is 0; the number of images must be a whole number from 1 to 10,000"),
        ({"zone": "UTC"}, "tz UTC applies to window and deadline, but neither is given"),
        ({"windows": ("22:00-06:00",), "zone": "Mars"}, "Mars"),
        ({"asked": {"tiles": 4}}, "solver local has no tiles"),
        ({"asked": {"readz": 4}}, "unknown parameter 'readz'"),
        ({"solver": "quantum"}, "unknown solver 'quantum'; choose one of: local"),
    ],
)
def test_what_cannot_be_asked_for_is_named(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        RunRequest(**wrong)


def test_a_zone_is_that_of_the_request_before_any_other() -> None:
    timed = RunRequest(windows=("22:00-06:00",))
    assert timed.in_zone("Europe/London").zone == "Europe/London"
    assert RunRequest(windows=("22:00-06:00",), zone="UTC").in_zone("Europe/London").zone == "UTC"
    assert RunRequest().in_zone("Europe/London").zone is None


def test_several_wrong_values_are_all_named() -> None:
    with pytest.raises(ParameterError, match=r"batch size is 0; .*; priority is 1001; .* -1000 to 1000"):
        RunOptions(batch_size=0, priority=1001)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"target": "many"}, "write 99% or 0.99"),
        ({"target": 1.5}, "above 0 and at most 1"),
        ({"target": 0.9, "prices": ("x=y",)}, "write 30, or NAME=45"),
        ({"prices": ("30",)}, "counts only with a target"),
        ({"target": 0.9, "calibrated": False}, "a target needs calibrations"),
    ],
)
def test_a_target_that_cannot_be_read_says_how_to_write_it(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        RunRequest(**values)


def test_a_target_is_a_percentage_or_a_share() -> None:
    assert RunRequest(target="99.5%").target == RunRequest(target=0.995).target == 0.995  # type: ignore[arg-type]
