"""The command ``oncogym``: one file a sub-command."""
