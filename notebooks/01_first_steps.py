# %% [markdown]
# # First steps
#
# One patient, one course of chemotherapy, decision by decision; then some hundred patients at
# once.

# %%
import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import oncogym  # noqa: F401, registers the environments

# %% [markdown]
# An environment is a Gymnasium environment. An action of `ChemoDosing-v0` is the dose of a day as
# a fraction of the largest one, 10 mg/L; 0.05 is 0.5 mg/L.

# %%
env = gym.make("oncogym/ChemoDosing-v0", render_mode="rgb_array")
observation, info = env.reset(seed=0)
print("observation", observation)
print("action space", env.action_space)

# %%
rewards, done = [], False
while not done:
    observation, reward, terminated, truncated, info = env.step([0.05])
    rewards.append(reward)
    done = terminated or truncated
print(f"{len(rewards)} decisions, return {sum(rewards):.2f}")

# %% [markdown]
# What a clinic asks for stands in `info["outcome"]`, what exceeded a limit in `info["cost"]`, and
# the parts of the reward in `info["reward_terms"]`.

# %%
for name, value in info["outcome"].items():
    print(f"{name:24} {value:10.3f}")
print("success:", info["is_success"])

# %%
figure, axes = plt.subplots(figsize=(7, 5.3))
axes.imshow(env.render())
axes.set_axis_off()
figure

# %% [markdown]
# `gym.make_vec` treats many patients in one compiled call. Each patient of the cohort eliminates
# the drug at another rate and reacts to it otherwise; nobody is told how.

# %%
lanes = gym.make_vec("oncogym/ChemoDosingCohort-v0", num_envs=256)
lanes.reset(seed=0)
returns = np.zeros(256)
for _ in range(60):
    observation, reward, terminated, truncated, info = lanes.step(np.full((256, 1), 0.05))
    returns += reward
print(f"return of 0.5 mg/L a day: from {returns.min():.1f} to {returns.max():.1f}")

# %%
figure, axes = plt.subplots(figsize=(7, 3))
axes.hist(returns, bins=30)
axes.set(xlabel="return", ylabel="patients", title="The same dose in 256 patients")
figure
