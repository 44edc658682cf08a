//! The sources of a suite, as cargo fetched them, and their test programs.
//!
//! Must not change a test. Invariant: nothing is written but below `target/parity/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Options, Suite};

/// What tokio's own tests ask for beside tokio.
const BESIDE_TOKIO: &str = r#"
tokio = { version = "1", features = ["full", "test-util"] }
tokio-test = "0.4"
tokio-stream = "0.1"
tokio-util = { version = "0.7", features = ["rt"] }
async-stream = "0.3"
futures = { version = "0.3", features = ["async-await"] }
futures-concurrency = "7.6.3"
futures-test = "0.3.31"
mockall = "0.13"
nix = { version = "0.31", default-features = false, features = ["aio", "fs", "socket"] }
tempfile = "3"
socket2 = "0.6"
rand = "0.9"
proptest = "1"
libc = "0.2"
bytes = "1"
pin-project-lite = "0.2"
"#;

const FEATURES: [&str; 12] = [
    "fs",
    "io-util",
    "io-std",
    "macros",
    "net",
    "parking_lot",
    "process",
    "rt",
    "rt-multi-thread",
    "signal",
    "sync",
    "time",
];

fn io(path: &Path) -> impl Fn(std::io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}

fn base() -> Result<PathBuf, String> {
    Ok(std::env::current_dir().map_err(|error| error.to_string())?.join("target/parity/upstream"))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    command
}

/// Where cargo unpacked `suite`'s crate.
fn fetched(suite: &Suite) -> Result<PathBuf, String> {
    let folder = base()?.join("fetch").join(suite.name);
    fs::create_dir_all(folder.join("src")).map_err(io(&folder))?;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n{} = \"={}\"\n",
        suite.name, suite.version
    );
    fs::write(folder.join("Cargo.toml"), manifest).map_err(io(&folder))?;
    fs::write(folder.join("src/lib.rs"), "").map_err(io(&folder))?;
    let output = cargo().current_dir(&folder).args(["metadata", "--format-version", "1"]).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("cannot fetch {}: {}", suite.name, String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let own = packages.filter(|own| own["name"] == suite.name).find_map(|own| own["manifest_path"].as_str());
    let own = own.ok_or_else(|| format!("cargo does not tell where {} is", suite.name))?;
    Ok(Path::new(own).parent().map(Path::to_owned).unwrap_or_default())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(io(to))?;
    for entry in fs::read_dir(from).map_err(io(from))? {
        let entry = entry.map_err(io(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(io(&source))?;
        }
    }
    Ok(())
}

/// A package with `suite`'s tests.
pub(crate) fn prepare(suite: &Suite) -> Result<PathBuf, String> {
    let source = fetched(suite)?;
    let folder = base()?.join(suite.name);
    let _ = fs::remove_dir_all(&folder);
    if !suite.beside {
        copy(&source, &folder)?;
        let _ = fs::remove_file(folder.join("Cargo.lock"));
        lock(suite, &folder)?;
        let path = folder.join("Cargo.toml");
        let manifest = fs::read_to_string(&path).map_err(io(&path))?;
        fs::write(&path, format!("{manifest}\n[workspace]\n")).map_err(io(&path))?;
        return Ok(folder);
    }
    copy(&source.join("tests"), &folder.join("tests"))?;
    let mut manifest = format!(
        "[package]\nname = \"upstream-{}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]{BESIDE_TOKIO}[features]\ntest-util = []\n",
        suite.name
    );
    for feature in FEATURES {
        manifest.push_str(&format!("{feature} = []\n"));
    }
    manifest.push_str(&format!("full = {FEATURES:?}\n"));
    fs::create_dir_all(folder.join("src")).map_err(io(&folder))?;
    fs::write(folder.join("Cargo.toml"), manifest).map_err(io(&folder))?;
    fs::write(folder.join("src/lib.rs"), "").map_err(io(&folder))?;
    lock(suite, &folder)?;
    Ok(folder)
}

/// Has the suite built with the releases that it was last listed with.
fn lock(suite: &Suite, folder: &Path) -> Result<(), String> {
    let kept = PathBuf::from(format!("compat-tests/upstream/{}.lock", suite.name));
    if kept.exists() {
        fs::copy(&kept, folder.join("Cargo.lock")).map_err(io(&kept))?;
    }
    Ok(())
}

/// Keeps the releases that the suite in `folder` was built with.
pub(crate) fn keep_lock(suite: &Suite, folder: &Path) -> Result<(), String> {
    let kept = PathBuf::from(format!("compat-tests/upstream/{}.lock", suite.name));
    fs::copy(folder.join("Cargo.lock"), &kept).map_err(io(&kept)).map(drop)
}

/// Builds the test programs; those that do not build are told on standard error.
pub(crate) fn build(
    suite: &Suite,
    folder: &Path,
    options: &Options,
) -> Result<Vec<(String, PathBuf)>, String> {
    let world = if options.real { "real" } else { "sim" };
    let mut command = cargo();
    command.current_dir(folder).env("CARGO_TARGET_DIR", base()?.join(format!("target-{world}")));
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").stderr(Stdio::piped());
    let flags = if options.real { "--cap-lints allow" } else { "--cap-lints allow --cfg sim" };
    command.env("RUSTFLAGS", flags).args(["build", "--keep-going", "--message-format=json"]);
    if !options.real {
        let shim = std::env::current_dir().map_err(|error| error.to_string())?.join("shim-tokio");
        command.arg("--config").arg(format!("patch.crates-io.tokio.path={shim:?}"));
    }
    command.args(if suite.beside {
        ["--features", "full,test-util"].as_slice()
    } else {
        ["--all-features"].as_slice()
    });
    for target in &options.targets {
        if target == "lib" {
            command.arg("--lib")
        } else {
            command.args(["--test", target])
        };
    }
    if options.targets.is_empty() {
        command.arg("--tests");
    }
    let output = command.output().map_err(|error| error.to_string())?;
    let mut programs = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let target = message["target"]["name"].as_str().unwrap_or_default();
        if message["message"]["level"] == "error" {
            eprintln!(
                "{} {target}: {}",
                suite.name,
                message["message"]["message"].as_str().unwrap_or_default()
            );
        }
        if let (Some(program), true) = (message["executable"].as_str(), message["profile"]["test"] == true) {
            programs.push((target.to_owned(), PathBuf::from(program)));
        }
    }
    if programs.is_empty() {
        return Err(format!(
            "{}: nothing was built\n{}",
            suite.name,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(programs)
}
