"""Stories from wherever they are: how `--data` names them, and how each kind of file is read."""
