//! The import table and the house rules.
