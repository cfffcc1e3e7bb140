"""A finished avatar driven by a camera.

Words. *Own*: the avatar's. *Neutral* or *at rest*: a face that does nothing; what is carried over is each side's change from
its own. *Film*: a video of what the avatar does.
"""
