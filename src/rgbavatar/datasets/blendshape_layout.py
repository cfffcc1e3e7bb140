"""The layout `blendshape`: `images/%05d.png` and `parameters/%05d.npz`, for heads tracked with a blendshape template.

Coefficients mean nothing without their template, and those of one kind pass for those of another unnoticed. So this layout is
read with a blendshape template alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rgbavatar.datasets.base import Split
from rgbavatar.datasets.frame_layout import FrameFileLayout
from rgbavatar.datasets.images import ImageFile
from rgbavatar.datasets.parameter_file import has_parameters, read_parameter_file
from rgbavatar.datasets.tracking import FrameListing, Tracking
from rgbavatar.errors import DataError
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.templates.blendshape import BlendshapeTemplate


@dataclass(frozen=True)
class BlendshapeLayout(FrameFileLayout):
    """See the module's head."""

    def list_frames(self, folder: Path) -> FrameListing:
        return _BlendshapeListing(super().list_frames(folder), folder)

    def list_tracking(self, folder: Path) -> FrameListing:
        return _BlendshapeListing(super().list_tracking(folder), folder)


@dataclass(frozen=True)
class _BlendshapeListing:
    """A listing that is read with a blendshape template alone. folder: the subject's, for messages."""

    listing: FrameListing
    folder: Path

    @property
    def numbers(self) -> list[int]:
        return self.listing.numbers

    @property
    def images(self) -> Sequence[ImageFile]:
        return self.listing.images

    @property
    def splits(self) -> Sequence[Split] | None:
        return self.listing.splits

    def read(self, template: HeadTemplate, size: tuple[int, int] | None) -> Tracking:
        check_template(self.folder, template)
        return self.listing.read(template, size)


def check_template(folder: Path, template: HeadTemplate) -> None:
    """Raise DataError unless a folder of this layout can be read with a template."""
    if not isinstance(template, BlendshapeTemplate):
        raise DataError(
            f"{folder / BLENDSHAPE.folder}: holds coefficients of a blendshape template, but the template is of another kind: "
            f"expected the .npz that it was tracked with in template.path"
        )


BLENDSHAPE = BlendshapeLayout("blendshape", "parameters", ".npz", read_parameter_file, has_parameters)
