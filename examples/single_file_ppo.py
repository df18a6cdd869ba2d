"""Single file: PPO from the networks to the update, on native lanes.

Needs PyTorch and nothing else. The lanes advance in one compiled call, so that data cost little
beside the updates. Finished lanes are reset within the same step; only the last observation of a
truncated episode is bootstrapped.

    python examples/single_file_ppo.py --steps 300000
"""

import argparse
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

import oncogym  # noqa: F401  (registers the environments)
from oncogym.evaluation.harness import evaluate

LANES = 128
ROLLOUT = 30  # decisions of a lane between updates: half a course
EPOCHS = 5
MINIBATCH = 960
LEARNING_RATE = 2e-3
GAMMA = 1.0  # courses are finite
LAMBDA = 0.98
CLIP = 0.2


class Agent(nn.Module):
    """Actor and critic with the running mean and variance of the observations."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.actor = self._network(inputs, outputs, last=0.01)
        self.critic = self._network(inputs, 1, last=1.0)
        self.log_std = nn.Parameter(torch.full((outputs,), -2.5))
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("variance", torch.ones(inputs))
        self.seen = 1e-4

    @staticmethod
    def _network(inputs: int, outputs: int, last: float) -> nn.Sequential:
        layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
        for layer, gain in zip(layers, (2**0.5, 2**0.5, last), strict=True):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])

    def observe(self, observation: np.ndarray) -> torch.Tensor:
        """Take a batch into the running statistics and return it scaled."""
        batch = torch.as_tensor(observation, dtype=torch.float32)
        variance, mean = torch.var_mean(batch, dim=0, correction=0)
        share = len(batch) / (self.seen + len(batch))
        apart = mean - self.mean
        self.variance += share * (variance - self.variance + (1 - share) * apart**2)
        self.mean += share * apart
        self.seen += len(batch)
        return self.scaled(observation)

    def scaled(self, observation: np.ndarray) -> torch.Tensor:
        """Observations with zero mean and unit variance, as the networks take them."""
        batch = torch.as_tensor(observation, dtype=torch.float32)
        return ((batch - self.mean) / (self.variance + 1e-8).sqrt()).clamp(-10.0, 10.0)

    def policy(self, scaled: torch.Tensor) -> Normal:
        """The distribution of the actions."""
        return Normal(self.actor(scaled), self.log_std.exp())

    def value(self, scaled: torch.Tensor) -> torch.Tensor:
        """The expected return."""
        return self.critic(scaled).squeeze(-1)

    @torch.no_grad()
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        """Stable-Baselines3's signature, which ``evaluate`` and all of oncogym takes."""
        policy = self.policy(self.scaled(observation))
        action = policy.mean if deterministic else policy.sample()
        return action.clamp(0.0, 1.0).numpy(), state


def train(env_id: str, agent: Agent, steps: int, seed: int) -> None:
    """Proximal policy optimisation for ``steps`` decisions, all lanes together."""
    envs = gym.make_vec(env_id, num_envs=LANES)
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE, eps=1e-5)
    updates = max(1, steps // (LANES * ROLLOUT))
    shape = (ROLLOUT, LANES)
    observations = torch.zeros(*shape, *envs.single_observation_space.shape)
    actions = torch.zeros(*shape, *envs.single_action_space.shape)
    log_probs, rewards, values, ended = (torch.zeros(shape) for _ in range(4))
    current = agent.observe(envs.reset(seed=seed)[0])
    totals, finished = np.zeros(LANES), []
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - update / updates)
        for t in range(ROLLOUT):
            with torch.no_grad():
                policy = agent.policy(current)
                action = policy.sample()
                values[t] = agent.value(current)
            observations[t], actions[t] = current, action
            log_probs[t] = policy.log_prob(action).sum(-1)
            following, reward, terminated, truncated, info = envs.step(
                action.clamp(0.0, 1.0).numpy()
            )
            rewards[t] = torch.as_tensor(reward, dtype=torch.float32)
            if truncated.any():
                last = agent.scaled(np.stack(info["final_obs"][truncated]))
                with torch.no_grad():
                    rewards[t, torch.as_tensor(truncated)] += GAMMA * agent.value(last)
            done = terminated | truncated
            ended[t] = torch.as_tensor(done, dtype=torch.float32)
            totals += reward
            finished.extend(totals[done])
            totals[done] = 0.0
            current = agent.observe(following)

        # Generalised advantage estimation, from the last step backwards.
        advantages = torch.zeros(shape)
        with torch.no_grad():
            ahead, running = agent.value(current), torch.zeros(LANES)
        for t in reversed(range(ROLLOUT)):
            going_on = 1.0 - ended[t]
            delta = rewards[t] + GAMMA * ahead * going_on - values[t]
            running = delta + GAMMA * LAMBDA * going_on * running
            advantages[t], ahead = running, values[t]
        returns = advantages + values

        flat = [x.flatten(0, 1) for x in (observations, actions, log_probs, advantages, returns)]
        for _ in range(EPOCHS):
            for index in torch.randperm(LANES * ROLLOUT).split(MINIBATCH):
                obs, act, old, advantage, target = (x[index] for x in flat)
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                ratio = (agent.policy(obs).log_prob(act).sum(-1) - old).exp()
                gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
                loss = -gain.mean() + 0.5 * (agent.value(obs) - target).square().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        if finished and (update + 1) % 10 == 0:
            print(f"{(update + 1) * LANES * ROLLOUT} decisions: {np.mean(finished[-200:]):.2f}")
    envs.close()


def main() -> None:
    """Train, then compare with the untrained network on held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=300_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(", ".join(f"{name} {version(name)}" for name in ("oncogym", "gymnasium", "torch")))

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    spec = gym.make(args.env)
    agent = Agent(spec.observation_space.shape[0], spec.action_space.shape[0])
    before = evaluate(args.env, {"untrained": agent}, patients=100)["return"].mean()
    train(args.env, agent, args.steps, args.seed)
    after = evaluate(args.env, {"trained": agent}, patients=100)["return"].mean()
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
