//! Tables: the answers of a service, and what is asked next.
