"""The error of eps that a trained network reaches on data that we know, at the levels of `check`.

Digits: a network `small` that saw 100,000 images of mnist, on 1,024 test images that it did not see. Clothes: two such
networks of fashion-mnist (`git show 8d79f8d:reports/published/noise_levels-fashion`, log-normal(-0.507, 1.2)).
"""

DIGITS = (0.000732, 0.00312, 0.0107, 0.0228, 0.0369, 0.0549, 0.0814, 0.116, 0.154, 0.211)
CLOTHES = (0.000659, 0.0024, 0.00691, 0.0177, 0.0444, 0.0919, 0.157, 0.233, 0.326, 0.449)
ERRORS = {"mnist5k": DIGITS, "mnist": DIGITS, "fashion-mnist": CLOTHES}  # from sigma 30 to 0.03, geometric
