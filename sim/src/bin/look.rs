#![allow(clippy::print_stdout, clippy::print_stderr)]
fn main() {
    let seed = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let o = sim::session::look(seed);
    println!("{:?}", o.faults);
}
