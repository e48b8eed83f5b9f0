"""Images of your own, from arrays: python my_images.py; then --data npz:my_images.npz. Files need only folder:PATH."""

import numpy as np

rng = np.random.default_rng(0)
y, x = np.mgrid[:32, :32]
centres = rng.uniform(8, 24, (600, 2, 1, 1))
radii = rng.uniform(3, 8, (600, 1, 1))
discs = (y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2 < radii**2
np.savez("my_images.npz", images=(255 * discs).astype(np.uint8))  # uint8 (n, H, W) or (n, H, W, 3)
