"""Compiled kernels are code: they are read only from a folder that nobody else may write to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tastemaker.errors import SettingProblem
from tastemaker.kernels.compiling import check_cache


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_cache_that_others_may_write_to_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(SettingProblem, match="others may write to NUMBA_CACHE_DIR"):
        check_cache(str(tmp_path))


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775])
def test_a_cache_of_ones_own_is_taken_and_so_is_one_that_does_not_exist(tmp_path, mode):
    tmp_path.chmod(mode)
    check_cache(str(tmp_path))
    check_cache(str(tmp_path / "new"))


def test_a_cache_of_somebody_else_is_refused(tmp_path):
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(tmp_path, 12_345, -1)
    with pytest.raises(SettingProblem):
        check_cache(str(tmp_path))


def test_no_command_runs_what_lies_in_such_a_cache(tmp_path):
    tmp_path.chmod(0o777)
    ran = subprocess.run(
        [sys.executable, "-m", "tastemaker", "demo"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "others may write to NUMBA_CACHE_DIR" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


LATE = """
import sys
from tastemaker.serving.models.warmup import warm
warm()
assert "scipy.linalg" not in sys.modules, "kernels that need no BLAS ask for it"
import numba, numpy
assert numba.njit(lambda a, b: numpy.dot(a, b))(numpy.eye(2), numpy.array([3.0, 4.0])).tolist() == [3.0, 4.0]
assert "scipy.linalg" in sys.modules
"""


def test_kernels_do_without_scipy_and_a_function_that_needs_its_blas_gets_it(python):
    ended = python(LATE)
    assert ended.returncode == 0, ended.stderr
