"""The sub-commands of ``oncogym`` in the order of its help, and what each does in one line."""

COMMANDS = {
    "envs": "list the environments, or show the page of one",
    "train": "train a policy",
    "search": "look for hyper-parameters of a learning algorithm",
    "tune": "choose the numbers of a clinical rule",
    "optimize": "find the best open-loop plan of an environment",
    "evaluate": "compare agents on the same patients",
    "render": "draw the course of one patient as a film or a picture",
    "robustness": "what missed, delayed and wrong fractions cost each agent",
    "sensitivity": "which agent wins when the reward weighs its terms otherwise",
    "benchmark": "protocols, rules, controllers, plans and a freshly trained PPO on the same "
    "held-out patients",
    "reproduce": "the numbers of a source document beside ours",
    "speed": "steps and simulations per second",
    "doctor": "say what is installed and whether it works",
    "cite": "say what to cite for an environment",
}
