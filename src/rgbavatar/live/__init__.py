"""A camera as a stream that is trained on while it runs: tracked, cut out, recorded.

Words. *Taken*: the moment a picture was there, in seconds of time.perf_counter. *Missed*: a picture that came while the one
before was still worked on. *Lost*: a picture without a face, or whose face cannot be used. *Settled*: who the person is and
what the lens does is held from then on (rgbavatar.track.stream); frames before that are held back. *Crop*: the square of the
pictures that is trained on. *Small* pictures show the crop in few pixels; heads are cut out of these.
"""
