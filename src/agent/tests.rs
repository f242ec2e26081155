//! The agent's conversation as a whole, over a scripted host.
