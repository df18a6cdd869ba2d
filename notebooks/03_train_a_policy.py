# %% [markdown]
# # Train a policy and look at what it does
#
# PPO on the chemotherapy cohort, briefly; a run that one would report is longer and has five
# seeds. Needs `pip install "oncogym[train]"`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from oncogym.agents import clinical_agent, pretrained
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.report.courses import Courses
from oncogym.training.runs import train

# %%
ENV = "oncogym/ChemoDosingCohort-v0"
folder = Path(tempfile.mkdtemp()) / "run"
run = train(
    ENV, "ppo", out=folder, steps=96_000, lanes=128, seed=0, hyperparameters={"batch_size": 768}
)
print(f"{run.steps} decisions in {run.seconds:.0f} s, best return {run.best_return:.2f}")

# %% [markdown]
# A run folder has the settings, checkpoints, TensorBoard scalars and `progress.csv`; the policy
# that was best on the validation patients lies in `policy`.

# %%
progress = pd.read_csv(folder / "progress.csv")
progress = progress.dropna(subset="eval/return")
progress[[name for name in progress if name == "steps" or name.startswith("eval/")]].tail(3)

# %%
figure, axes = plt.subplots(figsize=(7, 3))
axes.plot(progress["steps"], progress["eval/return"], marker="o")
axes.set(xlabel="decisions", ylabel="mean return on validation patients")
figure

# %% [markdown]
# Against the rule that paces the dose by the measured toxicity, and the policy that comes with
# the suite, on held-out patients:

# %%
problem = resolve(ENV, patients=100)
task = problem.task(1)
agents = {
    "daily": clinical_agent(problem.treatment, task, "daily"),
    "pacing": clinical_agent(problem.treatment, task, "pacing"),
    "trained here": run.agent(),
    "pretrained": pretrained(ENV, "ppo"),
}
table = evaluate_problem(problem, agents)
table.groupby("agent")[["return", "success", "cost"]].mean().round(3)

# %% [markdown]
# ## What it does
#
# Doses and toxicity of two patients under the rule and the new policy.

# %%
courses = Courses.record(problem, {name: agents[name] for name in ("pacing", "trained here")}, 2)
figure, axes = plt.subplots(2, 2, figsize=(9, 5), sharex=True, layout="constrained")
for patient in range(2):
    for name, traces in courses.of(patient).items():
        named = {trace.name: trace for trace in traces}
        dose, toxicity = named["dose"], named["toxicity"]
        axes[0, patient].step(dose.time, dose.values, where="post", label=name)
        axes[1, patient].plot(toxicity.time, toxicity.values, label=name)
    axes[1, patient].axhline(toxicity.limit, color="grey", linestyle=":")
    axes[0, patient].set(title=f"patient {patient}", ylabel=dose.label)
    axes[1, patient].set(xlabel=toxicity.time_label, ylabel=toxicity.label)
axes[0, 0].legend()
figure
