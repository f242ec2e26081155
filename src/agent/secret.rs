//! The vault that takes secrets out of the environment, and their registration with the agent.
