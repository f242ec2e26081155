//! dtl run and dtl task.
