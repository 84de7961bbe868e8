"""The worked examples of the repair: broken scripts, what `gradfuga repair` makes of them."""
