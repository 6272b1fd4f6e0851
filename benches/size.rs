//! What size costs: the same server alone, in a tree of 100,000 files beside 200,000 ignored ones, in
//! a workspace of 200 packages, and with 500 globs. Prints figures; asserts nothing. `make size`.

#[cfg(target_os = "linux")]
#[path = "../tests/support/mod.rs"]
mod support;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("reads the figures from /proc: Linux only");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fmt::Write as _;
    use std::fs;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant, SystemTime};

    use crate::support::{Project, Run, get, time_of, watchdog};

    /// Each figure is the median of so many.
    const TIMES: usize = 7;
    /// Idle for so long.
    const IDLE: Duration = Duration::from_secs(60);
    /// A server's further addresses are looked for during its first seconds, and threads that nobody
    /// needs end some time later: what they had would be missing from the sum.
    const SETTLED: Duration = Duration::from_secs(40);

    pub(super) fn main() {
        let small = Project::server("one");
        let first = run(&small, &[]);
        print("a small server", &first, &first);
        let globs: Vec<String> = (0..500)
            .flat_map(|n| ["--watch-ignore".to_owned(), format!("assets/none{n}*/*.tmp")])
            .collect();
        print("with 500 globs", &run(&small, &globs), &first);
        print("in a workspace of 200", &run(&workspace(), &[]), &first);
        print("in a tree of 100,000", &run(&tree(), &[]), &first);
        beside_cargo(&small);
        idle(&small);
    }

    struct Figures {
        watching: f64,
        answer: f64,
        save: f64,
        memory: u64,
        watches: usize,
    }

    fn run(project: &Project, arguments: &[String]) -> Figures {
        warm(project);
        let (mut watching, mut answers, mut saves) = (Vec::new(), Vec::new(), Vec::new());
        let (mut memory, mut watches) = (0, 0);
        for time in 0..TIMES {
            let (mut run, before) = (project.watch(arguments), SystemTime::now());
            let said = run.wait_for("watching");
            watching.push(milliseconds(before, time_of(&said)));
            let address = run.serving();
            get(address, "/").expect("an answer");
            answers.push(milliseconds(before, SystemTime::now()));
            run.rest();
            let before = SystemTime::now();
            project.write("src/saved.rs", format!("// {time}\n"));
            let spawned = run.wait_for("build-spawned");
            saves.push(milliseconds(before, time_of(&spawned)));
            run.rest();
            let watchdog = watchdog(run.pid()).expect("it runs");
            memory = memory.max([run.pid(), watchdog].map(resident).iter().sum());
            watches = self::watches(&run);
        }
        Figures {
            watching: median(watching),
            answer: median(answers),
            save: median(saves),
            memory,
            watches,
        }
    }

    fn print(name: &str, it: &Figures, small: &Figures) {
        println!(
            "{name:22} watching {:5.0} ms (x{:.2})  first answer {:5.0} ms (x{:.2})  \
             save to cargo {:4.0} ms (x{:.2})  {:5.1} MB  {} watches",
            it.watching,
            it.watching / small.watching,
            it.answer,
            it.answer / small.answer,
            it.save,
            it.save / small.save,
            f64::from(u32::try_from(it.memory).unwrap_or(u32::MAX)) / 1024.0,
            it.watches,
        );
    }

    /// With nothing to build, in turns: `cargo run` and `cargo stario watch`, to the first answer.
    fn beside_cargo(project: &Project) {
        const TURNS: usize = 15;
        let (mut cargo, mut tool) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = port.local_addr().expect("it is bound");
            drop(port);
            let before = Instant::now();
            let mut server = Command::new("cargo")
                .args(["run", "--quiet"])
                .current_dir(&project.root)
                .env("PORT", address.port().to_string())
                .env_remove("CARGO")
                .stdout(Stdio::null())
                .spawn()
                .expect("cargo");
            while get(address, "/").is_none() {
                std::thread::yield_now();
            }
            cargo.push(before.elapsed().as_secs_f64() * 1000.0);
            // `cargo run` has become the server.
            server.kill().and_then(|()| server.wait()).expect("it runs");

            let mut watch = project.tool(["watch", "main", "--port", &address.port().to_string()]);
            watch.command.env_remove("CARGO");
            let before = Instant::now();
            let _run = watch.start();
            while get(address, "/").is_none() {
                std::thread::yield_now();
            }
            tool.push(before.elapsed().as_secs_f64() * 1000.0);
        }
        let (cargo, tool) = (median(cargo), median(tool));
        println!("cargo run {cargo:.0} ms, cargo-stario {tool:.0} ms: x{:.2}", tool / cargo);
    }

    fn idle(project: &Project) {
        let mut run = project.watch::<&str>([]);
        run.serving();
        run.settle_for(SETTLED);
        let processes = [run.pid(), watchdog(run.pid()).expect("it runs")];
        let used = || processes.map(|pid| ticks(pid) + switches(pid));
        let before: u64 = used().iter().sum();
        run.settle_for(IDLE);
        let after: u64 = used().iter().sum();
        println!("idle for {IDLE:?}: {} ticks and wake-ups", after - before);
    }

    fn warm(project: &Project) {
        let built = Command::new("cargo")
            .args(["build", "--quiet"])
            .current_dir(&project.root)
            .status()
            .expect("cargo");
        assert!(built.success());
    }

    fn tree() -> Project {
        let project = Project::server("one");
        project.write(".gitignore", "/target\nnode_modules/\n");
        for folder in 0..10_000 {
            let name = format!("assets/{}/{}", folder / 100, folder % 100);
            for file in 0..10 {
                project.write(format!("{name}/{file}.txt"), "");
            }
            for file in 0..20 {
                let above = folder / 100;
                project.write(format!("assets/{above}/node_modules/{folder}/{file}.js"), "");
            }
        }
        project
    }

    fn workspace() -> Project {
        let project = Project::server("one");
        let mut app = project.read("Cargo.toml") + "members = [\"packages/*\"]\n[dependencies]\n";
        for number in 0..200 {
            let folder = format!("packages/p{number}");
            let manifest = format!("[package]\nname = \"p{number}\"\nedition = \"2024\"\n");
            project.write(format!("{folder}/Cargo.toml"), manifest);
            project.write(format!("{folder}/src/lib.rs"), "");
            if number < 50 {
                writeln!(app, "p{number} = {{ path = \"{folder}\" }}").expect("a text");
            }
        }
        project.write("Cargo.toml", app);
        project
    }

    fn median(mut all: Vec<f64>) -> f64 {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }

    fn milliseconds(from: SystemTime, to: SystemTime) -> f64 {
        to.duration_since(from).unwrap_or_default().as_secs_f64() * 1000.0
    }

    fn proc(pid: u32, name: &str) -> String {
        fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
    }

    /// In kilobytes.
    fn resident(pid: u32) -> u64 {
        line(&proc(pid, "status"), "VmRSS:")
    }

    fn switches(pid: u32) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
        let texts =
            tasks.map(|it| fs::read_to_string(it.path().join("status")).unwrap_or_default());
        texts.map(|text| line(&text, "voluntary_ctxt_switches:")).sum()
    }

    fn line(text: &str, name: &str) -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        value.trim().trim_end_matches(" kB").parse().unwrap_or_default()
    }

    fn ticks(pid: u32) -> u64 {
        let stat = proc(pid, "stat");
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        fields.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum()
    }

    fn watches(run: &Run) -> usize {
        let infos = fs::read_dir(format!("/proc/{}/fdinfo", run.pid())).expect("it runs").flatten();
        let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
        texts.map(|text| text.matches("inotify wd:").count()).sum()
    }
}
