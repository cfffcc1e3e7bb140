"""Is a subject fit to train on? The tracked mesh is drawn over the images, and what does not fit is named.

Words. *Frame*: one image with what was tracked in it. *Mask*: the image's alpha, above one half. *Silhouette*: the pixels that
the posed mesh covers. *Overlap*: intersection over union of the two. *Inside*: the share of the silhouette that the mask
holds; it stays near 1 for a good subject, while the mask may hold hair, neck and shoulders that the mesh has not.
*Steadiness*: how much of the colours' variation is explained by the point of the mesh that they were seen at; a mesh that
follows the head sees one colour at each of its points over time. *Convention*: how numbers are meant, such as axes or units.
"""
