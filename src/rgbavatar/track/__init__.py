"""From a video of a head to a subject: landmarks, a blendshape template fitted to them, masks, and the files that training reads.

Words. *Landmark*: a point of the face that MediaPipe's network finds in a picture; there are 478. *Score*: what it says of one
of 52 expressions, 0 to 1. *Correspondence*: the point of the template's mesh that a landmark is of. *Lost* frame: one without a
face, or whose face the template could not be fitted to. *Cut*: where a video jumps to another shot. *Eye distance*: between the
outer corners of the eyes, in pixels, in depth too; errors are told in percent of it.
"""
