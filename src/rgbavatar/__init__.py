"""RGBAvatar: head avatars of 3D Gaussians with reduced blendshapes."""

__version__ = "0.1.0"
