"""From a tracker's raw output to a subject that training reads: masks to alpha, head cut out, pictures resized."""
