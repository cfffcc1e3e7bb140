"""An avatar in a browser, rendered here: after its training, or beside it."""
