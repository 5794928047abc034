"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

# One process a core already; threads that spin while they wait, which OpenMP reads as it is loaded, would take the
# others' time.
ONE_OF_MANY = "PYTEST_XDIST_WORKER" in os.environ
if ONE_OF_MANY:
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import pytest  # noqa: E402
import torch  # noqa: E402

from onefield.kernels.threads import use_threads  # noqa: E402

if ONE_OF_MANY:
    use_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real data: the folder that ONEFIELD_DATA names, else ../shared/data beside the repository; skips without."""
    named = os.environ.get("ONEFIELD_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set ONEFIELD_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
