"""The sub-commands of ``oncogym``, one file each."""
