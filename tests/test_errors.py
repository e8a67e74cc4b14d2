from __future__ import annotations

import pickle

import pytest

from astrosage import errors
from astrosage.errors import AstroError, ClusterError, SpecError

EXIT_CODES = {
    "AstroError": 1,
    "SpecError": 2,
    "NotFoundError": 3,
    "ConflictError": 4,
    "ClusterError": 5,
    "CapacityError": 5,
    "StorageError": 5,
    "DataError": 6,
    "TrainingError": 7,
    "Interrupted": 130,
}
families = pytest.mark.parametrize("family", errors.FAMILIES.values(), ids=errors.FAMILIES)


def test_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {name: family.exit_code for name, family in errors.FAMILIES.items()} == EXIT_CODES


@families
def test_message_and_hint_cross_process_borders(family: type[AstroError]) -> None:
    copy = pickle.loads(pickle.dumps(family("found 3", "allowed: 1, 2")))
    assert type(copy) is family
    assert (copy.message, copy.hint) == ("found 3", "allowed: 1, 2")
    assert str(copy) == "found 3\nhint: allowed: 1, 2"


@families
def test_progress_tells_an_error_whole(family: type[AstroError]) -> None:
    assert errors.to_dict(family("found 3", "allowed: 1, 2")) == {
        "type": family.__name__,
        "message": "found 3",
        "hint": "allowed: 1, 2",
        "exitCode": family.exit_code,
        "retryable": family is ClusterError,
    }


def test_without_a_hint_there_is_no_empty_one() -> None:
    assert str(SpecError("no")) == "no"


def test_a_foreign_error_is_named_and_may_pass_by_itself() -> None:
    found = errors.to_dict(KeyError("loss"))
    assert found["message"] == "KeyError: 'loss'"
    assert (found["exitCode"], found["retryable"]) == (1, True)
    assert "astroctl logs" in str(found["hint"])
