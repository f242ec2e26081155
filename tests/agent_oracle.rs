//! The agent protocol against azure-pipelines-task-lib, under Node.
