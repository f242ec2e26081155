//! The template language on real files.
