"""Refined tracking through the scripts: trained, gone on with, measured, and refused for a stream."""

from __future__ import annotations

import json

from rgbavatar.io.checkpoint import load_checkpoint
from tests.scripts.conftest import FRAMES, TEST_FRAMES, Script, Workspace

REFINED = ("training.refine_tracking=true", "refinement.after=8", "refinement.focal=0.01")


def test_a_refined_run_goes_on_and_is_measured_as_it_was_trained(script: Script, workspace: Workspace) -> None:
    first = script("train_offline", *workspace.training(*REFINED))
    assert first.code == 0, first.err
    assert "tracking refined: turns of" in first.out + first.err
    longer = script("train_offline", *workspace.common, "--resume", "--set", "training.images=48")
    assert longer.code == 0, longer.err
    checkpoint = load_checkpoint(workspace.run / "checkpoint.pt")
    assert checkpoint.images_seen == 48
    assert checkpoint.model["tracking.turns"].shape == (FRAMES - TEST_FRAMES, 3)
    assert bool(checkpoint.model["tracking.turns"].any())

    measured = script("calculate_metrics", *workspace.common)
    assert measured.code == 0, measured.err
    for split, expected in (("train", FRAMES - TEST_FRAMES), ("test", 0)):
        protocol = json.loads((workspace.run / "metrics" / split / "metrics.json").read_text())["protocol"]
        assert protocol["frames_refined"] == expected


def test_a_refined_run_does_not_go_on_without(script: Script, workspace: Workspace) -> None:
    assert script("train_offline", *workspace.training(*REFINED)).code == 0
    overrides = ("--set", "training.refine_tracking=false", "--set", "training.images=48")
    ended = script("train_offline", *workspace.common, "--resume", *overrides)
    assert ended.code == 2
    assert "training.refine_tracking=true" in ended.error_line


def test_a_stream_is_refused(script: Script, workspace: Workspace) -> None:
    ended = script("train_online", *workspace.training(*REFINED))
    assert ended.code == 2
    assert "training.refine_tracking is true" in ended.error_line
    assert not workspace.run.exists()
