//! Errors as users see them.
