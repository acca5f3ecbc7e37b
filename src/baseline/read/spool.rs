//! Standard input, which can be read once only, as a file that can be read again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A temporary file that is removed when this is dropped.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
}

impl Spool {
    /// Copies all of `input` into a new file in `directory`.
    ///
    /// # Errors
    /// When the file cannot be made or written, or `input` cannot be read; nothing is left behind.
    pub fn fill(mut input: impl Read, directory: &Path) -> io::Result<Self> {
        let (spool, mut file) = Self::create(directory)?;
        io::copy(&mut input, &mut file)?;
        Ok(spool)
    }

    /// Where the copy is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn create(directory: &Path) -> io::Result<(Self, File)> {
        let mut attempt = 0_u32;
        loop {
            let path = directory.join(format!(".driftline-input-{}-{attempt}", std::process::id()));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            // Training rows may be personal: nobody else is to read the copy.
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            match options.open(&path) {
                Ok(file) => return Ok((Self { path }, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // There is nobody left to tell, and the file is named as temporary.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_copy_is_for_its_owner_only_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = Spool::fill(&b"x\n1\n"[..], directory.path()).expect("a copy");
        let path = spool.path().to_owned();
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(spool);
        assert!(!path.exists());
    }
}
