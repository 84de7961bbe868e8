"""Theory without torch: moments of activations, mean field, finite width, normalisation.

Each module stands alone; import what is needed, as in
``from gradfuga.theory.moments import operating_slope``.
"""
