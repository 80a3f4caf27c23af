"""Opens a model file with XGBoost, LightGBM or CatBoost, in a process of its own that a damaged file may end.

They read a damaged file past its end: the process then dies of it, or allocates memory without a bound. Run as a script
with the path of the shared library, the library's name and the file, it ends with 0 where the library reads the file
and predicts a row within the limits. A library that refuses a file here might, without limits, read it in the end.
"""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

_SECONDS = 120
# Beside what the file itself needs.
_MOST_BYTES = 4 * 2**30
_TIMES = 16
_TEXT_BYTES = 2**20


def survives(file: Path, library: str, shared: str) -> bool:
    """Whether a process that reads the file, lists its trees and predicts a row ends normally.

    Args:
        file: the model.
        library: "xgboost", "lightgbm" or "catboost".
        shared: the path of its shared library; CatBoost's, which has no other interface, is that of its Python module.
    """
    # Without site-packages, which CatBoost alone is imported from, the process starts in a hundredth of the time.
    alone = [] if library == "catboost" else ["-S"]
    command = [sys.executable, "-I", *alone, __file__, shared, library, str(file)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _xgboost(native: ctypes.CDLL, file: bytes) -> bool:
    booster, matrix = ctypes.c_void_p(), ctypes.c_void_p()
    columns, count, first, texts = ctypes.c_uint64(), ctypes.c_uint64(), ctypes.c_void_p(), ctypes.c_void_p()
    native.XGBoosterCreate(None, ctypes.c_uint64(0), ctypes.byref(booster))
    if native.XGBoosterLoadModel(booster, file) or native.XGBoosterGetNumFeature(booster, ctypes.byref(columns)):
        return False
    if native.XGBoosterDumpModelEx(booster, b"", 0, b"json", ctypes.byref(count), ctypes.byref(texts)):
        return False
    row = (ctypes.c_float * max(1, min(columns.value, 2**24)))()
    shape = (ctypes.c_uint64(1), ctypes.c_uint64(len(row)))
    native.XGDMatrixCreateFromMat(row, *shape, ctypes.c_float(float("nan")), ctypes.byref(matrix))
    return not native.XGBoosterPredict(booster, matrix, 0, 0, 0, ctypes.byref(count), ctypes.byref(first))


def _lightgbm(native: ctypes.CDLL, file: bytes) -> bool:
    booster, number, length = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int64()
    if native.LGBM_BoosterCreateFromModelfile(file, ctypes.byref(number), ctypes.byref(booster)):
        return False
    # What its Python class and the conversion read of it.
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    room, asked = ctypes.c_int64(_TEXT_BYTES), (ctypes.byref(length), text)
    if native.LGBM_BoosterGetLoadedParam(booster, room, *asked) or native.LGBM_BoosterDumpModel(
        booster, 0, -1, 0, room, *asked
    ):
        return False
    classes, columns = ctypes.c_int(), ctypes.c_int()
    native.LGBM_BoosterGetNumClasses(booster, ctypes.byref(classes))
    native.LGBM_BoosterGetNumFeature(booster, ctypes.byref(columns))
    row, found = ((ctypes.c_double * max(1, min(each.value, 2**24)))() for each in (columns, classes))
    row_type, rows, is_row_major, normal, start, whole = 1, 1, 1, 0, 0, -1
    facts = (row_type, rows, len(row), is_row_major, normal, start, whole)
    return not native.LGBM_BoosterPredictForMat(booster, row, *facts, b"", ctypes.byref(length), found)


def _catboost(file: bytes) -> bool:
    import catboost  # noqa: PLC0415  an extra

    model = catboost.CatBoost()
    try:
        model.load_model(file.decode())
        if not model.get_cat_feature_indices() and not model.get_text_feature_indices():
            model.predict([[0.0] * len(model.feature_names_)])
    except Exception:  # noqa: BLE001  it refuses the file, whichever way
        return False
    return True


def main(shared: str, library: str, file: str) -> int:
    """Read the file with the library; 0 if it could."""
    most = _MOST_BYTES + _TIMES * Path(file).stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if library == "catboost":
        return int(not _catboost(file.encode()))
    return int(not {"xgboost": _xgboost, "lightgbm": _lightgbm}[library](ctypes.CDLL(shared), file.encode()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
