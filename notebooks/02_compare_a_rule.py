# %% [markdown]
# # Your own chemotherapy rule, compared
#
# A rule that a clinician could say in a sentence, against schedules and rules of the suite, on
# the same patients with the same measurement noise.

# %%
import matplotlib.pyplot as plt
import numpy as np

from oncogym.agents import clinical_agent
from oncogym.agents.clinical import RuleAgent
from oncogym.envs.protocols import Rule
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import evaluate_problem, resolve

# %% [markdown]
# Observations come one row a patient. Number 2 is the measured toxicity relative to its limit.
# The rule gives a dose, and a third of it while toxicity is above a level.


# %%
def decide(task, observation, dose=0.07, level=0.8):
    """A full dose below the level, a third above."""
    high = observation[:, 2:3] > level
    return np.where(high, dose / 3.0, dose)


rule = Rule("A third above the level", decide, settings={"dose": 0.07, "level": 0.8})

# %% [markdown]
# ## Choose its numbers
#
# On patients of the cohort `validation`, which nothing is reported on. Among the pairs that cost
# no more than the clinic's protocol, the highest mean return.

# %%
validation = resolve("oncogym/ChemoDosingCohort-v0", patients=64, cohort="validation")
task = validation.task(1)
grid = {
    f"{dose:.2f} {level:.1f}": RuleAgent(rule.with_settings(dose=dose, level=level), task)
    for dose in (0.05, 0.07, 0.09)
    for level in (0.4, 0.6, 0.8)
}
grid["clinic"] = clinical_agent(validation.treatment, task, validation.variant.baseline)
means = evaluate_problem(validation, grid).groupby("agent")[["return", "success", "cost"]].mean()
means.sort_values("return", ascending=False).round(3)

# %%
allowed = means[means["cost"] <= means.loc["clinic", "cost"]].drop(index="clinic")
dose, level = map(float, allowed["return"].idxmax().split())
print(f"chosen: {10 * dose:.1f} mg/L, a third above {level:.0%} of the toxicity limit")

# %% [markdown]
# ## Compare it
#
# On patients of the cohort `held_out`. A comparison has means with 95 % intervals, scores from
# the clinic's protocol (0) to a reference (1), and differences patient by patient.

# %%
problem = resolve("oncogym/ChemoDosingCohort-v0", patients=100)
task = problem.task(1)
agents = {
    name: clinical_agent(problem.treatment, task, name)
    for name in (problem.variant.baseline, "daily", "pacing")
}
agents["mine"] = RuleAgent(rule.with_settings(dose=dose, level=level), task)
comparison = Comparison.run(problem, agents, baseline=problem.variant.baseline, reference="pacing")
comparison.score_table()

# %%
wide = comparison.results.pivot_table(index="patient", columns="agent", values="return")
figure, axes = plt.subplots(figsize=(6, 4))
axes.scatter(wide["pacing"], wide["mine"], s=14)
ends = [wide.min().min(), wide.max().max()]
axes.plot(ends, ends, color="grey", linewidth=1)
axes.set(xlabel="return of pacing", ylabel="return of mine", title="A dot a patient")
figure

# %% [markdown]
# `oncogym evaluate … --out results/mine` makes the same comparison with a report, and the page
# *How to* says how to give a rule to others.
