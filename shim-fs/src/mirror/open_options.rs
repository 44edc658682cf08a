//! Mirror of `tokio::fs::OpenOptions`.
//!
//! Must not hold options of its own: they are std's. Invariant: each method sets the option of its name.

use std::fs::OpenOptions as StdOpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{File, on_pool};

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions(StdOpenOptions);

macro_rules! options {
    ($($name:ident: $kind:ty, $text:literal;)*) => {
        $(
            #[doc = $text]
            pub fn $name(&mut self, $name: $kind) -> &mut OpenOptions {
                self.0.$name($name);
                self
            }
        )*
    };
}

impl OpenOptions {
    /// Nothing is set.
    pub fn new() -> OpenOptions {
        OpenOptions(StdOpenOptions::new())
    }

    options! {
        read: bool, "Whether it can be read.";
        write: bool, "Whether it can be written.";
        append: bool, "Whether writes go to the end.";
        truncate: bool, "Whether it is emptied.";
        create: bool, "Whether it is made where there is none.";
        create_new: bool, "Whether there must be none.";
        mode: u32, "Who may do what with it, where it is made.";
        custom_flags: i32, "Flags for `open(2)`.";
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (options, path) = (self.0.clone(), path.as_ref().to_owned());
        on_pool(move || options.open(path)).await.map(File::from_std)
    }
}

impl From<StdOpenOptions> for OpenOptions {
    fn from(options: StdOpenOptions) -> OpenOptions {
        OpenOptions(options)
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions::new()
    }
}
