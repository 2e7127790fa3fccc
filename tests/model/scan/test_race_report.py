"""What is taken for a race in a report of compute-sanitizer."""

import pytest

from benchmarks.gpu_races import RaceReportError, races_in

REPORT = """========= COMPUTE-SANITIZER
========= Error: Race reported between {0} access at gradients+0xbf40 in kernels.py:294
=========     and {1} access at gradients+{2} in kernels.py:294 [143 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""


def test_copies_of_one_sum_are_no_race():
    assert races_in(REPORT.format("Write", "Write", "0xbf40")) == (1, [])


@pytest.mark.parametrize(
    ("first", "second", "where"),
    [("Read", "Write", "0xbf40"), ("Write", "Write", "0xbf50"), ("Read", "Read", "0xbf40")],
)
def test_any_other_pair_is_a_race(first, second, where):
    copies, real = races_in(REPORT.format(first, second, where))
    assert copies == 0
    assert real == [f"{first} at gradients+0xbf40 against {second} at gradients+{where}"]


@pytest.mark.parametrize(
    "report", ["", "compute-sanitizer: no device", REPORT.replace("{1} access", "")[:90]]
)
def test_a_report_without_an_end_is_no_result(report):
    with pytest.raises(RaceReportError, match="No whole report"):
        races_in(report)
