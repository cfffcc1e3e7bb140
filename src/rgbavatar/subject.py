"""Loading what a configuration names: the head template, and a subject posed with it."""

from __future__ import annotations

from pathlib import Path

import torch
from tqdm import tqdm

from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.insta import load_insta
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.templates.flame import load_flame


def load_template(config: Config) -> HeadTemplate:
    """The template at template.path. Raises TemplateError."""
    return load_flame(Path(config.template.path), mouth_interior=config.template.mouth_interior)


def load_subject(
    config: Config,
    subject: str,
    split: Split,
    device: torch.device,
    preload: bool,
    template: HeadTemplate | None = None,
) -> HeadDataset:
    """One split of a subject below dataset.data_dir, its images in memory with preload. Raises DataError, TemplateError."""
    folder = Path(config.dataset.data_dir) / subject
    template = template or load_template(config)
    with tqdm(unit="image", desc="load", leave=False, disable=not preload) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return load_insta(
            folder,
            template,
            preload=preload,
            pin_memory=device.type != "cpu",
            split=split,
            test_frames=config.dataset.test_frames,
            progress=progress,
        )
