"""`python -m otolith`."""

from otolith.cli.main import main

main()
