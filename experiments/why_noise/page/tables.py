"""The tables that `why_noise` writes besides the usual ones, with their columns: for its writers and its page."""

from reports.schema import Column

HALF_LEFT, EXACT_ABOVE = "exact above − 0.5 everywhere", "exact above − noise below"  # claims
HELD_OUT = "held-out images"  # an arm of copies.csv

TABLES = {
    "probes.csv": ("arm", "train_seed", "images_seen", "probe", "eta", "sigma", "value", "se", "n_samples", "n_steps"),
    "ratios.csv": tuple("probe images_seen eta sigma value low high level interval n_networks".split()),
    "gains.csv": (
        *"part arm kind band_low band_high dose images_seen size n_steps fresh_start setting metric".split(),
        *"train_seed n_networks value_0 value difference se low high interval holds_for clear detectable".split(),
        *("level", "n_samples"),
    ),
    "copies.csv": ("arm", "setting", "train_seed", "copies", "near_copies", "n_samples"),
}
COLUMNS = {
    "dose": Column("share of the error", least=0, most=1),
    "size": Column("size of the change"),
    "fresh_start": Column("starts from data", kind="flag"),
    "copies": Column("share of copies", digits=3, least=0, most=1),
    "near_copies": Column("share of near copies", digits=3, least=0, most=1),
    "value_0": Column("value without noise"),
}
