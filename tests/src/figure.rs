//! Figures that tests measure, for `cargo xtask prove` to read.

/// Prints `FIGURE name value` on a line of its own.
#[expect(clippy::print_stdout, reason = "xtask prove reads it there")]
pub fn figure(name: &str, value: f64) {
    println!("FIGURE {name} {value:.3}");
}
