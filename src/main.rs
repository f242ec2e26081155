//! The program `dtl`.

fn main() {}
