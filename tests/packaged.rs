//! The packaged tasks under Node.
