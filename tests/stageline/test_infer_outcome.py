"""What `stageline infer` keeps of a bulk run, and where it writes outputs."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stageline.commands.conduct import Report
from stageline.commands.infer_outcome import Outcome, shortened
from stageline.receipts import Answer, Receipt, RequestFailedError, Result


def answered(index: int) -> Result:
    receipt = Receipt(
        request=f"q-{index}", deployment="d", generation=1, route="r0: a[0:1)", attempts=1, latency_ms=1.0, held_ms=0.0,
        stages=(),
    )  # fmt: skip
    return Result(index, "x.npy", Answer(f"q-{index}", {"y": np.arange(4.0)}, receipt), None)


async def test_outputs_are_not_kept_once_their_row_is_written() -> None:
    outcome = Outcome("d", top=1, save=None)
    result = answered(0)
    assert result.answer is not None
    outputs = weakref.ref(result.answer.outputs["y"])
    await outcome.add(Path("x.npy"), result)
    await outcome.add(Path("y.npy"), Result(1, "y.npy", None, RequestFailedError("late", "no answer")))
    receipt = result.answer.receipt
    del result
    gc.collect()
    assert outputs() is None
    assert outcome.receipts == [receipt, None]
    # Four numbers without labels, no distribution: what came back is said, not a class.
    assert [row.get("outputs") for row in outcome.rows] == [{"y": "float64[4]"}, None]
    assert not any({"label", "probability", "top"} & row.keys() for row in outcome.rows)
    report = Report(None)
    with report.out.capture() as shown:
        outcome.show(report, receipts=False)
    assert "y float64[4]" in shown.get()
    assert "class" not in shown.get()


async def test_outputs_are_saved_off_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = []
    savez = np.savez

    def spy(*arguments: Any, **options: Any) -> None:
        writers.append(threading.current_thread())
        savez(*arguments, **options)

    monkeypatch.setattr(np, "savez", spy)
    outcome = Outcome("d", top=1, save=tmp_path / "out")
    await outcome.add(Path("x.npy"), answered(7))
    assert len(writers) == 1
    assert threading.current_thread() not in writers
    with np.load(outcome.rows[0]["saved"]) as saved:
        assert saved["y"].tolist() == [0.0, 1.0, 2.0, 3.0]


async def test_what_failed_is_told_in_lines_of_its_own_and_long_paths_are_shortened() -> None:
    folder = Path("/srv/pictures/of/the/back/door")
    broken = folder / "night" / "broken.jpg"
    outcome = Outcome("d", top=1, save=None)
    await outcome.add(folder / "x.npy", answered(0))
    await outcome.add(broken, Result(1, str(broken), None, RequestFailedError("bad-input", f"{broken} cannot be read")))
    report = Report(None)
    with report.out.capture() as shown:
        outcome.show(report, receipts=False)
    lines = shown.get().splitlines()
    assert lines[0] == f"in {folder}"
    [failed] = [line for line in lines if "cannot be read" in line]
    assert failed.startswith("failed: ")
    assert "night/broken.jpg" in failed
    assert shown.get().count(str(folder)) == 1
    assert outcome.document()["results"][1]["file"] == str(broken)


@pytest.mark.parametrize(
    ("files", "folder", "names"),
    [
        ([], "", []),
        (["cat.jpg", "holiday/1.jpg"], "", ["cat.jpg", "holiday/1.jpg"]),
        (["/a/folder/of/pictures/1.jpg"], "/a/folder/of/pictures", ["1.jpg"]),
        (
            ["/a/rather/long/folder/x/1.jpg", "/a/rather/long/folder/y/1.jpg"],
            "/a/rather/long/folder",
            ["x/1.jpg", "y/1.jpg"],
        ),
        (["/one/long/folder/of/it/1.jpg", "/other/1.jpg"], "", ["/one/long/folder/of/it/1.jpg", "/other/1.jpg"]),
        (["/one/long/folder/of/it/1.jpg", "1.jpg"], "", ["/one/long/folder/of/it/1.jpg", "1.jpg"]),
    ],
)
def test_files_are_named_from_the_folder_that_they_share(files: list[str], folder: str, names: list[str]) -> None:
    assert shortened(files) == (folder, names)
