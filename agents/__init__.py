"""Agents with one signature: clinical protocols, optimised plans and trained policies."""

from oncogym.agents.agent import Agent
from oncogym.agents.clinical import RandomAgent, RuleAgent, clinical_agent, clinical_agents
from oncogym.agents.plan import PlanAgent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.agents.shipped import pretrained

__all__ = [
    "Agent",
    "PlanAgent",
    "RandomAgent",
    "Rollout",
    "RuleAgent",
    "clinical_agent",
    "clinical_agents",
    "pretrained",
    "rollout",
]
