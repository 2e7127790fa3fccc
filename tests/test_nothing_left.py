"""The watch over what tests leave behind sees it, says what it is, and ends it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import os, subprocess, sys, threading, time

def test_leaves_a_process():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

def test_finds_none():
    import psutil
    assert not [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]

def test_leaves_a_thread():
    ended = threading.Event()
    threading.Thread(target=ended.wait, args=(5,), name="left").start()

def test_ends_what_it_began():
    with subprocess.Popen([sys.executable, "-c", ""]):
        threading.Thread(target=time.sleep, args=(0.05,)).start()
"""


def test_a_test_that_leaves_something_behind_fails(
    pytester: pytest.Pytester, pytestconfig: pytest.Config
) -> None:
    source = (pytestconfig.rootpath / "tests" / "conftest.py").read_text()
    pytester.makeconftest(source.replace("PATIENCE = 60.0", "PATIENCE = 0.5"))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*left behind: process * time.sleep(600)*", "*left behind: thread left*"])
