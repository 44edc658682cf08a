//! Brings a project into the simulation configuration, ready for a cargo command.
//!
//! Owns the order of the steps: find, guard the lock file, choose the release, unpack, fetch, configure, verify. It
//! must not know how any of them works. Invariant: once `prepare` returned, cargo will build against the drop-in.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

use semver::Version;
use toml_edit::{DocumentMut, value};

use crate::ShimFiles;
use crate::arguments::Arguments;
use crate::cargo::Cargo;
use crate::error::{Error, Result};
use crate::flags;
use crate::lock_guard::{LockGuard, Means, Turn, take_turn};
use crate::lockfile;
use crate::patch_check;
use crate::place;
use crate::project::{Entry, Project};
use crate::real_tokio;

/// The oldest tokio that the drop-in can stand for.
const TOKIO_MIN: Version = Version::new(1, 51, 0);

/// A project in the simulation configuration. Dropping it gives the project's lock file back.
pub(crate) struct Simulation {
    cargo: Cargo,
    /// The facts about the project.
    pub(crate) project: Project,
    /// The configuration file that cargo is given.
    pub(crate) config_path: PathBuf,
    /// Where the real tokio lies, and which release it is (unless the project looks after that itself).
    pub(crate) real_tokio: Option<(PathBuf, String)>,
    variables: Vec<(OsString, String)>,
    guard: Option<LockGuard>,
}

impl Simulation {
    /// Does everything that must be done before cargo can run.
    pub(crate) fn prepare(arguments: &mut Arguments, files: ShimFiles) -> Result<Simulation> {
        let mut cargo = Cargo::find()?;
        let project = Project::find(&cargo, arguments)?;
        project.make_sim_dir()?;
        cargo.set_target_dir(&project.sim_dir);
        let turn = take_turn(&project.sim_dir, true)?;
        let folder = std::env::current_dir().unwrap_or_else(|_| project.root.clone());
        let flags = flags::sim_flags(&folder, &arguments.values("--config"));
        let mut simulation = Simulation {
            cargo,
            config_path: project.sim_dir.join("config.toml"),
            project,
            real_tokio: None,
            variables: flags.variables,
            guard: None,
        };
        let configured = simulation.configure(arguments, files, flags.config, &turn);
        drop(turn); // a guard that is dropped takes a turn of its own
        configured.map(|()| simulation)
    }

    /// A cargo command in this configuration.
    pub(crate) fn command(&self, arguments: &Arguments) -> Command {
        let extra = ["--config".into(), self.config_path.clone().into()];
        let mut command = self.cargo.command(arguments.command_line(&extra));
        command.envs(self.variables.iter().cloned());
        command
    }

    /// The graph of the project with the drop-in, for this machine, as `cargo metadata` prints it.
    pub(crate) fn graph(&self, arguments: &Arguments) -> Result<String> {
        let mut words = ["metadata", "--format-version", "1"].map(OsString::from).to_vec();
        words.extend(["--filter-platform".into(), self.cargo.host()?.into()]);
        words.extend(["--config".into(), self.config_path.clone().into()]);
        words.extend(arguments.scope());
        let captured = self.cargo.ask_offline_first("ask for the graph", &words, arguments.offline())?;
        Ok(captured.stdout)
    }

    /// Ends the run in an orderly way, so that a failure to give the lock file back is reported with its code.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.guard.as_mut().map_or(Ok(()), LockGuard::leave)
    }

    fn configure(
        &mut self,
        arguments: &Arguments,
        files: ShimFiles,
        flags: DocumentMut,
        turn: &Turn,
    ) -> Result<()> {
        match self.project.entry.clone() {
            Entry::Injected => return self.inject(arguments, files, flags, turn),
            Entry::Repository(version) => self.place_real_tokio(arguments, version, None)?,
            Entry::Manual => {}
        }
        self.write_config(flags)?;
        patch_check::check_unguarded(&self.project)
    }

    fn inject(
        &mut self,
        arguments: &Arguments,
        files: ShimFiles,
        mut config: DocumentMut,
        turn: &Turn,
    ) -> Result<()> {
        let means = if self.cargo.has_lockfile_path() { Means::OwnPath } else { Means::Swap };
        let guard = LockGuard::enter(means, self.project.lock_path(), &self.project.sim_dir, turn)?;
        let guard = self.guard.insert(guard);
        if means == Means::OwnPath {
            config["resolver"]["lockfile-path"] = value(text(&guard.kept_path()));
        }
        let base = base_lock(&self.cargo, arguments, guard, &self.project)?;
        let version = release(&base)?;

        let shim = self.project.shim_dir();
        place::unpack(files, &shim)?;
        config["patch"]["crates-io"]["tokio"]["path"] = value(text(&shim.join("shim-tokio")));
        self.place_real_tokio(arguments, version.clone(), Some(&base))?;
        self.write_config(config)?;

        let guard = self.guard.as_mut().expect("invariant: set above");
        seed_lock(guard, &self.project, &base, &version)?;
        patch_check::settle(&self.cargo, arguments, &self.project, guard, &self.config_path)?;
        guard.keep()
    }

    fn place_real_tokio(&mut self, arguments: &Arguments, version: String, lock: Option<&str>) -> Result<()> {
        let folder = real_tokio::put_in_place(&self.cargo, &self.project, arguments, &version, lock)?;
        self.real_tokio = Some((folder, version));
        Ok(())
    }

    /// Writes the configuration; under a name that tells its content, as another run may need another one.
    fn write_config(&mut self, config: DocumentMut) -> Result<()> {
        let content = config.to_string();
        let path = self.project.sim_dir.join(format!("config-{:016x}.toml", hash(&content)));
        fs::write(&path, content).map_err(Error::unwritable(&path))?;
        self.config_path = path;
        Ok(())
    }
}

