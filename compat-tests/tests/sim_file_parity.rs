//! The machine's own file system as the oracle: random calls, here and there, result by result.
//!
//! Owns the calls. Must not know how files are simulated. Invariant: a seed's calls are the same in both
//! places.
#![cfg(sim)]

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const NAMES: [&str; 12] =
    ["a", "b", "d", "d/a", "d/e", "d/e/f", "l", "l/a", "a/x", "d/", "d/../b", "./d/./e"];
const STEPS: u32 = 250;

/// Numbers that are the same in both places.
struct Stream(u64);

impl Stream {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 20) % u64::from(bound)) as u32
    }
}

struct Player {
    base: PathBuf,
    draw: Stream,
    open: Vec<File>,
    log: Vec<String>,
    last: String,
}

fn told<T>(result: io::Result<T>, tell: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => tell(value),
        Err(error) => format!("error {:?} {:?}", error.raw_os_error(), error.kind()),
    }
}

fn known(metadata: &fs::Metadata) -> String {
    let kind = metadata.file_type();
    let mut text = format!("{:o}", metadata.mode());
    if !kind.is_dir() {
        let _ = write!(text, " {} bytes, {} names", metadata.len(), metadata.nlink());
    }
    text
}

impl Player {
    fn path(&mut self) -> PathBuf {
        self.base.join(NAMES[self.draw.below(NAMES.len() as u32) as usize])
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = [0, 1, 10, 100, 5000, 9000][self.draw.below(6) as usize];
        vec![b'a' + self.draw.below(26) as u8; len]
    }

    fn options(&mut self) -> OpenOptions {
        let mut options = OpenOptions::new();
        let bits = self.draw.below(64);
        options.read(bits & 1 != 0).write(bits & 2 != 0).append(bits & 4 != 0).truncate(bits & 8 != 0);
        options.create(bits & 16 != 0).create_new(bits & 48 == 48);
        options
    }

