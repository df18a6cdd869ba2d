"""Reference values of the proton plans, none of them the source's own unless stated.

They were computed for this project by an independent prototype of the same models, in NumPy and
SciPy, before the planning core here was written.
"""

from __future__ import annotations

from typing import Any

#: What the source prints: cost, target D95 and mean dose, largest dose of either organ [Gy].
PRINTED = {"J": 2323.2067, "D95": 46.7, "mean": 58.7, "OAR1": 5.3, "OAR2": 0.0}

#: Voxels of target and organs on three grids: cell centres at half steps, at whole steps, and 80
#: points from one edge to the other.
VOXELS = {"centre": (80, 64, 52), "corner": (73, 81, 49), "edge": (76, 64, 50)}

#: What the tables of fits hold: cost, target D95 and mean, largest dose of either organ and
#: anywhere [Gy], the three parts of the cost.
FIT_COLUMNS = (
    "J",
    "D95",
    "mean",
    "OAR1",
    "OAR2",
    "max",
    "target_term",
    "normal_term",
    "ridge_term",
)


def _comb(count: int, step: float) -> tuple[float, ...]:
    return tuple(step * (n - 0.5 * (count - 1)) for n in range(count))


#: Fits of the source's model: changes of the settings of ``PublishedModel`` (fit A), and the
#: values of ``FIT_COLUMNS``.
FITS: dict[str, tuple[str, dict[str, Any], tuple[float, ...]]] = {
    "fit_a": ("fit A", {}, (
        2324.4375, 46.6831, 58.8241, 5.2960, 0.0, 67.3723, 513.2339, 1.1216, 1810.0820)),
    "fit_b": ("fit B", {"sigma_depth": 1.166, "sigma_lateral": 0.7583, "ridge": 0.0538}, (
        2322.8537, 46.7126, 58.7830, 5.3005, 0.0, 76.2319, 1163.5298, 628.0124, 531.3115)),
}  # fmt: skip
#: Normal tissue of fit B: weight of the squared excess of each voxel, not of their mean.
FIT_B_NORMAL = 0.21903

#: Why 60 Gy is missed: one change of fit A after the other, as in :data:`FITS`.
ABLATION: dict[str, tuple[str, dict[str, Any], tuple[float, ...]]] = {
    "ridge_0.05": ("ridge 0.05", {"ridge": 0.05}, (
        1351.7655, 49.7492, 59.6982, 5.7820, 0.0, 69.5422, 332.0805, 1.8621, 1017.8229)),
    "ridge_1e-4": ("ridge 1e-4", {"ridge": 1e-4}, (
        130.1230, 55.7734, 61.3974, 6.3655, 0.0, 89.7027, 115.2971, 10.9781, 3.8478)),
    "no_normal": ("ridge 1e-4, no normal tissue", {"ridge": 1e-4, "normal_weight": 0.0}, (
        106.4433, 56.8481, 61.2467, 7.8138, 0.0, 234.7713, 92.5109, 0.0, 13.9324)),
    "aim_66": ("ridge 1e-4, aim 66", {"ridge": 1e-4, "prescription": 66.0}, (
        159.6873, 61.3306, 67.5391, 6.7393, 0.0, 97.8302, 362.7283, 14.9093, 4.5759)),
    "spots_5": ("ridge 1e-4, 5 spots 1 cm", {"ridge": 1e-4, "lateral": _comb(5, 1.0)}, (
        6.3000, 59.7815, 60.1860, 2.6673, 0.0, 60.9543, 1.1779, 4.2255, 0.8966)),
    "spots_7": ("ridge 1e-4, 7 spots 1 cm", {"ridge": 1e-4, "lateral": _comb(7, 1.0)}, (
        6.1697, 59.7669, 60.1792, 2.6200, 0.0004, 61.1926, 1.0905, 4.2913, 0.7879)),
    "spots_7_aim_61": ("ridge 1e-4, 7 spots, aim 61",
                       {"ridge": 1e-4, "lateral": _comb(7, 1.0), "prescription": 61.0}, (
        6.5810, 60.7608, 61.1817, 2.6856, 0.0, 62.1593, 7.6908, 4.6175, 0.8293)),
    "spots_9_aim_61": ("ridge 1e-4, 9 spots 0.75 cm, aim 61",
                       {"ridge": 1e-4, "lateral": _comb(9, 0.75), "prescription": 61.0}, (
        6.2627, 60.7304, 61.1778, 2.9936, 0.0, 62.0611, 7.6262, 4.3850, 0.7837)),
    "spots_7_ridge": ("7 spots, ridge as in fit A", {"lateral": _comb(7, 1.0)}, (
        399.5717, 57.5202, 60.1166, 2.4657, 0.0, 62.9536, 25.2483, 3.0198, 371.3036)),
}  # fmt: skip

#: Pencil beams by energy [MeV]: range, depth of the peak [cm], peak over entrance dose, distal
#: depth of 80 %, distance from there to 20 % [cm], lateral sigma from scatter at the range [cm].
BRAGG = {
    70.0: (4.0574, 4.0, 3.5474, 4.05, 0.1, 0.1031),
    100.0: (7.6282, 7.5, 3.3990, 7.6, 0.2, 0.1816),
    130.0: (12.1368, 11.9, 3.1926, 12.1, 0.35, 0.2752),
    160.0: (17.5273, 17.2, 2.9693, 17.5, 0.45, 0.3826),
    180.0: (21.5901, 21.2, 2.8198, 21.55, 0.6, 0.4611),
    200.0: (26.0163, 25.55, 2.6730, 26.0, 0.7, 0.5450),
    230.0: (33.3182, 32.7, 2.4639, 33.3, 0.9, 0.6803),
}

#: Equal weights of 312 spots on the source's phantom: doses [Gy], indices, volumes [%].
EQUAL = {
    "D98": 38.28465, "D95": 40.17063, "D50": 61.32624, "D2": 76.01238, "mean": 60.0,
    "min": 36.30383, "max": 76.52987, "HI": 0.6152, "CI": 0.42808, "V95": 62.5, "V107": 38.75,
    "OAR1_max": 14.79447, "OAR1_mean": 14.33459, "OAR2_max": 0.0, "OAR2_mean": 0.0,
    "normal_mean": 3.95205, "normal_max": 75.02102, "worst_D95": 27.60529, "worst_D98": 25.37634,
    "worst_OAR1": 14.91481,
}  # fmt: skip

#: Optimised plans of the same spots: D95, D2, mean, CI, largest dose of OAR1, mean of normal
#: tissue, smallest D95 of seven scenarios.
PLAN_COLUMNS = ("D95", "D2", "mean", "CI", "OAR1_max", "normal_mean", "worst_D95")
PLANS = {
    "layers": (59.67759, 61.03835, 60.14935, 0.88889, 17.93324, 3.77049, 47.67791),
    "sfud": (59.76815, 60.89661, 60.08326, 0.97561, 10.26182, 3.26134, 46.59535),
    "impt_60": (59.91408, 60.52163, 60.05050, 0.98765, 22.32837, 3.20255, 44.79249),
    "impt_61": (60.91507, 61.51446, 61.04282, 0.96386, 22.73801, 3.27984, 45.35838),
    "robust_mean": (61.41399, 62.86805, 61.87501, 0.73394, 8.57780, 3.62351, 60.12371),
}
