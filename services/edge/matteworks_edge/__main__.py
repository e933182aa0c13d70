"""Run the edge."""

from matteworks_edge.server import main

if __name__ == "__main__":
    main()