/// The project's own lock file; if it has none, or one without tokio, what cargo would write. That is remembered, as it
/// must not be asked for while a run beside us has its lock file in place.
fn base_lock(cargo: &Cargo, arguments: &Arguments, guard: &LockGuard, project: &Project) -> Result<String> {
    let original = guard.original();
    match original.as_deref().map(release) {
        Some(Ok(_)) => return Ok(original.unwrap_or_default()),
        Some(Err(error @ Error::TokioTooOld { .. })) => return Err(error),
        _ => {}
    }
    let folder = project.sim_dir.join("lock/base");
    let (resolved, key_path) = (folder.join("Cargo.lock"), folder.join("made-from"));
    let key = format!("{:016x}", hash(original.as_deref().unwrap_or_default()));
    if fs::read_to_string(&key_path).is_ok_and(|old| old == key)
        && let Some(text) = fs::read_to_string(&resolved).ok().filter(|text| release(text).is_ok())
    {
        return Ok(text);
    }
    fs::create_dir_all(&folder).map_err(Error::unwritable(&folder))?;
    let mut words = vec!["update".into(), "--workspace".into()];
    words.extend(arguments.scope());
    let own_path = guard.active_path() == guard.kept_path();
    if own_path {
        if let Some(text) = &original {
            fs::write(&resolved, text).map_err(Error::unwritable(&resolved))?;
        }
        words.extend(["--config".into(), format!("resolver.lockfile-path={:?}", text(&resolved)).into()]);
    } else if let Some(text) = &original {
        guard.place(text)?;
    }
    cargo.ask_offline_first("resolve the project", &words, arguments.offline())?;
    if !own_path {
        fs::write(&resolved, guard.active().unwrap_or_default()).map_err(Error::unwritable(&resolved))?;
    }
    fs::write(&key_path, key).map_err(Error::unwritable(&key_path))?;
    fs::read_to_string(&resolved).map_err(Error::unwritable(&resolved))
}

/// The release of tokio that a lock file holds, if the drop-in can stand for it.
fn release(lock: &str) -> Result<String> {
    let tokios = lockfile::locked_tokios(lock);
    let Some(tokio) = tokios.iter().find(|it| it.is_replaceable()) else {
        return Err(patch_check::no_release(&tokios));
    };
    let version = Version::parse(&tokio.version).unwrap_or(Version::new(0, 0, 0));
    if version < TOKIO_MIN {
        return Err(Error::TokioTooOld { found: tokio.version.clone(), needed: "1.51" });
    }
    Ok(tokio.version.clone())
}

/// Starts from the simulation's last lock file if it was made from this one, else from this one.
fn seed_lock(guard: &LockGuard, project: &Project, base: &str, version: &str) -> Result<()> {
    let key_path = project.sim_dir.join("lock/seeded-from");
    let key = format!("{:016x} {version}", hash(base));
    let kept = fs::read_to_string(guard.kept_path()).ok().filter(|text| lockfile::takes_drop_in(text));
    let same = fs::read_to_string(&key_path).is_ok_and(|old| old == key);
    if same && guard.active().is_some_and(|text| lockfile::takes_drop_in(&text)) {
        return Ok(()); // put there by a run beside us
    }
    match kept.filter(|_| same) {
        Some(text) => guard.place(&text)?,
        None => guard.place(&lockfile::seeded(base, version))?,
    }
    fs::write(&key_path, key).map_err(Error::unwritable(&key_path))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}
