"""A release: wheel and source archive, tried in an empty environment, with its parts and their licences."""
