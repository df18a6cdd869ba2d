# %% [markdown]
# # Fractionate a spheroid
#
# EMT6/Ro spheroids are simulated cell by cell, so one protocol gives another number of survivors
# each time. Ten gray are given in two, three or five fractions, with other pauses.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from oncogym.envs.emt6ro_fractionation import Protocol, library, simulate

# %% [markdown]
# A protocol is a list of hours and doses [Gy]. `fidelity="screening"` runs cell clocks forty
# times as fast as the fields: right for a search, not for a result; `"exact"` is the source's
# law.

# %%
protocols = [
    Protocol.from_times([(0.0, 5.0), (24.0, 5.0)], "2 x 5 Gy, a day apart"),
    Protocol.from_times([(24.0 * k, 10.0 / 3.0) for k in range(3)], "3 x 3.3 Gy, daily"),
    Protocol.from_times([(24.0 * k, 2.0) for k in range(5)], "5 x 2 Gy, daily"),
    Protocol.from_times([(12.0 * k, 2.0) for k in range(5)], "5 x 2 Gy, twice a day"),
]
tumours = library()[:2]
found = simulate(protocols, tumours, runs=4, seed=0, fidelity="screening", record="hourly")

# %%
sites = pd.DataFrame(
    {
        "mean sites after ten days": found.sites.mean(axis=(1, 2)),
        "standard error": found.sites.std(axis=(1, 2), ddof=1) / found.sites[0].size ** 0.5,
    },
    index=[protocol.name for protocol in protocols],
)
sites.round(1)

# %%
figure, axes = plt.subplots(figsize=(8, 4))
for protocol, courses in zip(found.protocols, found.courses[..., 0], strict=True):
    axes.plot(found.hours / 24.0, courses.mean(axis=(0, 1)), label=protocol.name)
axes.set(xlabel="day", ylabel="occupied sites, mean of eight runs")
axes.legend()
figure

# %% [markdown]
# ## How long to wait?
#
# Two fractions of 5 Gy, and the pause between them. With `paired=True` every protocol meets the
# same random numbers, which makes differences smaller to see.

# %%
pauses = [6.0, 12.0, 24.0, 48.0]
pairs = [Protocol.from_times([(0.0, 5.0), (pause, 5.0)], f"{pause:g} h") for pause in pauses]
waited = simulate(pairs, tumours, runs=4, seed=1, fidelity="screening", paired=True)
figure, axes = plt.subplots(figsize=(7, 3))
axes.plot(pauses, waited.sites.mean(axis=(1, 2)), marker="o")
axes.set(xlabel="pause [h]", ylabel="occupied sites after ten days")
figure

# %% [markdown]
# `oncogym optimize EMT6RoFractionationPublished-v0 --method ga` searches all schedules, and
# `oncogym reproduce emt6ro` holds the model against the source's tables.