    fn list(&self, path: &Path) -> io::Result<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            names.push(format!("{:?} {:?}", entry.file_name(), entry.file_type()?.is_dir()));
        }
        names.sort();
        Ok(names.join(", "))
    }

    fn by_name(&mut self, call: u32) -> String {
        let (path, other) = (self.path(), self.path());
        self.last = format!("{path:?} {other:?}");
        match call {
            0 => told(fs::create_dir(&path), |()| "made".to_owned()),
            1 => told(fs::create_dir_all(&path), |()| "made".to_owned()),
            2 => told(fs::remove_dir(&path), |()| "removed".to_owned()),
            3 => told(fs::remove_file(&path), |()| "removed".to_owned()),
            4 | 5 => told(fs::rename(&path, &other), |()| "moved".to_owned()),
            6 => told(fs::hard_link(&path, &other), |()| "linked".to_owned()),
            7 => {
                let target = NAMES[self.draw.below(6) as usize];
                told(symlink(target, &path), |()| "linked".to_owned())
            }
            8 => told(fs::read_link(&path), |target| format!("{target:?}")),
            9 => told(fs::metadata(&path), |found| known(&found)),
            10 => told(fs::symlink_metadata(&path), |found| known(&found)),
            11 => told(self.list(&path), |names| names),
            12 => {
                let bytes = self.bytes();
                told(fs::write(&path, bytes), |()| "written".to_owned())
            }
            13 => told(fs::read(&path), |bytes| format!("{} {:?}", bytes.len(), bytes.first())),
            14 => told(fs::copy(&path, &other), |count| count.to_string()),
            15 => {
                let base = fs::canonicalize(&self.base).unwrap();
                told(fs::canonicalize(&path), |whole| format!("{:?}", whole.strip_prefix(&base)))
            }
            16 => {
                let mode = 0o600 | self.draw.below(0o100);
                told(fs::set_permissions(&path, Permissions::from_mode(mode)), |()| "set".to_owned())
            }
            17 => told(fs::remove_dir_all(&path), |()| "removed".to_owned()),
            _ => {
                let options = self.options();
                told(options.open(&path), |file| {
                    if file.metadata().unwrap().is_dir() {
                        return "opened a folder".to_owned();
                    }
                    if self.open.len() > 3 {
                        self.open.remove(0);
                    }
                    self.open.push(file);
                    "opened".to_owned()
                })
            }
        }
    }

    fn by_file(&mut self, call: u32) -> String {
        let bytes = self.bytes();
        let (place, at) =
            (self.draw.below(self.open.len() as u32) as usize, u64::from(self.draw.below(9000)));
        let mut file = &self.open[place];
        let mut space = vec![0; 4000];
        match call {
            0 | 1 => told(file.write(&bytes), |count| count.to_string()),
            2 => told(file.read(&mut space), |count| format!("{count} {:?}", &space[..count.min(3)])),
            3 => told(file.seek(SeekFrom::Start(at)), |place| place.to_string()),
            4 => told(file.seek(SeekFrom::End(-(at as i64))), |place| place.to_string()),
            5 => told(file.set_len(at), |()| "cut".to_owned()),
            6 => told(file.metadata(), |found| known(&found)),
            7 => told(file.write_at(&bytes, at), |count| count.to_string()),
            8 => told(file.read_at(&mut space, at), |count| format!("{count} {:?}", &space[..count.min(3)])),
            9 => told(file.sync_all(), |()| "synced".to_owned()),
            10 => {
                let slices = [IoSlice::new(&bytes), IoSlice::new(b"and"), IoSlice::new(&bytes)];
                told(file.write_vectored(&slices), |count| count.to_string())
            }
            11 => told(file.stream_position(), |place| place.to_string()),
            12 => {
                let clone = file.try_clone();
                told(clone, |clone| {
                    self.open.push(clone);
                    self.open.remove(0);
                    "cloned".to_owned()
                })
            }
            _ => {
                self.open.remove(place);
                "closed".to_owned()
            }
        }
    }

    fn play(mut self) -> Vec<String> {
        for step in 0..STEPS {
            let by_file = !self.open.is_empty() && self.draw.below(2) == 0;
            let text = if by_file {
                let call = self.draw.below(14);
                format!("{step}: file {call}: {}", self.by_file(call))
            } else {
                let call = self.draw.below(22);
                let text = self.by_name(call);
                format!("{step}: name {call} {}: {text}", self.last)
            };
            self.log.push(text);
        }
        self.log
    }
}

fn play(base: &Path, seed: u64) -> Vec<String> {
    let base = base.join(format!("{seed}"));
    fs::create_dir_all(&base).unwrap();
    let player = Player {
        base: base.clone(),
        draw: Stream(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        open: Vec::new(),
        log: Vec::new(),
        last: String::new(),
    };
    let log = player.play();
    fs::remove_dir_all(&base).unwrap();
    log
}

#[test]
fn random_calls_give_what_the_machine_gives() {
    let seeds: u64 = std::env::var("PARITY_SEEDS").map_or(150, |text| text.parse().unwrap());
    let base = std::env::temp_dir().join(format!("parity-{}", std::process::id()));
    for seed in 0..seeds {
        let there = play(&base, seed);
        let own = base.join(format!("parity-own-{seed}"));
        let here = tokio::sim::Builder::new().seed(seed).run(|| async {
            fs::create_dir_all(&base).unwrap();
            fs::write(&own, "here").unwrap();
            play(&base, seed)
        });
        assert!(!own.exists(), "the simulation wrote to the machine");
        let here = here.unwrap().output;
        for place in 0..there.len() {
            let before = there[..place].join("\n");
            let why = "the machine's, and the simulation's";
            assert_eq!(there[place], here[place], "seed {seed}: {why}, after\n{before}");
        }
    }
    fs::remove_dir_all(&base).unwrap();
}
