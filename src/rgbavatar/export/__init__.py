"""Avatars as files for others: posed splats for any splat viewer, and a compact bundle. `python -m rgbavatar.export --help`."""
