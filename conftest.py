"""Shared by unit tests and nbval: quiet and offline kernels, readable failures, outputs compared without stderr.

It must lie at the root: pytest does not read tests/conftest.py when only notebooks are named.
"""

import os

import pytest

os.environ |= {
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "JUPYTER_PLATFORM_DIRS": "1",
}


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Leave stderr out of nbval's comparison: warnings carry paths and process numbers."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> None:
    """Remember the first failing cell of a notebook."""
    failed = call.when == "call" and call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception)
    if type(item).__name__ == "IPyNbCell" and failed:
        item.parent._broken = True


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the cells after a failed one: they would only repeat its error."""
    if type(item).__name__ == "IPyNbCell" and getattr(item.parent, "_broken", False):
        pytest.skip("an earlier cell of this notebook failed")
