//! The commands of this workspace: `cargo xtask COMMAND`.

fn main() {}
