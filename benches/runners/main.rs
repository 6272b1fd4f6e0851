//! `make bench`: how long it takes from a save to the new server's answer, under `cargo stario watch`,
//! under others that run a server while it is written, and by hand; and what clients, the developer and
//! the machine notice meanwhile.
//!
//! All of them run the same server (`fixtures/ordinary`) with the same edits on one machine, in turn and
//! in several rounds, so that whatever else the machine does hits all of them alike.
//!
//! Its parts, in the order of the work: `tools` has the other runners installed, `project` is the server's
//! source, `runner` says who runs it and how, `terminal` starts processes and ends them, `clients` asks
//! the server, `measure` puts these together, `figures` and `chart` make tables and a picture of it.

#[cfg(target_os = "linux")]
mod chart;
#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod project;
#[cfg(target_os = "linux")]
mod runner;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(target_os = "linux")]
mod tools;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("This benchmark reads processes as Linux shows them, and runs there alone.");
}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    use std::path::Path;
    use std::time::Instant;

    use anyhow::Context as _;

    terminal::end_all_when_interrupted()?;
    // Cargo says that this is a benchmark; it knows no other.
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (runners, wanted) = runner::chosen(&words)?;
    let rounds = number("STARIO_BENCH_ROUNDS", 4)?;
    let edits = number("STARIO_BENCH_EDITS", 5)?;

    // Before our own builds, which are load as well.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&results).with_context(|| results.display().to_string())?;
    let path = tools::install(&runners, &results)?;
    let project = project::Project::prepare(path)?;
    eprintln!("The server lies in {}, and is built there.", project.folder.display());
    for runner in &runners {
        eprintln!("Building for {} ({})", runner.name, runner.by_hand(&project).join(" "));
        measure::build(runner, &project)?;
    }

    let began = Instant::now();
    let mut all: Vec<_> =
        runners.iter().map(|runner| figures::Figures::of(runner, &project)).collect();
    for round in 0..rounds {
        for turn in 0..runners.len() {
            let turn = (turn + round) % runners.len();
            let figures = &mut all[turn];
            eprint!("Round {} of {rounds}: {:<18}", round + 1, runners[turn].name);
            measure::session(runners[turn], &project, edits, &wanted, figures)
                .with_context(|| runners[turn].name)?;
            eprintln!("{}", figures.line());
        }
    }
    let report = figures::Report { figures: all, rounds, edits, load, took: began.elapsed() };

    let table = report.table();
    println!("\n{table}");
    for (name, text) in [
        ("results.txt", table),
        ("results.json", report.json()),
        ("results.svg", chart::of(&report.figures)),
    ] {
        let file = results.join(name);
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        println!("{}", file.display());
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn number(variable: &str, default: usize) -> anyhow::Result<usize> {
    use anyhow::Context as _;

    match std::env::var(variable) {
        Ok(value) => value.parse().with_context(|| format!("{variable}={value}: not a number")),
        Err(_) => Ok(default),
    }
}
