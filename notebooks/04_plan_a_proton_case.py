# %% [markdown]
# # Plan a proton case
#
# A C-shaped target around an organ, four beams, and two plans: one for the patient as imaged, one
# for seven scenarios of set-up and range errors.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from oncogym.envs.impt_beam_weighting import (
    BeamSet,
    dose_statistics,
    pencil_beams,
    phantom,
    plan,
    plot_dvh,
    scenarios,
)

# %%
body = phantom("c_shape")
beams = BeamSet.for_target(body, angles=(0, 45, 90, 135))
errors = scenarios(shift=0.3, range_error=0.03)  # 3 mm and 3 %
influences = [pencil_beams(body, beams, one) for one in errors]
print(f"{len(errors)} scenarios of {influences[0].num_spots} spots")

# %% [markdown]
# The plan for the imaged patient minimises the standard penalties; the robust one the worst of
# seven.

# %%
nominal = plan(influences[0])
robust = plan(influences, robust="worst")
for name, one in (("nominal", nominal), ("robust", robust)):
    print(f"{name:8} {len(one.history)} iterations, {one.seconds:.1f} s, {one.message}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for axis, (name, one) in zip(axes, (("nominal", nominal), ("robust", robust)), strict=True):
    image = axis.imshow(one.dose.reshape(body.shape).T, origin="lower", cmap="magma")
    axis.set_title(name)
    axis.set_axis_off()
figure.colorbar(image, ax=axes, label="dose [Gy]")
figure

# %%
plot_dvh({"nominal": nominal.dose, "robust": robust.dose}, body)

# %% [markdown]
# ## When the patient lies otherwise
#
# The dose to 95 % of the target in each scenario: the nominal plan loses it where the errors push
# the peak out of the target.

# %%
rows = []
for scenario, influence in zip(errors, influences, strict=True):
    row = {"shift [cm]": scenario.shift, "depths times": scenario.range_factor}
    for name, one in (("nominal", nominal), ("robust", robust)):
        row[f"D95 {name} [Gy]"] = dose_statistics(influence.dose(one.weights), body)["PTV"]["D95"]
    rows.append(row)
pd.DataFrame(rows).round(2)

# %% [markdown]
# `oncogym/IMPTBeamWeighting-v0` goes on from here: thirty fractions, errors that nobody is told,
# and a library of such plans to choose from each day.
