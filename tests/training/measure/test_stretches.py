"""Stretches: a decision for every second of a signal."""

from __future__ import annotations

import numpy as np

from otolith_training.measure.stretches import decide_stretches


def posteriors(*labels: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.eye(3, dtype=np.float32)[list(labels)] * np.float32(0.97) + np.float32(0.01)


def test_each_whole_stretch_gets_the_label_that_most_of_its_frames_tell() -> None:
    assert decide_stretches(posteriors(0, 0, 1, 1, 1, 0, 2, 2), hop=10, length=30) == [0, 1]  # two frames are left over


def test_a_frame_belongs_to_the_stretch_in_which_it_ends() -> None:
    assert decide_stretches(posteriors(0, 0, 1, 1, 1), hop=10, length=25) == [0, 1]


def test_the_last_stretch_may_lack_what_filled_no_frame() -> None:
    assert decide_stretches(posteriors(0, 0, 0, 1, 1), hop=10, length=29) == [0, 1]
    assert decide_stretches(posteriors(0, 0, 0, 1), hop=10, length=29) == [0]


def test_what_is_shorter_than_a_stretch_is_decided_as_one() -> None:
    assert decide_stretches(posteriors(2, 1, 1), hop=10, length=1000) == [1]


def test_one_frame_that_is_sure_of_itself_does_not_outvote_all_others() -> None:
    told = np.array([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.0, 1.0]], np.float32)
    sure = np.concatenate([told, np.tile(told[:1], (200, 1))])
    assert decide_stretches(sure, hop=1, length=len(sure)) == [0]
