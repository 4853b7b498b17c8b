"""Every error has a code of its own, and comes back from the wire as what it was."""

from __future__ import annotations

import pytest

from sidecar import errors
from sidecar.errors import BY_CODE, Internal, JobFailed, NotFound, SidecarError, from_code


@pytest.mark.parametrize("code", BY_CODE)
def test_a_code_leads_back_to_its_class_and_message(code: str) -> None:
    error = from_code(code, "cannot do it: because")
    assert type(error) is BY_CODE[code]
    assert (error.code, str(error)) == (code, "cannot do it: because")


@pytest.mark.parametrize("code", ["of_a_newer_daemon", "", None, 7, ["bad_request"]])
def test_an_unknown_code_is_internal_so_that_a_newer_daemon_makes_sense(code: object) -> None:
    error = from_code(code, "said so")
    assert type(error) is Internal
    assert str(error) == "said so"


def test_every_class_has_a_code_of_its_own() -> None:
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, SidecarError)]
    codes = [cls.code for cls in classes if cls is not SidecarError]
    assert len(set(codes)) == len(codes)


def test_every_class_says_what_it_means() -> None:
    assert all(cls.__doc__ for cls in BY_CODE.values())


def test_whoever_catches_ours_catches_all_of_ours() -> None:
    assert issubclass(NotFound, SidecarError)
    assert issubclass(JobFailed, SidecarError)


def test_a_failed_job_tells_outcome_type_and_message() -> None:
    failed = JobFailed("failed", "ValueError", "no such order", "Traceback ...")
    assert str(failed) == "failed: ValueError: no such order"
    assert (failed.outcome, failed.type, failed.message) == ("failed", "ValueError", "no such order")
    assert failed.traceback == "Traceback ..."


def test_a_job_that_ended_without_an_exception_is_told_without_a_type() -> None:
    assert str(JobFailed("expired", "", "was not started in time")) == "expired: was not started in time"


def test_the_failure_of_a_job_is_no_reply_to_a_request() -> None:
    assert JobFailed.code not in BY_CODE
