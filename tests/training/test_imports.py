"""What a start of training loads: seconds go by with packages that nothing in it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDLESS = (
    "torch._dynamo",
    "torch._inductor",
    "sympy",
    "scipy",
    "tensorboard",
    "lpips",
    "torchvision",
    "imageio",
    "skimage",
)

TRAINING = f"""
import sys
from pathlib import Path
import torch
given = set(sys.modules)
import rgbavatar.training.job
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.offline import train_offline
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer
dataset, config, run = tiny_dataset(), tiny_config(images=16, bases_after=4), RunDir(Path(sys.argv[1]))
train_offline(tiny_trainer(config, dataset), dataset, run, NullLog(), CPU)
tiny_trainer(config, dataset).restore(load_checkpoint(run.checkpoint))
print(*(name for name in {NEEDLESS} if name in sys.modules and name not in given))
"""


def test_training_and_resuming_load_nothing_that_they_do_not_use(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    command = [sys.executable, "-c", TRAINING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
